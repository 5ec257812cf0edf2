/** Many commands over one stream. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import type { CommandReply, Commands } from "../src/bulk.js";
import { Orderlog } from "../src/client.js";
import { OrderlogError } from "../src/errors.js";
import { ErrorInfoSchema, RetryInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";
import { CommandService, type CreateOrderRequest } from "../src/gen/orders/v1/command_service_pb.js";
import { fake } from "./fake.js";
import { head, order, shipping } from "./orders.js";
import { Server, until } from "./server.js";

/** The positions of the replies. */
async function positions(orderlog: Orderlog, commands: Commands<CreateOrderRequest>) {
  const found: number[] = [];
  for await (const result of orderlog.executeAll(commands)) {
    if (result instanceof OrderlogError) throw result;
    found.push(Number(result.position));
  }
  return found;
}

function* orders(count: number, read: string[] = []) {
  for (let number = 0; number < count; number++) {
    read.push(`o-${number}`);
    yield order(`o-${number}`);
  }
}

const numbers = (last: number) => Array.from({ length: last }, (_, index) => index + 1);

test("each command gets its reply or its error, in order", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  const results: (CommandReply | OrderlogError)[] = [];
  const commands = [order("a"), shipping("nobody"), shipping("a")];
  for await (const result of orderlog.executeAll(commands)) results.push(result);
  const [created, refused, shipped] = results;
  assert.ok(created && !(created instanceof OrderlogError) && created.version === 1n);
  assert.ok(refused instanceof OrderlogError);
  assert.deepEqual([refused.code, refused.reason], [Code.NotFound, "ORDER_NOT_FOUND"]);
  assert.equal(refused.resource, "nobody");
  assert.ok(shipped && !(shipped instanceof OrderlogError) && shipped.version === 2n);
  assert.deepEqual(await positions(orderlog, []), []);
});

test("replies come while commands are read", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  let replied = () => {};
  const isReplied = new Promise<void>((resolve) => (replied = resolve));
  const commands = async function* () {
    yield order("a");
    await isReplied;
    yield order("b");
  };
  const results = orderlog.executeAll(commands());
  assert.ok((await results.next()).value);
  replied();
  assert.ok((await results.next()).value);
  assert.ok((await results.next()).done);
});

test("commands without an answer are sent again after a break", async (t) => {
  const server = await Server.open(t);
  const executing = positions(server.client(t), orders(1000));
  const other = server.client(t);
  while ((await head(other)) < 50n);
  server.cut();
  assert.deepEqual(await executing, numbers(1000));
  assert.equal(await head(server.client(t)), 1000n);
});

test("an error of the source comes after the replies", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  const commands = function* () {
    yield order("a");
    throw new RangeError("the file ends here");
  };
  const results = orderlog.executeAll(commands());
  assert.ok((await results.next()).value);
  await assert.rejects(results.next(), { name: "RangeError" });
});

test("a command that cannot be encoded fails at once", async (t) => {
  const orderlog = (await Server.open(t)).client(t);
  const request = order();
  request.items[0]!.quantity = -1;
  await assert.rejects(positions(orderlog, [request]), { message: /invalid uint32: -1/ });
});

test("no more commands are read than may be in flight", async (t) => {
  const server = await Server.open(t);
  const orderlog = server.client(t);
  await head(orderlog);
  server.holdAnswers();
  const read: string[] = [];
  const executing = positions(orderlog, orders(2000, read));
  const other = server.client(t);
  // The server executes them all, and none of the replies arrives.
  await until(async () => (await head(other)) === 512n);
  assert.equal(read.length, 512);
  server.cut();
  assert.equal((await executing).length, 2000);
});

test("a command that must wait is sent again with those after it", async (t) => {
  const ids: string[] = [];
  const details = [
    anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason: "OVERLOADED" })),
    anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: { nanos: 1000 } })),
  ];
  const busy = { code: Code.ResourceExhausted, message: "as told", details };
  const url = await fake(t, (router) =>
    router.service(CommandService, {
      async *executeCommands(requests) {
        for await (const { command } of requests) {
          if (command.value) ids.push(command.value.requestId);
          if (ids.length === 2) yield { result: { case: "error", value: busy } };
          else yield { result: { case: "createOrder", value: { position: BigInt(ids.length) } } };
        }
      },
    }),
  );
  const orderlog = new Orderlog(url);
  t.after(() => orderlog.close());
  assert.equal((await positions(orderlog, orders(3))).length, 3);
  assert.equal(new Set(ids).size, 3);
  assert.ok(ids.slice(2).includes(ids[1]!));
});

test("nobody there is told when patience is over", async () => {
  using orderlog = new Orderlog("http://127.0.0.1:1", { patienceMs: 500 });
  await assert.rejects(positions(orderlog, orders(1)), { name: "OrderlogError" });
});
