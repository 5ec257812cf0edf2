/** What a page in a browser does with the same messages: bundled for it by `browser.test.ts`. */

import { ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { OrderlogError } from "../src/errors.js";
import { CommandService } from "../src/gen/orders/v1/command_service_pb.js";
import { EventService } from "../src/gen/orders/v1/event_service_pb.js";
import { order } from "./orders.js";

/** Creates an order, and returns its position or what the error says. */
async function createOrder(baseUrl: string, orderId: string, customerId: string) {
  const commands = createClient(CommandService, createGrpcWebTransport({ baseUrl }));
  try {
    return { position: String((await commands.createOrder(order(orderId, customerId))).position) };
  } catch (failed) {
    const { reason, violations } = new OrderlogError(ConnectError.from(failed));
    return { reason, violations };
  }
}

const received: string[] = [];

/** Follows the log, and collects the ids of what its events are about in `received`. */
async function subscribe(baseUrl: string): Promise<void> {
  const events = createClient(EventService, createGrpcWebTransport({ baseUrl }));
  for await (const response of events.subscribe({ follow: true })) {
    received.push(...response.events.map((it) => it.aggregateId));
  }
}

const page = { createOrder, subscribe, received };
export type Page = typeof page;
Object.assign(globalThis, { page });
