/** The subscriber, while servers and networks break. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type RecordedEvent } from "../src/gen/orders/v1/event_pb.js";
import { EventService, SubscribeResponseSchema } from "../src/gen/orders/v1/event_service_pb.js";
import { follow } from "../src/subscriber.js";
import { fake } from "./fake.js";
import { head, order, shipping } from "./orders.js";
import { following, Recorder } from "./recorder.js";
import { folder, Server, until } from "./server.js";

const numbers = (last: number) => Array.from({ length: last }, (_, index) => index + 1);

test("no event is lost or repeated when the server is killed in the midst", async (t) => {
  const server = await Server.open(t);
  const orderlog = server.client(t);
  const file = join(server.folder, "seen.db");
  const write = async () => {
    for (const number of numbers(300)) {
      await orderlog.execute(order(`o-${number}`));
      if (number === 100 || number === 200) {
        await server.kill();
        await server.start();
      }
    }
  };

  const first = new Recorder(file);
  const told: boolean[] = [];
  const end = following(t, server.url, first, { onCaughtUp: (it) => told.push(it) });
  await until(() => told.length === 1);
  const writing = write();
  await until(() => first.seen().length > 120);
  await end();
  first.close();
  assert.equal(told[0], true);
  assert.ok(told.includes(false), "it is told that the connection is gone");

  // Another one on the same file, while the log goes on, and the server is killed once more.
  const second = new Recorder(file);
  following(t, server.url, second);
  await writing;
  await until(() => second.position().position === 300n);
  assert.deepEqual(second.seen(), numbers(300));
});

test("it is told when the head is reached and when the connection is gone", async (t) => {
  const server = await Server.open(t);
  const orderlog = server.client(t);
  await orderlog.execute(order("o"));
  const told: boolean[] = [];
  const store = new Recorder(join(server.folder, "seen.db"));
  following(t, server.url, store, { onCaughtUp: (it) => told.push(it) });
  await until(() => told.length === 1);
  server.cut();
  await until(() => told.length === 3);
  assert.deepEqual(told, [true, false, true]);
});

test("a silent network is a lost connection", async (t) => {
  const server = await Server.open(t);
  await server.client(t).execute(order("a"));
  const store = new Recorder(join(server.folder, "seen.db"));
  following(t, server.url, store, { silenceMs: 500 });
  await until(() => store.seen().length === 1);
  server.holdAnswers();
  await server.client(t).execute(order("b"));
  await until(() => store.seen().length === 2);
});

test("a silent stream is subscribed again though the connection is there", async (t) => {
  const asked: bigint[] = [];
  const url = await fake(t, (router) =>
    router.service(EventService, {
      async *subscribe({ afterPosition }, { signal }) {
        asked.push(afterPosition);
        const position = afterPosition + 1n;
        yield { logId: "fake", position, events: [{ position }] };
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    }),
  );
  const store = new Recorder(":memory:");
  following(t, url, store, { silenceMs: 50 });
  await until(() => store.seen().length === 3);
  // On a busy machine, a request may be silent before its response too, and is repeated.
  assert.deepEqual([...new Set(asked)].slice(0, 3), [0n, 1n, 2n]);
});

test("a server that cannot read an event yet is waited for", async (t) => {
  let asked = 0;
  const url = await fake(t, (router) =>
    router.service(EventService, {
      async *subscribe({ afterPosition }) {
        if (++asked === 1) throw new ConnectError("it is too new", Code.Internal);
        const position = afterPosition + 1n;
        yield { logId: "fake", position, events: [{ position }] };
      },
    }),
  );
  const store = new Recorder(":memory:");
  following(t, url, store);
  await until(() => store.seen().length === 1);
});

test("a filter moves on with what it skips", async (t) => {
  const server = await Server.open(t);
  const orderlog = server.client(t);
  for (const number of numbers(5)) await orderlog.execute(order(`o-${number}`));
  await orderlog.execute(shipping("o-3"));
  const shipped = new Recorder(join(server.folder, "shipped.db"));
  const only = { eventTypes: ["OrderShipped"], customerIds: ["ann"] };
  following(t, server.url, shipped, { only });
  await until(() => shipped.position().position === 6n);
  assert.deepEqual(shipped.seen(), [6]);
  const nothing = new Recorder(join(server.folder, "nothing.db"));
  following(t, server.url, nothing, { only: { customerIds: ["bob"] } });
  await until(() => nothing.position().position === 6n);
  assert.deepEqual(nothing.seen(), []);
});

test("a response is applied only after the position that it follows", (t) => {
  const place = (position: bigint, resumeToken = `after ${position}`) => ({
    logId: "one",
    position,
    resumeToken,
  });
  const response = (position: bigint) =>
    create(SubscribeResponseSchema, { ...place(position), events: [{ position }] });
  const file = join(folder(t), "seen.db");
  const [store, other] = [new Recorder(file), new Recorder(file)];
  const start = { logId: "", position: 0n, resumeToken: "" };
  assert.deepEqual(store.position(), start);
  assert.ok(store.apply(response(1n), start));
  assert.ok(!other.apply(response(1n), start));
  assert.ok(other.apply(response(2n), place(1n)));
  // The event at position 2 is another one in another history.
  assert.ok(!store.apply(response(3n), place(2n, "after another 2")));
  assert.deepEqual(store.position(), place(2n));
  assert.deepEqual(store.seen(), [1, 2]);
});

test("a store that another subscriber moves is read again", async (t) => {
  const server = await Server.open(t);
  const orderlog = server.client(t);
  const file = join(server.folder, "seen.db");
  const [store, other] = [new Recorder(file), new Recorder(file)];
  const ends = [following(t, server.url, store), following(t, server.url, other)];
  for (const number of numbers(50)) await orderlog.execute(order(`o-${number}`));
  await until(() => store.position().position === 50n);
  // Fails if a subscriber has failed.
  for (const end of ends) await end();
  assert.deepEqual(store.seen(), numbers(50));
});

test("what cannot be projected is not counted as done", async (t) => {
  class Broken extends Recorder {
    protected override project(event: RecordedEvent): void {
      super.project(event);
      if (event.position === 2n) throw new RangeError("broken");
    }
  }
  const server = await Server.open(t);
  const orderlog = server.client(t);
  for (const number of numbers(3)) await orderlog.execute(order(`o-${number}`));
  assert.equal(await head(orderlog), 3n);
  const store = new Broken(join(server.folder, "seen.db"));
  await assert.rejects(follow(server.url, store), { name: "RangeError" });
  assert.deepEqual(store.position(), { logId: "", position: 0n, resumeToken: "" });
  assert.deepEqual(store.seen(), []);
});
