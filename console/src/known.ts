/** The names that this page has read, for filters and for what the user types. */

import { queries } from "./api.js";
import type { Order } from "./client/gen/orders/v1/order_pb.js";
import { Store } from "./store.js";

export type Kind = "customer" | "product";

/** The names that the page keeps of each kind. The oldest go first. */
const MAX_NAMES = 2_000;

/** The newest known name of each id; empty for one that has none. */
export type Names = ReadonlyMap<string, string>;

export const names: Record<Kind, Store<Names>> = {
  customer: new Store<Names>(new Map()),
  product: new Store<Names>(new Map()),
};

/** Remembers the names that orders show. */
export function learn(orders: Order[]): void {
  add(
    "customer",
    orders.map((it): [string, string] => [it.customerId, it.customerName]),
  );
  const items = orders.flatMap((it) => it.items);
  add(
    "product",
    items.map((it): [string, string] => [it.productId, it.productName]),
  );
}

function add(kind: Kind, found: [string, string][]): void {
  const now = names[kind].get();
  if (found.every(([id, name]) => now.get(id) === name)) return;
  const next = new Map([...now, ...found]);
  names[kind].set(new Map([...next].slice(-MAX_NAMES)));
}

/** Reads some orders of ids whose names are not known yet. */
export async function lookUp(kind: Kind, ids: string[], signal: AbortSignal): Promise<void> {
  const unknown = ids.filter((id) => !names[kind].get().has(id));
  if (unknown.length === 0) return;
  const filter = kind === "customer" ? { customerIds: unknown } : { productIds: unknown };
  const { orders } = await queries.searchOrders({ ...filter, pageSize: 500 }, { signal });
  learn(orders);
}
