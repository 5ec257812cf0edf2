/** Commands and queries against a real server. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  create,
  fromBinary,
  fromJson,
  type JsonObject,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { Orderlog } from "../src/client.js";
import { OrderlogError } from "../src/errors.js";
import {
  CancelOrderRequestSchema,
  CreateOrderRequestSchema,
  CreateOrderResponseSchema,
  DeliverOrderRequestSchema,
  RegisterCustomerRequestSchema,
} from "../src/gen/orders/v1/command_service_pb.js";
import { OrderSchema, OrderStatus } from "../src/gen/orders/v1/order_pb.js";
import {
  GetOrderRequestSchema,
  SearchOrdersRequestSchema,
} from "../src/gen/orders/v1/query_service_pb.js";
import { amount, money, moneyOfNanos, nanosOf } from "../src/money.js";
import { uuid7 } from "../src/uuid.js";
import { head, order, shipping } from "./orders.js";
import { Server, until } from "./server.js";

/** The error that it fails with. */
async function refusal(call: Promise<unknown>): Promise<OrderlogError> {
  const error = await call.then(
    () => assert.fail("it was accepted"),
    (failed: unknown) => failed,
  );
  assert.ok(error instanceof OrderlogError, String(error));
  return error;
}

/** A field 1000 that this contract does not have. */
const NEWER_FIELD = [0xc2, 0x3e, 0x03, 0x6e, 0x65, 0x77];

test("orders are created, shipped and cancelled", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  const made = await orderlog.execute(order());
  assert.deepEqual([made.version, made.position], [1n, 1n]);
  const shipped = await orderlog.execute(shipping(made.orderId));
  assert.deepEqual([shipped.orderId, shipped.version, shipped.position], [made.orderId, 2n, 2n]);
  await orderlog.execute(order("b"));
  const cancel = create(CancelOrderRequestSchema, { orderId: "b", reason: "changed my mind" });
  assert.equal((await orderlog.execute(cancel)).version, 2n);
});

test("what was written is read", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  for (let number = 0; number < 20; number++) {
    const { orderId, position } = await orderlog.execute(order(`o-${number}`));
    const query = create(GetOrderRequestSchema, { orderId, minPosition: position });
    const answer = await orderlog.ask(query);
    assert.equal(answer.order?.version, 1n);
    assert.ok(answer.asOfPosition >= position);
  }
});

test("a request id has one effect", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  const request = order();
  request.requestId = uuid7();
  const first = await orderlog.execute(request);
  assert.deepEqual(await orderlog.execute(request), first);
  assert.equal(await head(orderlog), 1n);
});

test("a lost answer is asked for again and the command has one effect", async (t) => {
  const server = await Server.open(t);
  const orderlog = server.client(t);
  // Its connection is there before answers are held.
  assert.equal(await head(orderlog), 0n);
  server.holdAnswers();
  let isAnswered = false;
  const call = orderlog.execute(order("o")).finally(() => (isAnswered = true));
  // Another connection, which is let through, sees that it is committed.
  const other = server.client(t);
  await until(async () => (await head(other)) === 1n);
  assert.ok(!isAnswered);
  server.cut();
  assert.equal((await call).position, 1n);
  assert.equal(await head(server.client(t)), 1n);
});

test("an answer that does not come is asked for again on another connection", async (t) => {
  const server = await Server.open(t);
  const orderlog = server.client(t, { answerWithinMs: 500, keepAliveMs: 500 });
  assert.equal(await head(orderlog), 0n);
  server.holdAnswers();
  assert.equal((await orderlog.execute(order("o"))).position, 1n);
  assert.equal(await head(orderlog), 1n);
});

test("a command outlives the server", async (t) => {
  const server = await Server.open(t);
  const orderlog = server.client(t);
  await orderlog.execute(order("before"));
  server.holdAnswers();
  const call = orderlog.execute(order("during"));
  await server.kill();
  const later = orderlog.execute(order("after"));
  await server.start();
  assert.equal((await call).orderId, "during");
  assert.equal((await later).orderId, "after");
  assert.equal(await head(orderlog), 3n);
});

test("an error tells every wrong field", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  const request = order("no good", "");
  request.items[0]!.quantity = 0;
  request.items[0]!.unitPrice!.units = -1n;
  const error = await refusal(orderlog.execute(request));
  assert.deepEqual([error.code, error.reason], [Code.InvalidArgument, "INVALID_FIELD"]);
  assert.deepEqual(Object.keys(error.violations).sort(), [
    "customer_id",
    "items[0].quantity",
    "items[0].unit_price",
    "order_id",
  ]);
  assert.equal(error.violations.order_id, "must match [A-Za-z0-9_-]{1,64}");
  assert.ok(!error.isRetryable && !error.isUnanswered);
});

test("an error tells what belongs to its reason", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  const missing = await refusal(orderlog.execute(shipping("nobody")));
  assert.deepEqual([missing.reason, missing.resource], ["ORDER_NOT_FOUND", "nobody"]);
  await orderlog.execute(order("o"));
  const stale = await refusal(orderlog.execute(shipping("o", 7n)));
  assert.deepEqual([stale.code, stale.reason], [Code.Aborted, "VERSION_MISMATCH"]);
  assert.deepEqual(stale.metadata, { expected: "7", actual: "1" });
  const deliver = create(DeliverOrderRequestSchema, { orderId: "o" });
  const early = await refusal(orderlog.execute(deliver));
  assert.deepEqual([early.reason, early.metadata.status], ["ORDER_NOT_DELIVERABLE", "CREATED"]);
});

test("pages hold every order once", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  const made: string[] = [];
  let minPosition = 0n;
  for (let number = 0; number < 25; number++) {
    const reply = await orderlog.execute(order(`o-${number}`));
    made.push(reply.orderId);
    minPosition = reply.position;
  }
  const search = create(SearchOrdersRequestSchema, {
    pageSize: 10,
    orderBy: "created_at",
    minPosition,
  });
  const found: string[] = [];
  for await (const { orderId } of orderlog.search(search)) found.push(orderId);
  assert.deepEqual(found, made);
  assert.equal(search.pageToken, "", "the caller's request stays as it was");
});

test("zero is a version and absent is none", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  await orderlog.execute(order("o"));
  const error = await refusal(orderlog.execute(shipping("o", 0n)));
  assert.equal(error.reason, "VERSION_MISMATCH");
  assert.deepEqual(error.metadata, { expected: "0", actual: "1" });
  assert.equal((await orderlog.execute(shipping("o"))).version, 2n);
});

test("JSON has the contract's names and takes both spellings", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  const price = { currencyCode: "EUR", units: "12", nanos: 500000000 };
  const item = { productId: "tea", quantity: 2, unit_price: price };
  const json = { orderId: "o", customer_id: "ann", items: [item] };
  const made = await orderlog.execute(fromJson(CreateOrderRequestSchema, json));
  const answer = { orderId: "o", version: "1", position: "1" };
  assert.deepEqual(toJson(CreateOrderResponseSchema, made), answer);
  const query = create(GetOrderRequestSchema, { orderId: "o", minPosition: 1n });
  const found = (await orderlog.ask(query)).order!;
  assert.equal(found.shippedAt, undefined);
  assert.deepEqual([found.shippingAddress, found.customerName], ["", ""]);
  const { status, totalAmount } = toJson(OrderSchema, found) as JsonObject;
  assert.equal(status, "ORDER_STATUS_CREATED");
  assert.deepEqual(totalAmount, { currencyCode: "EUR", units: "25" });
});

test("what is not known is kept when read and refused when it filters", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  const search = create(SearchOrdersRequestSchema, { statuses: [99 as OrderStatus] });
  const error = await refusal(orderlog.ask(search));
  assert.equal(error.reason, "INVALID_FIELD");
  assert.deepEqual(Object.keys(error.violations), ["statuses[0]"]);

  const known = create(OrderSchema, { orderId: "o", status: 99 as OrderStatus });
  const newer = Uint8Array.of(...toBinary(OrderSchema, known), ...NEWER_FIELD);
  const read = fromBinary(OrderSchema, newer);
  assert.equal(read.status, 99);
  assert.equal(OrderStatus[read.status], undefined);
  assert.deepEqual(toBinary(OrderSchema, read), newer);
});

test("a field of a newer contract is refused", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  const known = toBinary(CreateOrderRequestSchema, order("o"));
  const newer = fromBinary(CreateOrderRequestSchema, Uint8Array.of(...known, ...NEWER_FIELD));
  const error = await refusal(orderlog.execute(newer));
  assert.deepEqual(Object.keys(error.violations), ["1000"]);
  assert.equal(await head(orderlog), 0n);
});

test("what cannot be encoded fails at once", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  const request = order("o");
  request.items[0]!.quantity = -1;
  await assert.rejects(orderlog.execute(request), { message: /invalid uint32: -1/ });
});

test("nobody there is told when patience is over", async () => {
  using orderlog = new Orderlog("http://127.0.0.1:1", { patienceMs: 500 });
  assert.equal((await refusal(orderlog.execute(order()))).code, Code.Unavailable);
});

test("a closed client stays closed", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  assert.equal(await head(orderlog), 0n);
  orderlog.close();
  const request = create(RegisterCustomerRequestSchema, { customerId: "ann", name: "Ann" });
  assert.equal((await refusal(orderlog.execute(request))).code, Code.FailedPrecondition);
});

test("money is exact", () => {
  for (const text of ["0", "12.5", "-0.0001", "-7.25", "922337203685477.5807", "1.000000001"]) {
    const made = money("EUR", text);
    assert.equal(amount(made), text);
    assert.ok(made.units * BigInt(made.nanos) >= 0n, "both have the same sign");
    assert.deepEqual(moneyOfNanos("EUR", nanosOf(made)), made);
  }
  assert.equal(amount(money("EUR", "12.50")), "12.5");
});

test("money is not rounded", () => {
  for (const text of ["0.0000000001", "1e3", "", ".5", "1,50", "NaN"]) {
    assert.throws(() => money("EUR", text), RangeError, text);
  }
});

test("ids are version 7 and sort by time", () => {
  const made = Array.from({ length: 100 }, uuid7);
  assert.equal(new Set(made).size, 100);
  const form = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  for (const id of made) assert.match(id, form);
  const times = made.map((id) => id.slice(0, 13));
  assert.deepEqual(times, times.toSorted());
  assert.ok(Math.abs(parseInt(times[0]!.replace("-", ""), 16) - Date.now()) < 60_000);
});
