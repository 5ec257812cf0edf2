/** Requests that several tests send. */

import { create } from "@bufbuild/protobuf";
import type { Orderlog } from "../src/client.js";
import {
  type CreateOrderRequest,
  CreateOrderRequestSchema,
  type ShipOrderRequest,
  ShipOrderRequestSchema,
} from "../src/gen/orders/v1/command_service_pb.js";
import { money } from "../src/money.js";

export function order(orderId = "", customerId = "ann"): CreateOrderRequest {
  const item = { productId: "tea", quantity: 2, unitPrice: money("EUR", "12.50") };
  return create(CreateOrderRequestSchema, { orderId, customerId, items: [item] });
}

export function shipping(orderId: string, expectedVersion?: bigint): ShipOrderRequest {
  return create(ShipOrderRequestSchema, {
    orderId,
    shippingAddress: "1 Harbour Street",
    trackingNumber: "T-1",
    expectedVersion,
  });
}

export async function head(orderlog: Orderlog): Promise<bigint> {
  return (await orderlog.events.getHead({})).position;
}
