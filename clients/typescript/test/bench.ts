/**
 * Measures the client against the one that Connect generates: `npm run bench -- [URL]`.
 *
 * Both take turns in each round, so that a busy machine slows both. Each line has the medians of the
 * rates, and of the ratios of the rounds.
 */

import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import {
  CommandService,
  EventService,
  follow,
  Orderlog,
  OrderlogError,
  type Position,
  positionOf,
  type Store,
} from "orderlog-client";
import { uuid7 } from "../src/uuid.js";
import { order } from "./orders.js";

const ROUNDS = 7;
const SECONDS = 2;
const STREAMED = 2_000;
const MIN_EVENTS = 60_000n;

type Rate = () => Promise<number>;

const baseUrl = process.argv[2] ?? "http://127.0.0.1:50051";
const orderlog = new Orderlog(baseUrl);
// With the pings of the client.
const transport = createGrpcTransport({ baseUrl, pingIntervalMs: 10_000, pingTimeoutMs: 5_000 });
const commands = createClient(CommandService, transport);
const events = createClient(EventService, transport);

const secondsSince = (started: number) => (performance.now() - started) / 1000;

/** The command with a request id, as the client makes it. */
const named = () => Object.assign(order(), { requestId: uuid7() });

/** Returns the calls a second of several callers. */
async function inFlight(count: number, execute: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  let done = 0;
  const call = async () => {
    for (; secondsSince(started) < SECONDS; done++) await execute();
  };
  await Promise.all(Array.from({ length: count }, call));
  return done / secondsSince(started);
}

async function rate(count: number, stream: AsyncIterable<unknown>): Promise<number> {
  const started = performance.now();
  for await (const result of stream) if (result instanceof OrderlogError) throw result;
  return count / secondsSince(started);
}

/** Returns the events a second with which the subscriber catches up. */
async function followed(head: bigint): Promise<number> {
  const started = performance.now();
  const done = new AbortController();
  let place: Position = { logId: "", position: 0n, resumeToken: "" };
  let elapsed = 0;
  const store: Store = {
    position: () => place,
    apply(response) {
      place = positionOf(response);
      if (place.position >= head && !done.signal.aborted) {
        elapsed = secondsSince(started);
        done.abort();
      }
      return true;
    },
  };
  await follow(baseUrl, store, { signal: done.signal });
  return Number(head) / elapsed;
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!;

async function compare(name: string, client: Rate, stub: Rate): Promise<void> {
  const rates: [number, number][] = [];
  for (let round = 0; round < ROUNDS; round++) rates.push([await client(), await stub()]);
  const whole = (value: number) => Math.round(value).toLocaleString("en");
  const cells = [whole(median(rates.map(([ours]) => ours)))];
  cells.push(whole(median(rates.map(([, theirs]) => theirs))));
  cells.push(median(rates.map(([ours, theirs]) => ours / theirs)).toFixed(2));
  console.log(`| ${name} | ${cells.join(" | ")} |`);
}

function* orders() {
  for (let number = 0; number < STREAMED; number++) yield order();
}

async function* requests() {
  for (let number = 0; number < STREAMED; number++) {
    yield { command: { case: "createOrder" as const, value: named() } };
  }
}

console.log("| a second | client | stub | ratio |\n|---|---|---|---|");
for (const count of [1, 64]) {
  await compare(
    `commands, ${count} in flight`,
    () => inFlight(count, () => orderlog.execute(order())),
    () => inFlight(count, () => commands.createOrder(named(), { timeoutMs: 10_000 })),
  );
}
const streamed = () => rate(STREAMED, orderlog.executeAll(orders()));
await compare("commands on one stream", streamed, () =>
  rate(STREAMED, commands.executeCommands(requests())),
);
let { position: head } = await events.getHead({});
for (; head < MIN_EVENTS; { position: head } = await events.getHead({})) await streamed();
await compare(
  "events, catching up",
  () => followed(head),
  async () => {
    // A connection of its own, as the subscriber has.
    const started = performance.now();
    const own = createClient(EventService, createGrpcTransport({ baseUrl }));
    for await (const { position } of own.subscribe({ follow: true })) if (position >= head) break;
    return Number(head) / secondsSince(started);
  },
);
process.exit();
