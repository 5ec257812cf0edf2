/** A search as the address bar holds it, and as the server takes it. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { OrderStatus } from "../client/gen/orders/v1/order_pb.js";
import type { SearchOrdersRequestSchema } from "../client/gen/orders/v1/query_service_pb.js";
import { money } from "../client/money.js";

export type SearchRequest = MessageInitShape<typeof SearchOrdersRequestSchema>;

export const STATUSES = ["created", "shipped", "delivered", "cancelled"] as const;
export type StatusName = (typeof STATUSES)[number];

/** The filters that take several values. */
export type Many = "status" | "customer" | "product";
/** The parts of a search that take one value. */
export type One = "q" | "sort" | "from" | "to" | "min" | "max";

export const SORTS = [
  "",
  "created_at desc",
  "created_at",
  "updated_at desc",
  "total_amount desc",
  "total_amount",
];

export function statusOf(name: string): OrderStatus {
  return STATUSES.indexOf(name as StatusName) + 1;
}

export function nameOf(status: OrderStatus): StatusName | undefined {
  return STATUSES[status - 1];
}

/** Returns the parameters with one changed; an empty value removes it. */
export function withOne(params: URLSearchParams, name: One, value: string): URLSearchParams {
  const next = new URLSearchParams(params);
  if (value) next.set(name, value);
  else next.delete(name);
  return next;
}

/** Returns the parameters with one value of a filter added, or removed if it was there. */
export function toggled(params: URLSearchParams, name: Many, value: string): URLSearchParams {
  const next = new URLSearchParams(params);
  const values = next.getAll(name);
  next.delete(name);
  const kept = values.includes(value) ? values.filter((it) => it !== value) : [...values, value];
  for (const it of kept) next.append(name, it);
  return next;
}

export function hasFilters(params: URLSearchParams): boolean {
  return ["status", "customer", "product", "from", "to", "min", "max"].some((it) => params.has(it));
}

/** Returns the request of a search. Parts that are not valid do not count. */
export function requestOf(params: URLSearchParams): SearchRequest {
  const sort = params.get("sort") ?? "";
  return {
    query: (params.get("q") ?? "").slice(0, 500),
    statuses: params
      .getAll("status")
      .map(statusOf)
      .filter((it) => it > 0),
    customerIds: params.getAll("customer"),
    productIds: params.getAll("product"),
    createdFrom: day(params.get("from"), 0),
    createdTo: day(params.get("to"), 1),
    minTotal: total(params.get("min")),
    maxTotal: total(params.get("max")),
    orderBy: SORTS.includes(sort) ? sort : "",
  };
}

/** Returns the beginning of a day in the browser's time zone, or of a day after it. */
function day(text: string | null, after: number) {
  const [, year, month, date] = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text ?? "") ?? [];
  if (year === undefined) return undefined;
  return timestampFromDate(new Date(Number(year), Number(month) - 1, Number(date) + after));
}

function total(text: string | null) {
  return text && /^\d+(\.\d{1,4})?$/.test(text) ? money("", text) : undefined;
}
