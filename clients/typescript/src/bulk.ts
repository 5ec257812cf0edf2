/** Executes many commands over one stream. */

import { type Message, toBinary } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { pauses, sleep } from "./backoff.js";
import { OrderlogError } from "./errors.js";
import {
  type CommandService,
  type ExecuteCommandsRequest,
  ExecuteCommandsRequestSchema,
  type ExecuteCommandsResponse,
} from "./gen/orders/v1/command_service_pb.js";

/** Bounds the commands without an answer. The server reads no more ahead. */
const MAX_IN_FLIGHT = 512;
/**
 * Bounds the lines of the orders without an answer. A line takes about 100 bytes, so all of them take
 * 16 MiB.
 */
const MAX_LINES_IN_FLIGHT = 150_000;

type Result = Extract<ExecuteCommandsResponse["result"], { case: string }>;
/** The reply to a command. */
export type CommandReply = Exclude<Result, { case: "error" }>["value"];
export type Commands<C> = Iterable<C> | AsyncIterable<C>;

/** The commands that wait for their answers, in order. */
export class Bulk<C extends Message> {
  readonly #pending: ExecuteCommandsRequest[] = [];
  readonly #changes = new Changes();
  #pendingLines = 0;
  #isRead = false;
  #isLeft = false;

  /** Takes the commands. `named` returns each with a request id. */
  constructor(
    readonly commands: Commands<C>,
    readonly named: (command: C) => C,
  ) {}

  /** Yields the reply to each command, or its error, and opens streams until all have one. */
  async *execute(
    client: Client<typeof CommandService>,
    patienceMs: number,
  ): AsyncGenerator<CommandReply | OrderlogError, void> {
    const reading = this.#read();
    // The error comes after the replies.
    reading.catch(() => {});
    let until = performance.now() + patienceMs;
    let pause = pauses();
    try {
      for (;;) {
        let error: OrderlogError;
        try {
          for await (const result of this.#attempt(client)) {
            yield result;
            [until, pause] = [performance.now() + patienceMs, pauses()];
          }
          error = new OrderlogError(new ConnectError("the stream ended", Code.Unavailable));
        } catch (failed) {
          // An invalid message fails here, because in the call it looks like a lost connection.
          for (const request of this.#pending) toBinary(ExecuteCommandsRequestSchema, request);
          error = failed instanceof OrderlogError ? failed : OrderlogError.of(failed);
        }
        if (this.#isRead && this.#pending.length === 0) return await reading;
        const waitMs = Math.max(pause(), error.retryAfterMs ?? 0);
        const mayPass = error.isRetryable || error.isUnanswered;
        if (!mayPass || performance.now() + waitMs > until) throw error;
        await sleep(waitMs);
      }
    } finally {
      this.#isLeft = true;
      this.#changes.tell();
    }
  }

  /** Reads the commands as long as there is room. */
  async #read(): Promise<void> {
    try {
      for await (const command of this.commands) {
        const request = requestOf(this.named(command));
        this.#pending.push(request);
        this.#pendingLines += linesOf(request);
        this.#changes.tell();
        if (this.#hasAtLeast(1)) {
          // Then there is room for many, which the connection sends together.
          while (this.#hasAtLeast(1 / 2) && !this.#isLeft) await this.#changes.next();
        }
        if (this.#isLeft) return;
      }
    } finally {
      this.#isRead = true;
      this.#changes.tell();
    }
  }

  /** Whether this part of all that may be in flight is. */
  #hasAtLeast(part: number): boolean {
    const isLong = this.#pending.length >= part * MAX_IN_FLIGHT;
    return isLong || this.#pendingLines >= part * MAX_LINES_IN_FLIGHT;
  }

  /** Sends all pending and further commands over one stream, and yields the results. */
  async *#attempt(
    client: Client<typeof CommandService>,
  ): AsyncGenerator<CommandReply | OrderlogError, void> {
    const attempt = { sentCount: 0, isOver: false };
    const ending = new AbortController();
    try {
      const requests = this.#requests(attempt);
      for await (const answer of client.executeCommands(requests, { signal: ending.signal })) {
        const result = resultOf(answer);
        // Later commands may depend on this one, so all of them are sent once more.
        if (result instanceof OrderlogError && result.isRetryable) throw result;
        const answered = this.#pending.shift();
        if (answered) this.#pendingLines -= linesOf(answered);
        attempt.sentCount -= 1;
        this.#changes.tell();
        yield result;
      }
    } finally {
      attempt.isOver = true;
      this.#changes.tell();
      ending.abort();
    }
  }

  async *#requests(attempt: { sentCount: number; isOver: boolean }) {
    while (!attempt.isOver) {
      const next = this.#pending[attempt.sentCount];
      if (next) {
        attempt.sentCount += 1;
        yield next;
      } else if (this.#isRead) {
        return;
      } else {
        await this.#changes.next();
      }
    }
  }
}

/** Wakes all that wait for a change. */
class Changes {
  #next?: Promise<void>;
  #resolve = () => {};

  next(): Promise<void> {
    return (this.#next ??= new Promise((resolve) => (this.#resolve = resolve)));
  }

  tell(): void {
    this.#resolve();
    this.#next = undefined;
  }
}

/** The name in `command` of each request. */
const CASES = new Map(
  ExecuteCommandsRequestSchema.fields.map((it) => [it.message?.typeName, it.localName]),
);

function requestOf(command: Message): ExecuteCommandsRequest {
  const named = { case: CASES.get(command.$typeName), value: command };
  return {
    $typeName: "orders.v1.ExecuteCommandsRequest",
    command: named as ExecuteCommandsRequest["command"],
  };
}

function linesOf({ command }: ExecuteCommandsRequest): number {
  return command.case === "createOrder" ? command.value.items.length : 0;
}

function resultOf({ result }: ExecuteCommandsResponse): CommandReply | OrderlogError {
  if (result.case === "error") return OrderlogError.ofStatus(result.value);
  if (result.case) return result.value;
  const unknown = "the server sent a result that this version does not know";
  return new OrderlogError(new ConnectError(unknown, Code.Unknown, { "grpc-status": "2" }));
}
