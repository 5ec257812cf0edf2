/**
 * Commands that show before the server has confirmed them.
 *
 * A command's request id and a new order's id are made here, once. Each attempt sends the same
 * bytes, so a retry after a lost answer takes effect once. A command is pending until a read with
 * its position has the result. A refused one stays, with its reason, until the user corrects or
 * dismisses it.
 */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { ANSWER_MS, commands, errorOf, events, mayPass, persist, queries, sleep, WAIT } from "./api.js";
import { pauses } from "./client/backoff.js";
import type { OrderlogError } from "./client/errors.js";
import {
  type CancelOrderRequestSchema,
  type CreateOrderRequestSchema,
  type DeliverOrderRequestSchema,
  type RegisterCustomerRequestSchema,
  type RegisterProductRequestSchema,
  type ShipOrderRequestSchema,
} from "./client/gen/orders/v1/command_service_pb.js";
import { type Order, OrderSchema, OrderStatus } from "./client/gen/orders/v1/order_pb.js";
import { moneyOfNanos, nanosOf } from "./client/money.js";
import { uuid7 } from "./client/uuid.js";
import { announce, connection } from "./live/live.js";
import { Store } from "./store.js";

/** The time for all attempts of a command. Then the user decides. */
const PATIENCE_MS = 60_000;

export type Command =
  | { kind: "create"; request: MessageInitShape<typeof CreateOrderRequestSchema> }
  | { kind: "ship"; request: MessageInitShape<typeof ShipOrderRequestSchema> }
  | { kind: "deliver"; request: MessageInitShape<typeof DeliverOrderRequestSchema> }
  | { kind: "cancel"; request: MessageInitShape<typeof CancelOrderRequestSchema> }
  | { kind: "customer"; request: MessageInitShape<typeof RegisterCustomerRequestSchema> }
  | { kind: "product"; request: MessageInitShape<typeof RegisterProductRequestSchema> };

/**
 * `retrying`: an attempt had no answer. `confirming`: the log has the command, and the read model
 * not yet. `unknown`: no attempt had an answer in time. `offline`: nothing was sent.
 */
export type Progress = "sending" | "retrying" | "confirming" | "refused" | "unknown" | "offline";

export type Pending = Command & {
  /** The request id. */
  id: string;
  /** The order, customer or product. */
  subject: string;
  progress: Progress;
  error?: OrderlogError;
  /** The order as it is now, if the command expected an earlier version. */
  newer?: Order;
};

export const pending = new Store<readonly Pending[]>([]);

/** Resolved with the read model's position when a command is confirmed. */
export const confirmed = new Store(0n);

export function isOpen({ progress }: Pending): boolean {
  return progress === "sending" || progress === "retrying" || progress === "confirming";
}

/** Sends a command. It shows at once, unless there is no connection: then nothing is sent. */
export function execute(command: Command, id: string = uuid7()): void {
  const subject = subjectOf(command);
  const entry = { ...command, id, subject, progress: "sending" } as Pending;
  // A corrected command takes the place of the refused one.
  const others = pending.get().filter((it) => it.subject !== subject || isOpen(it));
  pending.set([...others, entry]);
  const now = connection.get();
  if (now === "offline" || now === "broken") change(id, { progress: "offline" });
  else void run(entry);
}

/** Sends a command once more, as it was. */
export function again(entry: Pending): void {
  change(entry.id, { progress: "sending", error: undefined });
  void run(entry);
}

export function dismiss(id: string): void {
  pending.update((all) => all.filter((it) => it.id !== id));
}

function change(id: string, to: Partial<Pending>): void {
  pending.update((all) => all.map((it) => (it.id === id ? ({ ...it, ...to } as Pending) : it)));
}

function subjectOf({ kind, request }: Command): string {
  if (kind === "customer") return request.customerId ?? "";
  if (kind === "product") return request.productId ?? "";
  return request.orderId ?? "";
}

async function run(entry: Pending): Promise<void> {
  const until = performance.now() + PATIENCE_MS;
  const pause = pauses();
  for (;;) {
    try {
      const { position } = await send(entry);
      change(entry.id, { progress: "confirming" });
      return await confirm(entry, position);
    } catch (failed) {
      const error = errorOf(failed);
      if (!mayPass(error)) return refuse(entry, error);
      if (performance.now() > until) return change(entry.id, { progress: "unknown", error });
      change(entry.id, { progress: "retrying", error });
      await sleep(Math.max(pause(), error.retryAfterMs ?? 0), new AbortController().signal);
    }
  }
}

function send(entry: Pending): Promise<{ position: bigint }> {
  const options = { timeoutMs: ANSWER_MS };
  const requestId = entry.id;
  switch (entry.kind) {
    case "create":
      return commands.createOrder({ ...entry.request, requestId }, options);
    case "ship":
      return commands.shipOrder({ ...entry.request, requestId }, options);
    case "deliver":
      return commands.deliverOrder({ ...entry.request, requestId }, options);
    case "cancel":
      return commands.cancelOrder({ ...entry.request, requestId }, options);
    case "customer":
      return commands.registerCustomer({ ...entry.request, requestId }, options);
    case "product":
      return commands.registerProduct({ ...entry.request, requestId }, options);
  }
}

/** Waits until a read has the command's result. */
async function confirm(entry: Pending, position: bigint): Promise<void> {
  const pause = pauses();
  for (;;) {
    try {
      if (entry.kind === "customer" || entry.kind === "product") {
        await queries.searchOrders({ pageSize: 1, minPosition: position, maxWait: WAIT });
        announce([]);
      } else {
        const order = await orderAt(entry.subject, position);
        if (order) announce([order]);
      }
      break;
    } catch (failed) {
      // The command has taken effect, so a read that fails for good ends the wait as well.
      if (!mayPass(errorOf(failed))) break;
      await sleep(pause(), new AbortController().signal);
    }
  }
  dismiss(entry.id);
  if (position > confirmed.get()) confirmed.set(position);
}

/** Rolls a command back. Reads the state that the command met, if another one was expected. */
async function refuse(entry: Pending, error: OrderlogError): Promise<void> {
  change(entry.id, { progress: "refused", error });
  const isStale = error.reason === "VERSION_MISMATCH" || error.reason.startsWith("ORDER_NOT_");
  if (!isStale || error.reason === "ORDER_NOT_FOUND") return;
  const forever = new AbortController().signal;
  // The read model may not have that state yet.
  const { position } = await persist(() => events.getHead({}, { timeoutMs: ANSWER_MS }), forever);
  const order = await persist(() => orderAt(entry.subject, position), forever);
  if (!order) return;
  change(entry.id, { newer: order });
  announce([order]);
}

/** Reads an order from a read model at or past a position. */
async function orderAt(orderId: string, minPosition: bigint): Promise<Order | undefined> {
  const read = { orderId, minPosition, maxWait: WAIT };
  return (await queries.getOrder(read, { timeoutMs: ANSWER_MS + 5_000 })).order;
}

/** Returns the open command of an order, which is at most one. */
export function openOf(all: readonly Pending[], orderId: string): Pending | undefined {
  return all.find((it) => it.subject === orderId && isOpen(it) && isOfOrder(it));
}

/** Returns the command of an order that was not done. */
export function failedOf(all: readonly Pending[], orderId: string): Pending | undefined {
  return all.find((it) => it.subject === orderId && !isOpen(it) && isOfOrder(it));
}

function isOfOrder({ kind }: Pending): boolean {
  return kind !== "customer" && kind !== "product";
}

/** Returns the order as the open command will leave it. */
export function expected(order: Order, all: readonly Pending[]): Order {
  const open = openOf(all, order.orderId);
  // The read model may have the result before the command's own read.
  if (!open || open.kind === "create") return order;
  const at = timestampNow();
  switch (open.kind) {
    case "ship": {
      if (order.status !== OrderStatus.CREATED) return order;
      const { shippingAddress = "", trackingNumber = "" } = open.request;
      return {
        ...order,
        status: OrderStatus.SHIPPED,
        shippingAddress,
        trackingNumber,
        shippedAt: at,
      };
    }
    case "deliver":
      if (order.status !== OrderStatus.SHIPPED) return order;
      return { ...order, status: OrderStatus.DELIVERED, deliveredAt: at };
    case "cancel": {
      if (order.status !== OrderStatus.CREATED) return order;
      const cancellationReason = open.request.reason ?? "";
      return { ...order, status: OrderStatus.CANCELLED, cancellationReason, cancelledAt: at };
    }
    default:
      return order;
  }
}

/** Returns the order that a pending creation will make. */
export function created(entry: Pending & { kind: "create" }): Order {
  const { customerId, items = [] } = entry.request;
  let total = 0n;
  let currency = "";
  const lines = items.map(({ productId, quantity = 0, unitPrice }) => {
    const price = moneyOfNanos(
      unitPrice?.currencyCode ?? "",
      nanosOf({ units: 0n, nanos: 0, ...unitPrice } as Parameters<typeof nanosOf>[0]),
    );
    const sum = nanosOf(price) * BigInt(quantity);
    total += sum;
    currency = price.currencyCode;
    const lineTotal = moneyOfNanos(currency, sum);
    return { productId, quantity, unitPrice: price, lineTotal };
  });
  return create(OrderSchema, {
    orderId: entry.subject,
    customerId,
    status: OrderStatus.CREATED,
    items: lines,
    itemCount: lines.length,
    totalAmount: moneyOfNanos(currency, total),
    createdAt: timestampNow(),
  });
}
