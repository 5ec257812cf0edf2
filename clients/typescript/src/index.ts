/**
 * A client of orderlog.
 *
 * - `client` sends commands and queries, and retries them when a retry is safe.
 * - `bulk` executes many commands over one stream.
 * - `streams` reads streams across breaks.
 * - `errors` reads the details of an error.
 * - `connection` sets up TLS and tokens.
 * - `transport-node` and `transport-web` connect from Node and from a page.
 * - `subscriber` follows the log, and applies each event exactly once; `sqlite` is a store for it.
 * - `money` converts amounts to decimals and back.
 * - `gen/orders/v1` holds the messages of the contract.
 */

export { create } from "@bufbuild/protobuf";
export type { CommandReply, Commands } from "./bulk.js";
export { Orderlog, type Options, type WatchOptions } from "./client.js";
export type { ConnectionOptions, Token } from "./connection.js";
export { HistoryError, OrderlogError } from "./errors.js";
export * from "./gen/orders/v1/command_service_pb.js";
export * from "./gen/orders/v1/event_pb.js";
export * from "./gen/orders/v1/event_service_pb.js";
export * from "./gen/orders/v1/order_pb.js";
export * from "./gen/orders/v1/projection_service_pb.js";
export * from "./gen/orders/v1/query_service_pb.js";
export { amount, money, moneyOfNanos, nanosOf } from "./money.js";
export type { StreamOptions } from "./streams.js";
export { follow, type FollowOptions, type Position, positionOf, type Store } from "./subscriber.js";
