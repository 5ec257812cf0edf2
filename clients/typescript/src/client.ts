/** Commands and queries. */

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import {
  clone,
  type DescMessage,
  type DescMethod,
  type DescMethodUnary,
  type DescService,
  type Message,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { pauses } from "./backoff.js";
import { check, type ConnectionOptions, showing } from "./connection.js";
import { OrderlogError } from "./errors.js";
import { CommandService } from "./gen/orders/v1/command_service_pb.js";
import { EventService } from "./gen/orders/v1/event_service_pb.js";
import type { Order } from "./gen/orders/v1/order_pb.js";
import {
  QueryService,
  type SearchOrdersRequest,
  SearchOrdersRequestSchema,
} from "./gen/orders/v1/query_service_pb.js";

type Methods<S extends DescService> = Extract<
  S["method"][keyof S["method"]],
  { methodKind: "unary" }
>;
type Request<S extends DescService> = MessageShape<Methods<S>["input"]>;
/** Finds the RPC that takes `R` among `M`, and tells its reply. */
type Reply<M, R> = M extends {
  input: infer I extends DescMessage;
  output: infer O extends DescMessage;
}
  ? R extends MessageShape<I>
    ? MessageShape<O>
    : never
  : never;

export interface Options extends ConnectionOptions {
  /** How long a call is tried again. */
  patienceMs?: number;
  /** How long each attempt is given. */
  answerWithinMs?: number;
  /** After how long without a word the server is asked whether it is there, while a call waits. */
  keepAliveMs?: number;
}

/** A connection to orderlog: `new Orderlog("http://127.0.0.1:50051")`, or with TLS `https://`. */
export class Orderlog {
  readonly commands: Client<typeof CommandService>;
  readonly events: Client<typeof EventService>;
  readonly queries: Client<typeof QueryService>;
  readonly #session: Http2SessionManager;
  readonly #transport: Transport;
  readonly #patienceMs: number;
  readonly #answerWithinMs: number;
  #isClosed = false;

  /** Connects as soon as something is called. */
  constructor(
    baseUrl: string,
    // Not more often than every 10 seconds, which servers may take for an attack.
    { patienceMs = 30_000, answerWithinMs = 10_000, keepAliveMs = 10_000, token, tls }: Options = {},
  ) {
    check(baseUrl, { token, tls });
    this.#patienceMs = patienceMs;
    this.#answerWithinMs = answerWithinMs;
    const pings = { pingIntervalMs: keepAliveMs, pingTimeoutMs: keepAliveMs / 2 };
    this.#session = new Http2SessionManager(baseUrl, pings, tls);
    this.#transport = createGrpcTransport({
      baseUrl,
      sessionManager: this.#session,
      interceptors: [
        ...(token === undefined ? [] : [showing(token)]),
        (next) => (request) => {
          // The session would connect again.
          if (this.#isClosed) throw new ConnectError("closed", Code.FailedPrecondition);
          return next(request);
        },
      ],
    });
    this.commands = createClient(CommandService, this.#transport);
    this.events = createClient(EventService, this.#transport);
    this.queries = createClient(QueryService, this.#transport);
  }

  /** Closes the connection; calls that wait for an answer fail. */
  close(): void {
    this.#isClosed = true;
    this.#session.abort();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Sends a command until it is answered, and returns its reply.
   *
   * It has a request id, made here unless it has one, so that it takes effect once however often it
   * is sent. Its `position` is what a query needs to see it: `minPosition`.
   */
  async execute<C extends Request<typeof CommandService>>(
    command: C,
  ): Promise<Reply<Methods<typeof CommandService>, C>> {
    const method = methodFor(CommandService, command);
    const sent = clone(method.input, command) as C;
    sent.requestId ||= uuid7();
    return (await this.#again(method, sent)) as Reply<Methods<typeof CommandService>, C>;
  }

  /** Asks a query until it is answered, and returns the answer. */
  async ask<Q extends Request<typeof QueryService>>(
    query: Q,
  ): Promise<Reply<Methods<typeof QueryService>, Q>> {
    const method = methodFor(QueryService, query);
    return (await this.#again(method, query)) as Reply<Methods<typeof QueryService>, Q>;
  }

  /** Finds orders, page after page. */
  async *search(search: SearchOrdersRequest): AsyncGenerator<Order, void> {
    const page = clone(SearchOrdersRequestSchema, search);
    do {
      const found = await this.ask(page);
      yield* found.orders;
      page.pageToken = found.nextPageToken;
    } while (page.pageToken);
  }

  async #again(method: DescMethodUnary, request: Message): Promise<Message> {
    // What cannot be encoded fails here; in a call, it would look like a broken connection.
    toBinary(method.input, request);
    const until = performance.now() + this.#patienceMs;
    const pause = pauses();
    // Besides what the server is asked to wait for its read model.
    const timeoutMs = this.#answerWithinMs + waitsMs(request);
    for (;;) {
      try {
        return (await this.#transport.unary(method, undefined, timeoutMs, undefined, request))
          .message;
      } catch (failed) {
        const error = new OrderlogError(ConnectError.from(failed));
        const waitMs = Math.max(pause(), error.retryAfterMs ?? 0);
        const isOver = performance.now() + waitMs > until;
        if (isOver || !(error.isRetryable || error.isUnanswered)) throw error;
        await sleep(waitMs);
      }
    }
  }
}

/** How long the server may wait until its read model is as far as asked. */
function waitsMs(request: Message & { maxWait?: Duration }): number {
  return "minPosition" in request ? (request.maxWait ? durationMs(request.maxWait) : 5_000) : 0;
}

function methodFor(service: DescService, request: Message): DescMethodUnary {
  const isIt = (it: DescMethod): it is DescMethod & DescMethodUnary =>
    it.methodKind === "unary" && it.input.typeName === request.$typeName;
  const method = service.methods.find(isIt);
  if (!method) throw new TypeError(`${request.$typeName} is no request of ${service.name}`);
  return method;
}

/** Makes an id that sorts by time: random ones make the log slower. */
export function uuid7(): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Date.now(), 0, 6);
  bytes[6] = 0x70 | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
