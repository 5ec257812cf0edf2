/** The messages between a page and the hub that holds its streams. */

import type { SubscribeResponse } from "../client/gen/orders/v1/event_service_pb.js";
import type { WatchOrdersResponse } from "../client/gen/orders/v1/query_service_pb.js";

/** `orders`: the changes of all orders. `events`: the tail of the log. */
export type Topic = "orders" | "events";

/** From a page. `token` is empty without one. A page sends `leave` when it closes. */
export type Request =
  | { kind: "open"; topic: Topic; token: string }
  | { kind: "close"; topic: Topic }
  | { kind: "leave" };

/**
 * From the hub. `gap`: changes may be missing since the last message, so read everything again.
 * `broken`: the stream ended, and the hub opens the next one.
 */
export type Notice =
  | { topic: Topic; kind: "gap" | "broken" | "refused" }
  | { topic: "orders"; kind: "message"; message: WatchOrdersResponse }
  | { topic: "events"; kind: "message"; message: SubscribeResponse };
