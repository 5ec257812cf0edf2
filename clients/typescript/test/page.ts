/** What a page in a browser does with the client: bundled for it by `browser.test.ts`. */

import {
  create,
  follow,
  OrderlogError,
  Orderlog,
  type Position,
  positionOf,
  type SubscribeResponse,
  WatchOrdersRequestSchema,
} from "orderlog-client";
import { order } from "./orders.js";

/** Creates an order, and returns its position or what the error says. */
async function createOrder(baseUrl: string, orderId: string, customerId: string) {
  const orderlog = new Orderlog(baseUrl, { patienceMs: 500 });
  try {
    return { position: String((await orderlog.execute(order(orderId, customerId))).position) };
  } catch (failed) {
    if (!(failed instanceof OrderlogError)) throw failed;
    return { reason: failed.reason, violations: failed.violations };
  }
}

const received: string[] = [];

/** Follows the log, and collects the ids of what its events are about in `received`. */
async function subscribe(baseUrl: string): Promise<void> {
  let position: Position = { logId: "", position: 0n, resumeToken: "" };
  const store = {
    position: () => position,
    apply(response: SubscribeResponse) {
      received.push(...response.events.map((it) => it.aggregateId));
      position = positionOf(response);
      return true;
    },
  };
  await follow(baseUrl, store);
}

const watched: string[] = [];

/** Watches the orders, and collects their ids in `watched`. */
async function watch(baseUrl: string): Promise<void> {
  const request = create(WatchOrdersRequestSchema, { minPosition: 1n });
  for await (const { orders } of new Orderlog(baseUrl).watch(request)) {
    watched.push(...orders.map((it) => it.orderId));
  }
}

const page = { createOrder, subscribe, received, watch, watched };
export type Page = typeof page;
Object.assign(globalThis, { page });
