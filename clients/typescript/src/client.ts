/** The client for commands and queries. */

import {
  clone,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  type Message,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { type Connection, open } from "#transport";
import { pauses, sleep } from "./backoff.js";
import { Bulk, type CommandReply, type Commands } from "./bulk.js";
import { check, type ConnectionOptions, showing } from "./connection.js";
import { OrderlogError } from "./errors.js";
import { CommandService } from "./gen/orders/v1/command_service_pb.js";
import { EventService } from "./gen/orders/v1/event_service_pb.js";
import type { Order } from "./gen/orders/v1/order_pb.js";
import { ProjectionService } from "./gen/orders/v1/projection_service_pb.js";
import {
  QueryService,
  type SearchOrdersRequest,
  type WatchOrdersRequest,
  type WatchOrdersResponse,
} from "./gen/orders/v1/query_service_pb.js";
import { responses, type StreamOptions } from "./streams.js";
import { uuid7 } from "./uuid.js";

type Methods<S extends DescService, K extends DescMethod["methodKind"]> = S extends DescService
  ? Extract<S["method"][keyof S["method"]], { methodKind: K }>
  : never;
type Request<M extends DescMethod> = M extends DescMethod ? MessageShape<M["input"]> : never;
/** Finds the RPC among `M` that takes the request `R`, and resolves to its reply. */
type Reply<M, R> = M extends {
  input: infer I extends DescMessage;
  output: infer O extends DescMessage;
}
  ? R extends MessageShape<I>
    ? MessageShape<O>
    : never
  : never;

type Command = Methods<typeof CommandService, "unary">;
type Query = Methods<typeof QueryService | typeof EventService | typeof ProjectionService, "unary">;
type Progress = Exclude<
  Methods<typeof EventService | typeof ProjectionService, "server_streaming">,
  typeof EventService.method.subscribe
>;

export interface Options extends ConnectionOptions {
  /** The time for all retries of a call, in ms; by default 30,000. */
  patienceMs?: number;
  /** The timeout of each attempt in ms, besides the request's `maxWait`; by default 10,000. */
  answerWithinMs?: number;
  /** The silence in ms before the client pings the server while a call waits; by default 10,000. */
  keepAliveMs?: number;
}

export interface WatchOptions extends StreamOptions {
  /** Gets called before all orders that match are listed once more: forget the ones there are. */
  onRestart?: () => void;
}

/** A connection to orderlog: `new Orderlog("http://127.0.0.1:50051")`, or with TLS `https://`. */
export class Orderlog {
  readonly commands: Client<typeof CommandService>;
  readonly events: Client<typeof EventService>;
  readonly projections: Client<typeof ProjectionService>;
  readonly queries: Client<typeof QueryService>;
  readonly #connect: () => Orderlog;
  readonly #connection: Connection;
  readonly #tokenMayChange: boolean;
  readonly #patienceMs: number;
  readonly #answerWithinMs: number;
  #isClosed = false;

  /** Prepares a connection, which the first call opens. */
  constructor(baseUrl: string, options: Options = {}) {
    // Servers may treat pings more often than every 10 s as an attack.
    const { patienceMs = 30_000, answerWithinMs = 10_000, keepAliveMs = 10_000, token, tls } = options;
    check(baseUrl, { token, tls });
    this.#connect = () => new Orderlog(baseUrl, options);
    this.#tokenMayChange = typeof token === "function";
    this.#patienceMs = patienceMs;
    this.#answerWithinMs = answerWithinMs;
    this.#connection = open(baseUrl, { tls, keepAliveMs }, [
      ...(token === undefined ? [] : [showing(token)]),
      (next) => (request) => {
        // After an abort, a session would open a new connection.
        if (this.#isClosed) throw new ConnectError("closed", Code.FailedPrecondition);
        return next(request);
      },
    ]);
    const { transport } = this.#connection;
    this.commands = createClient(CommandService, transport);
    this.events = createClient(EventService, transport);
    this.projections = createClient(ProjectionService, transport);
    this.queries = createClient(QueryService, transport);
  }

  /** Closes the connection. Calls in progress fail. */
  close(): void {
    this.#isClosed = true;
    this.#connection.close();
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
  async execute<C extends Request<Command>>(command: C): Promise<Reply<Command, C>> {
    const method = methodFor(COMMANDS, command);
    return (await this.#again(method, named(command))) as Reply<Command, C>;
  }

  /**
   * Yields the reply to each command, or its `OrderlogError`, in order. Not for pages, because
   * browsers cannot send a stream.
   *
   * The commands share one stream with many in flight, and take effect in order. After a break, the
   * client sends those without an answer once more, with the same request ids. Throws an
   * `OrderlogError` if none is answered for the client's `patienceMs`.
   */
  executeAll(
    commands: Commands<Request<Command>>,
  ): AsyncGenerator<CommandReply | OrderlogError, void> {
    const bulk = new Bulk(commands, named);
    return bulk.execute(this.commands, this.#patienceMs);
  }

  /**
   * Sends a query, retries it until the server replies, and returns the reply. A query is a request
   * of the services for queries, events and projections with one reply.
   */
  async ask<Q extends Request<Query>>(query: Q): Promise<Reply<Query, Q>> {
    const method = methodFor(QUERIES, query);
    return (await this.#again(method, query)) as Reply<Query, Q>;
  }

  /** Yields the replies to a query, page by page. */
  async *pages<Q extends Extract<Request<Query>, { pageToken: string }>>(
    query: Q,
  ): AsyncGenerator<Reply<Query, Q>, void> {
    const page = clone(methodFor(QUERIES, query).input, query) as Q;
    do {
      const found = await this.ask(page);
      yield found;
      page.pageToken = (found as { nextPageToken: string }).nextPageToken;
    } while (page.pageToken);
  }

  /** Yields the orders that match, page by page. */
  async *search(search: SearchOrdersRequest): AsyncGenerator<Order, void> {
    for await (const page of this.pages(search)) yield* page.orders;
  }

  /**
   * Yields the progress of a rebuild or a verification, until it is done. The client does not retry
   * the call. Leaving a rebuild cancels it.
   */
  async *progress<R extends Request<Progress>>(
    request: R,
  ): AsyncGenerator<Reply<Progress, R>, void> {
    const method = methodFor(PROGRESS, request);
    const leaving = new AbortController();
    const { transport } = this.#connection;
    const sent = (async function* () {
      yield request;
    })();
    try {
      const call = await transport.stream(method, leaving.signal, undefined, undefined, sent);
      for await (const response of call.message) yield response as Reply<Progress, R>;
    } catch (failed) {
      throw OrderlogError.of(failed);
    } finally {
      leaving.abort();
    }
  }

  /**
   * Yields the orders that match now, then each change to them, until it is left or `signal` aborts.
   * The client watches once more after a break, and after `silenceMs` without a response.
   */
  async *watch(
    request: WatchOrdersRequest,
    { onRestart = () => {}, ...options }: WatchOptions = {},
  ): AsyncGenerator<WatchOrdersResponse, void> {
    let pause = pauses();
    for (;;) {
      // Each attempt opens a new connection, because a call on a lost connection fails too.
      const orderlog = this.#connect();
      try {
        const watch = (signal: AbortSignal) => orderlog.queries.watchOrders(request, { signal });
        for await (const response of responses(watch, this.#tokenMayChange, options)) {
          yield response;
          pause = pauses();
        }
      } finally {
        orderlog.close();
      }
      await sleep(pause(), options.signal);
      if (options.signal?.aborted) return;
      onRestart();
    }
  }

  async #again(method: DescMethodUnary, request: Message): Promise<Message> {
    const until = performance.now() + this.#patienceMs;
    const pause = pauses();
    // Adds the time that the server may wait for its read model.
    const timeoutMs = this.#answerWithinMs + waitsMs(request);
    for (;;) {
      try {
        const { transport } = this.#connection;
        return (await transport.unary(method, undefined, timeoutMs, undefined, request)).message;
      } catch (failed) {
        // An invalid message fails here, because in the call it looks like a lost connection.
        toBinary(method.input, request);
        const error = OrderlogError.of(failed);
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

/** Maps each request to the method that takes it. */
function requests<M extends DescMethod>(
  kind: M["methodKind"],
  ...services: DescService[]
): Map<string, M> {
  const methods = services.flatMap((service) => service.methods);
  const ofKind = methods.filter((it): it is DescMethod & M => it.methodKind === kind);
  return new Map(ofKind.map((it) => [it.input.typeName, it]));
}

const COMMANDS = requests<DescMethodUnary>("unary", CommandService);
const QUERIES = requests<DescMethodUnary>("unary", QueryService, EventService, ProjectionService);
const PROGRESS = requests<DescMethodServerStreaming>(
  "server_streaming",
  EventService,
  ProjectionService,
);

function methodFor<M>(methods: Map<string, M>, { $typeName }: Message): M {
  const method = methods.get($typeName);
  if (method) return method;
  throw new TypeError(`${$typeName} is not one of ${[...methods.keys()].join(", ")}`);
}

/** Returns the command with a request id. */
function named<C extends Request<Command>>(command: C): C {
  return command.requestId ? command : { ...command, requestId: uuid7() };
}
