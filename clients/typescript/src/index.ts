/**
 * A client of orderlog.
 *
 * `client` sends commands and asks queries, again where that is safe. `errors` reads what an error
 * says beside its code. `connection` knows TLS and tokens. `subscriber` follows the log and loses no
 * event and repeats none. `money` turns amounts into decimals and back. The messages are those of the
 * contract, in `gen/orders/v1`.
 */

export { Orderlog } from "./client.js";
export type { ConnectionOptions, Token } from "./connection.js";
export { OrderlogError } from "./errors.js";
export { amount, money, moneyOfNanos, nanosOf } from "./money.js";
export { follow, type Position, SqliteStore, type Store } from "./subscriber.js";
