/** The client for commands and queries. */

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
import { uuid7 } from "./uuid.js";

type Methods<S extends DescService> = Extract<
  S["method"][keyof S["method"]],
  { methodKind: "unary" }
>;
type Request<S extends DescService> = MessageShape<Methods<S>["input"]>;
/** Finds the RPC among `M` that takes the request `R`, and resolves to its reply. */
type Reply<M, R> = M extends {
  input: infer I extends DescMessage;
  output: infer O extends DescMessage;
}
  ? R extends MessageShape<I>
    ? MessageShape<O>
    : never
  : never;

export interface Options extends ConnectionOptions {
  /** The time for all retries of a call, in ms; by default 30,000. */
  patienceMs?: number;
  /** The timeout of each attempt in ms, besides the request's `maxWait`; by default 10,000. */
  answerWithinMs?: number;
  /** The silence in ms before the client pings the server while a call waits; by default 10,000. */
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

  /** Prepares a connection, which the first call opens. */
  constructor(
    baseUrl: string,
    // Servers may treat pings more often than every 10 s as an attack.
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
          // After an abort, the session would open a new connection.
          if (this.#isClosed) throw new ConnectError("closed", Code.FailedPrecondition);
          return next(request);
        },
      ],
    });
    this.commands = createClient(CommandService, this.#transport);
    this.events = createClient(EventService, this.#transport);
    this.queries = createClient(QueryService, this.#transport);
  }

  /** Closes the connection. Calls in progress fail. */
  close(): void {
    this.#isClosed = true;
    this.#session.abort();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Sends a command, retries it until the server replies, and returns the reply.
   *
   * The client adds a request id if the command has none, so that retries take effect once. A query
   * with the reply's `position` as `minPosition` sees the command's events.
   */
  async execute<C extends Request<typeof CommandService>>(
    command: C,
  ): Promise<Reply<Methods<typeof CommandService>, C>> {
    const method = methodFor(CommandService, command);
    const sent = clone(method.input, command) as C;
    sent.requestId ||= uuid7();
    return (await this.#again(method, sent)) as Reply<Methods<typeof CommandService>, C>;
  }

  /** Sends a query, retries it until the server replies, and returns the reply. */
  async ask<Q extends Request<typeof QueryService>>(
    query: Q,
  ): Promise<Reply<Methods<typeof QueryService>, Q>> {
    const method = methodFor(QueryService, query);
    return (await this.#again(method, query)) as Reply<Methods<typeof QueryService>, Q>;
  }

  /** Yields the orders that match, page by page. */
  async *search(search: SearchOrdersRequest): AsyncGenerator<Order, void> {
    const page = clone(SearchOrdersRequestSchema, search);
    do {
      const found = await this.ask(page);
      yield* found.orders;
      page.pageToken = found.nextPageToken;
    } while (page.pageToken);
  }

  async #again(method: DescMethodUnary, request: Message): Promise<Message> {
    // An invalid message fails here, because in a call it would look like a lost connection.
    toBinary(method.input, request);
    const until = performance.now() + this.#patienceMs;
    const pause = pauses();
    // Adds the time that the server may wait for its read model.
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

/** Returns the time that the server may wait for its read model, in ms. */
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
