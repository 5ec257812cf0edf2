/** Shows the client to the conformance suite: see `../../conformance/README.md`. */

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type DescMessage,
  fromJson,
  type JsonValue,
  type Message,
  type MessageShape,
  toJson,
} from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import {
  type ConnectionOptions,
  CreateOrderRequestSchema,
  CreateOrderResponseSchema,
  ExecuteCommandsRequestSchema,
  ExecuteCommandsResponseSchema,
  follow,
  GetOrderRequestSchema,
  GetOrderResponseSchema,
  HistoryError,
  type Options,
  Orderlog,
  OrderlogError,
  SearchOrdersRequestSchema,
  ShipOrderRequestSchema,
  ShipOrderResponseSchema,
  type Store,
  WatchOrdersRequestSchema,
} from "orderlog-client";
import { Recorder } from "./recorder.js";

// Typed loosely: the suite's requests are what they are.
type Line = Record<string, any>;

const say = (line: object) => console.log(JSON.stringify(line));

/** The name of a code as gRPC spells it. */
const nameOf = (code: Code) =>
  code === Code.Canceled
    ? "CANCELLED"
    : Code[code].replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toUpperCase();

function described(error: OrderlogError) {
  const { reason, metadata, violations, resource } = error;
  const places = error instanceof HistoryError ? error : undefined;
  const number = (it?: bigint) => (it === undefined ? null : Number(it));
  return {
    error: {
      ...{ code: nameOf(error.code), reason, metadata, violations, resource },
      position: number(places?.position),
      shared_position: number(places?.sharedPosition),
    },
  };
}

/** The reply of a command as JSON: the oneof of the stream's answer knows the schema of each. */
function replied(reply: Message) {
  const field = ExecuteCommandsResponseSchema.fields.find(
    ({ message }) => message?.typeName === reply.$typeName,
  );
  return { ok: toJson(field!.message!, reply) };
}

const read = <D extends DescMessage>(schema: D, json: JsonValue): MessageShape<D> =>
  fromJson(schema, json, { ignoreUnknownFields: false });

let orderlog: Orderlog;
let baseUrl: string;
let access: ConnectionOptions;

const requests: Record<string, (it: Line) => Promise<object>> = {
  async connect({ target, tls, ca, token_file, answer_within_ms, patience_ms }) {
    baseUrl = `${tls ? "https" : "http"}://${target}`;
    access = {
      token: token_file ? () => readFileSync(token_file, "utf8") : undefined,
      tls: tls ? { ca: readFileSync(ca) } : undefined,
    };
    const times: Options = {
      answerWithinMs: answer_within_ms || undefined,
      patienceMs: patience_ms || undefined,
    };
    orderlog = new Orderlog(baseUrl, { ...access, ...times });
    return {};
  },

  async create_order({ request }) {
    const made = await orderlog.execute(read(CreateOrderRequestSchema, request));
    return toJson(CreateOrderResponseSchema, made) as object;
  },

  async ship_order({ request }) {
    const shipped = await orderlog.execute(read(ShipOrderRequestSchema, request));
    return toJson(ShipOrderResponseSchema, shipped) as object;
  },

  async get_order({ request }) {
    const found = await orderlog.ask(read(GetOrderRequestSchema, request));
    return toJson(GetOrderResponseSchema, found) as object;
  },

  async search({ request }) {
    const order_ids: string[] = [];
    const search = read(SearchOrdersRequestSchema, request);
    for await (const { orderId } of orderlog.search(search)) order_ids.push(orderId);
    return { order_ids };
  },

  async execute_commands({ requests }) {
    const sent = (requests as JsonValue[]).map((it) => read(ExecuteCommandsRequestSchema, it));
    const results: object[] = [];
    for await (const result of orderlog.executeAll(sent.map((it) => it.command.value!))) {
      results.push(result instanceof OrderlogError ? described(result) : replied(result));
    }
    return { results };
  },

  async follow({ store: file, until, silence_ms, apply_ms }) {
    const store = new Recorder(file);
    const reached = new AbortController();
    const check = () => store.position().position >= BigInt(until) && reached.abort();
    const slow: Store = {
      position: () => store.position(),
      async apply(response, after) {
        await sleep(apply_ms);
        const isApplied = store.apply(response, after);
        say({ progress: { position: Number(store.position().position) } });
        check();
        return isApplied;
      },
    };
    check();
    const silenceMs = silence_ms || undefined;
    await follow(baseUrl, slow, { ...access, silenceMs, signal: reached.signal });
    return { seen: store.seen(), position: Number(store.position().position) };
  },

  async rewind({ store: file, position }) {
    const store = new Recorder(file);
    store.rewind(BigInt(position), () => {
      store.database.prepare("DELETE FROM seen WHERE position > ?").run(position);
    });
    store.close();
    return {};
  },

  async watch_orders({ request, until }) {
    const versions: Record<string, number> = {};
    const left = new Set<string>();
    for await (const response of orderlog.watch(read(WatchOrdersRequestSchema, request))) {
      for (const order of response.orders) versions[order.orderId] = Number(order.version);
      for (const id of response.leftOrderIds) left.add(id);
      const position = Number(response.asOfPosition);
      say({ progress: { position } });
      const isOver = response.caughtUp && position >= until;
      if (isOver) return { versions, left: [...left].sort(), position };
    }
    throw new Error("the watch ended");
  },
};

for await (const line of createInterface(process.stdin)) {
  const request: Line = JSON.parse(line);
  try {
    say({ ok: await requests[request.do]!(request) });
  } catch (failed) {
    if (!(failed instanceof OrderlogError)) throw failed;
    say(described(failed));
  }
}
orderlog!.close();
