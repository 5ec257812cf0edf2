/** The places that a search found in an order. */

import type { Order } from "../client/gen/orders/v1/order_pb.js";
import type { Highlight } from "../client/gen/orders/v1/query_service_pb.js";

/** A place in a text, in characters. */
export type Span = Pick<Highlight, "start" | "length">;

/** An order in a list, with the places that the search found. */
export interface FoundOrder {
  order: Order;
  highlights: Highlight[];
}

/** Returns the text of a field that is searched. */
export function textOf(order: Order, field: string): string {
  const item = /^items\[(\d+)\]\.product_name$/.exec(field);
  if (item) return order.items[Number(item[1])]?.productName ?? "";
  const texts: Record<string, string> = {
    order_id: order.orderId,
    tracking_number: order.trackingNumber,
    customer_name: order.customerName,
    shipping_address: order.shippingAddress,
  };
  return texts[field] ?? "";
}

/** Returns a newer state of an order, with the places in the texts that are the same. */
export function renewed({ order, highlights }: FoundOrder, newer: Order): FoundOrder {
  const isSame = (it: Highlight) => textOf(order, it.field) === textOf(newer, it.field);
  return { order: newer, highlights: highlights.filter(isSame) };
}

/** Returns the places in a part of a text that has `length` characters from `start` on. */
export function within(spans: Span[], start: number, length: number): Span[] {
  return spans.flatMap((span) => {
    const from = Math.max(span.start, start);
    const to = Math.min(span.start + span.length, start + length);
    return to > from ? [{ start: from - start, length: to - from }] : [];
  });
}

/** Splits a text at the places. */
export function split(text: string, spans: Span[]): { text: string; isMatch: boolean }[] {
  const characters = Array.from(text);
  const part = (start: number, end?: number, isMatch = false) => {
    const text = characters.slice(start, end).join("");
    return text ? [{ text, isMatch }] : [];
  };
  let end = 0;
  const parts = spans.flatMap(({ start, length }) => {
    const before = part(end, start);
    end = start + length;
    return [...before, ...part(start, end, true)];
  });
  return [...parts, ...part(end)];
}
