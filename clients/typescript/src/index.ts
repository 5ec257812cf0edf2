/**
 * A client of orderlog.
 *
 * - `client` sends commands and queries, and retries them when a retry is safe.
 * - `errors` reads the details of an error.
 * - `connection` sets up TLS and tokens.
 * - `subscriber` follows the log, and applies each event exactly once.
 * - `money` converts amounts to decimals and back.
 * - `gen/orders/v1` holds the messages of the contract.
 */

export { Orderlog } from "./client.js";
export type { ConnectionOptions, Token } from "./connection.js";
export { HistoryError, OrderlogError } from "./errors.js";
export { amount, money, moneyOfNanos, nanosOf } from "./money.js";
export { follow, type Position, SqliteStore, type Store } from "./subscriber.js";
