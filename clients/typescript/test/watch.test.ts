/** Orders as they change, and operators' calls. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { Orderlog } from "../src/client.js";
import { OrderStatus } from "../src/gen/orders/v1/order_pb.js";
import {
  GetStatusRequestSchema,
  ListParkedRequestSchema,
  RebuildRequestSchema,
  RebuildStage,
  VerifyRequestSchema,
} from "../src/gen/orders/v1/projection_service_pb.js";
import {
  type WatchOrdersResponse,
  WatchOrdersRequestSchema,
} from "../src/gen/orders/v1/query_service_pb.js";
import { order, shipping } from "./orders.js";
import { Server } from "./server.js";

async function next(responses: AsyncGenerator<WatchOrdersResponse, void>) {
  const { value } = await responses.next();
  assert.ok(value, "the stream ended");
  return value;
}

const ids = ({ orders }: WatchOrdersResponse) => orders.map(({ orderId }) => orderId);

test("orders are watched until it is left", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  const { position: minPosition } = await orderlog.execute(order("a"));
  const statuses = [OrderStatus.CREATED];
  const watching = orderlog.watch(create(WatchOrdersRequestSchema, { statuses, minPosition }));
  const first = await next(watching);
  assert.deepEqual([ids(first), first.caughtUp], [["a"], true]);
  await orderlog.execute(shipping("a"));
  assert.deepEqual((await next(watching)).leftOrderIds, ["a"]);
  await watching.return();
});

test("after silence and a break, all that match are listed again", async (t) => {
  const server = await Server.open(t);
  const { position: minPosition } = await server.client(t).execute(order("a"));
  const leaving = new AbortController();
  let restarts = 0;
  const options = { silenceMs: 1000, onRestart: () => (restarts += 1), signal: leaving.signal };
  const request = create(WatchOrdersRequestSchema, { minPosition });
  const watching = server.client(t).watch(request, options);
  assert.deepEqual(ids(await next(watching)), ["a"]);
  for (const fail of [() => server.holdAnswers(), () => server.cut()]) {
    const before = restarts;
    fail();
    assert.deepEqual(ids(await next(watching)), ["a"]);
    assert.ok(restarts > before);
  }
  leaving.abort();
  assert.ok((await watching.next()).done);
});

test("a watch that cannot be ends", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  const request = create(WatchOrdersRequestSchema, { orderIds: ["no good"] });
  await assert.rejects(orderlog.watch(request).next(), { reason: "INVALID_FIELD" });
});

test("operators see and rebuild the read models", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  await orderlog.execute(order("a"));
  const { projections } = await orderlog.ask(create(GetStatusRequestSchema));
  assert.deepEqual(projections.map(({ name }) => name), ["documents", "search"]);
  const stages: RebuildStage[] = [];
  const rebuild = create(RebuildRequestSchema, { projections: ["documents"] });
  for await (const { stage } of orderlog.progress(rebuild)) stages.push(stage);
  assert.equal(stages.at(-1), RebuildStage.DONE);
  for await (const { differences } of orderlog.progress(create(VerifyRequestSchema))) {
    assert.deepEqual(differences, []);
  }
  for await (const { parked } of orderlog.pages(create(ListParkedRequestSchema))) {
    assert.deepEqual(parked, []);
  }
});

test("an operator's call is not tried again", async () => {
  using orderlog = new Orderlog("http://127.0.0.1:1");
  const verifying = orderlog.progress(create(VerifyRequestSchema));
  await assert.rejects(verifying.next(), { name: "OrderlogError", code: Code.Unavailable });
});
