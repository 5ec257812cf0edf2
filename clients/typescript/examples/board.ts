/**
 * An order board: `npm run board -- [URL]`, until Ctrl-C.
 *
 * Creates and ships an order, and prints what happens to all orders. `board.db` keeps the place in
 * the log, so that the next start prints only what has happened since.
 */

import {
  amount,
  create,
  CreateOrderRequestSchema,
  follow,
  money,
  Orderlog,
  type RecordedEvent,
  ShipOrderRequestSchema,
} from "orderlog-client";
import { SqliteStore } from "orderlog-client/sqlite";

/** Prints each event once. */
class Board extends SqliteStore {
  protected override project({ aggregateId, payload }: RecordedEvent): void {
    switch (payload.case) {
      case "orderCreated": {
        const total = payload.value.totalAmount!;
        console.log(`order ${aggregateId} created: ${amount(total)} ${total.currencyCode}`);
        break;
      }
      case "orderShipped":
        console.log(`order ${aggregateId} shipped: ${payload.value.trackingNumber}`);
        break;
      case "orderDelivered":
        console.log(`order ${aggregateId} delivered`);
        break;
      case "orderCancelled":
        console.log(`order ${aggregateId} cancelled`);
    }
  }
}

const url = process.argv[2] ?? "http://127.0.0.1:50051";
const orderlog = new Orderlog(url);
const tea = { productId: "tea", quantity: 2, unitPrice: money("EUR", "12.50") };
const order = create(CreateOrderRequestSchema, { customerId: "ann", items: [tea] });
const { orderId } = await orderlog.execute(order);
const parcel = { shippingAddress: "1 Harbour Street, Münster", trackingNumber: "T-4711" };
await orderlog.execute(create(ShipOrderRequestSchema, { orderId, ...parcel }));
orderlog.close();

const leaving = new AbortController();
process.once("SIGINT", () => leaving.abort());
await follow(url, new Board("board.db", ""), { signal: leaving.signal });
