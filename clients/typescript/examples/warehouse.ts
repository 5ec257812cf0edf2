/**
 * A shop and its warehouse: `npm run warehouse -- [URL]`.
 *
 * The shop creates three orders, ships one and cancels one. The warehouse subscribes to the log,
 * and keeps the orders to pack in `warehouse.db`.
 */

import {
  amount,
  CancelOrderRequestSchema,
  create,
  CreateOrderRequestSchema,
  follow,
  GetOrderRequestSchema,
  HistoryError,
  money,
  Orderlog,
  OrderlogError,
  type Position,
  type RecordedEvent,
  RegisterCustomerRequestSchema,
  SearchOrdersRequestSchema,
  ShipOrderRequestSchema,
  type SubscribeResponse,
} from "orderlog-client";
import { SqliteStore } from "orderlog-client/sqlite";

/** A projection of the orders to pack. */
class Warehouse extends SqliteStore {
  constructor(file: string) {
    super(file, "CREATE TABLE IF NOT EXISTS to_pack (order_id TEXT PRIMARY KEY, pieces INTEGER);");
  }

  /** Adds a created order, and removes a shipped or cancelled one. */
  protected override project({ aggregateId, payload }: RecordedEvent): void {
    switch (payload.case) {
      case "orderCreated": {
        const pieces = payload.value.items.reduce((sum, item) => sum + item.quantity, 0);
        this.database.prepare("INSERT INTO to_pack VALUES (?, ?)").run(aggregateId, pieces);
        break;
      }
      case "orderShipped":
      case "orderCancelled":
        this.database.prepare("DELETE FROM to_pack WHERE order_id = ?").run(aggregateId);
    }
  }

  startOver(): void {
    this.rewind(0n, () => this.database.exec("DELETE FROM to_pack"));
  }

  toPack(): { orderId: string; pieces: bigint }[] {
    const rows = this.database.prepare("SELECT order_id AS orderId, pieces FROM to_pack").all();
    return rows as { orderId: string; pieces: bigint }[];
  }
}

/** Sells tea, and returns the position of the last event. */
async function shop(orderlog: Orderlog): Promise<bigint> {
  await orderlog.execute(
    create(RegisterCustomerRequestSchema, { customerId: "ann", name: "Ann Müller" }),
  );
  const order = create(CreateOrderRequestSchema, {
    customerId: "ann",
    items: [{ productId: "tea", quantity: 2, unitPrice: money("EUR", "12.50") }],
  });
  const first = await orderlog.execute(order);
  const second = await orderlog.execute(order);
  const third = await orderlog.execute(order);
  await orderlog.execute(
    create(ShipOrderRequestSchema, {
      orderId: first.orderId,
      shippingAddress: "1 Harbour Street, Münster",
      trackingNumber: "T-4711",
    }),
  );
  const cancelled = await orderlog.execute(
    create(CancelOrderRequestSchema, { orderId: second.orderId, reason: "changed my mind" }),
  );
  try {
    const tooLate = { orderId: first.orderId, reason: "too late" };
    await orderlog.execute(create(CancelOrderRequestSchema, tooLate));
  } catch (refused) {
    if (!(refused instanceof OrderlogError)) throw refused;
    console.log(`refused: ${refused.reason} (${refused.message})`);
  }

  // With minPosition, the server answers once the read model has projected the cancellation.
  const { order: found } = await orderlog.ask(
    create(GetOrderRequestSchema, {
      orderId: third.orderId,
      minPosition: cancelled.position,
      maxWait: { seconds: 10n },
    }),
  );
  console.log(`${found!.customerName} ordered for ${amount(found!.totalAmount!)} EUR`);
  const search = { customerIds: ["ann"], pageSize: 2, orderBy: "created_at" };
  let count = 0;
  for await (const _ of orderlog.search(create(SearchOrdersRequestSchema, search))) count += 1;
  console.log(`${count} orders of ann`);
  return cancelled.position;
}

const url = process.argv[2] ?? "http://127.0.0.1:50051";
const orderlog = new Orderlog(url);
const warehouse = new Warehouse("warehouse.db");
const position = await shop(orderlog);

// The warehouse runs until it has projected the events of the shop.
const done = new AbortController();
const store = {
  position: () => warehouse.position(),
  apply(response: SubscribeResponse, after: Position) {
    const isApplied = warehouse.apply(response, after);
    if (isApplied && response.position >= position) done.abort();
    return isApplied;
  },
};
try {
  await follow(url, store, { signal: done.signal });
} catch (error) {
  if (!(error instanceof HistoryError)) throw error;
  console.log(`starting over: ${error.message}`);
  warehouse.startOver();
  await follow(url, store, { signal: done.signal });
}
for (const { orderId, pieces } of warehouse.toPack()) {
  console.log(`to pack: ${orderId}, ${pieces} pieces`);
}
warehouse.close();
orderlog.close();
