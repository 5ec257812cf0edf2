/** The subscriber, when the log does not have the events that the store has. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import Database from "better-sqlite3";
import { HistoryError } from "../src/errors.js";
import { ErrorInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";
import type { RecordedEvent } from "../src/gen/orders/v1/event_pb.js";
import { EventService, SubscribeResponseSchema } from "../src/gen/orders/v1/event_service_pb.js";
import { SqliteStore } from "../src/sqlite.js";
import { follow, type Store } from "../src/subscriber.js";
import { fake } from "./fake.js";
import { order } from "./orders.js";
import { following, Recorder } from "./recorder.js";
import { folder, Server, until } from "./server.js";

/** The place of a store at first. */
const START = { logId: "", position: 0n, resumeToken: "" };

/** The order of every event. */
class Orders extends SqliteStore {
  constructor(file: string) {
    super(file, "CREATE TABLE IF NOT EXISTS seen (position INTEGER PRIMARY KEY, order_id TEXT);");
  }

  protected override project({ position, aggregateId }: RecordedEvent): void {
    this.database.prepare("INSERT INTO seen VALUES (?, ?)").run(position, aggregateId);
  }

  undoAfter(position: bigint): void {
    this.database.prepare("DELETE FROM seen WHERE position > ?").run(position);
  }

  seen(): unknown[] {
    return this.database.prepare("SELECT order_id FROM seen ORDER BY position").pluck().all();
  }
}

/** Follows until the log proves to be of another history, and returns the error. */
async function lost(url: string, store: Store): Promise<HistoryError> {
  const error = await follow(url, store, { signal: AbortSignal.timeout(60_000) }).then(
    () => assert.fail("it did not end"),
    (failed: unknown) => failed,
  );
  assert.ok(error instanceof HistoryError, String(error));
  return error;
}

test("g12 subscriber stops at a log that lost its events, and starts over", async (t) => {
  const server = await Server.open(t);
  const orderlog = server.client(t);
  const kept = ["kept-0", "kept-1"];
  for (const id of kept) await orderlog.execute(order(id));
  await server.kill();
  const saved = server.saveLog();
  await server.start();
  await orderlog.execute(order("lost"));
  const store = new Orders(join(folder(t), "seen.db"));
  const end = following(t, server.url, store);
  await until(() => store.seen().length === 3);
  await end();
  await server.kill();
  server.putBackLog(saved);
  await server.start();
  // The log grows past the position of the subscriber.
  const other = ["other-0", "other-1"];
  for (const id of other) await orderlog.execute(order(id));

  const error = await lost(server.url, store);
  const { reason, position, sharedPosition } = error;
  assert.deepEqual([reason, position, sharedPosition], ["LOG_DIVERGED", 3n, undefined]);
  assert.deepEqual(store.seen(), [...kept, "lost"]);
  store.rewind(0n, () => store.undoAfter(0n));
  assert.deepEqual(store.position(), START);
  following(t, server.url, store);
  await until(() => store.seen().length === 4);
  assert.deepEqual(store.seen(), [...kept, ...other]);
});

test("another log is refused", async (t) => {
  const server = await Server.open(t);
  await server.client(t).execute(order("o"));
  const store = new Recorder(join(server.folder, "seen.db"));
  store.apply(create(SubscribeResponseSchema, { logId: "another", position: 1n }), START);
  const { reason, metadata, position, sharedPosition } = await lost(server.url, store);
  assert.deepEqual([reason, metadata.expected], ["LOG_MISMATCH", "another"]);
  assert.deepEqual([position, sharedPosition], [undefined, undefined]);
});

/** Makes the file that an earlier version of this client wrote. */
function earlierFile(folder: string, logId: string, position: bigint): string {
  const file = join(folder, `${logId}-${position}.db`);
  const database = new Database(file);
  database.exec(`
    CREATE TABLE progress (
      only INTEGER PRIMARY KEY CHECK (only = 1), log_id TEXT, position INTEGER
    );
  `);
  database.prepare("INSERT INTO progress VALUES (1, ?, ?)").run(logId, position);
  database.close();
  return file;
}

test("a store of an earlier version resumes and gets a token", async (t) => {
  const server = await Server.open(t);
  const orderlog = server.client(t);
  for (const id of ["a", "b", "c"]) await orderlog.execute(order(id));
  const { folder, url } = server;
  const newer = new Recorder(join(folder, "newer.db"));
  following(t, url, newer);
  await until(() => newer.position().position === 3n);
  const newest = newer.position();
  assert.notEqual(newest.resumeToken, "");

  const store = new Recorder(earlierFile(folder, newest.logId, 1n));
  assert.deepEqual(store.position(), { logId: newest.logId, position: 1n, resumeToken: "" });
  following(t, url, store);
  await until(() => store.position().resumeToken === newest.resumeToken);
  assert.deepEqual(store.seen(), [2, 3]);

  const beyond = await lost(url, new Recorder(earlierFile(folder, newest.logId, 4n)));
  assert.deepEqual([beyond.reason, beyond.position], ["POSITION_BEYOND_HEAD", 4n]);
  const another = await lost(url, new Recorder(earlierFile(folder, "another", 1n)));
  assert.equal(another.reason, "LOG_MISMATCH");
});

/** A response with the events of these positions. */
function response(...positions: bigint[]) {
  const position = positions.at(-1)!;
  const events = positions.map((position) => ({ position }));
  return create(SubscribeResponseSchema, {
    events,
    position,
    logId: "log",
    resumeToken: `after ${position}`,
  });
}

test("g12 subscriber goes on after the shared position", async (t) => {
  const asked: unknown[] = [];
  const url = await fake(t, (router) =>
    router.service(EventService, {
      async *subscribe({ resumeToken, afterPosition, logId }) {
        asked.push([resumeToken, afterPosition, logId]);
        if (asked.length === 1) {
          yield response(1n, 2n, 3n);
          const metadata = { position: "3", shared_position: "1" };
          const info = { reason: "LOG_DIVERGED", metadata };
          throw new ConnectError("the log went back", Code.FailedPrecondition, undefined, [
            { desc: ErrorInfoSchema, value: info },
          ]);
        }
        if (asked.length === 2) yield response(2n);
      },
    }),
  );
  const store = new Recorder(":memory:");
  const { position, sharedPosition } = await lost(url, store);
  assert.deepEqual([position, sharedPosition], [3n, 1n]);
  assert.deepEqual(asked, [["", 0n, ""]], "it is not retried");
  store.rewind(sharedPosition!, () => {
    store.database.prepare("DELETE FROM seen WHERE position > ?").run(sharedPosition);
  });
  following(t, url, store);
  await until(() => asked.length >= 3);
  assert.deepEqual(asked.slice(1, 3), [
    ["", 1n, "log"],
    ["after 2", 0n, ""],
  ]);
  assert.deepEqual(store.seen(), [1, 2]);
});

test("a rewind whose undoing fails changes nothing", () => {
  const store = new Recorder(":memory:");
  store.apply(response(1n, 2n), START);
  const undo = () => {
    store.database.exec("DELETE FROM seen");
    throw new RangeError("broken");
  };
  assert.throws(() => store.rewind(0n, undo), RangeError);
  assert.deepEqual(store.seen(), [1, 2]);
  assert.deepEqual(store.position(), { logId: "log", position: 2n, resumeToken: "after 2" });
});
