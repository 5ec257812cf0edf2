/**
 * Holds the streams of all pages of this origin: one for each topic and token.
 *
 * A browser has six connections to a server over HTTP/1.1, and a stream takes one of them. In a
 * shared worker, any number of tabs takes two of them.
 */

import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { pauses } from "../client/backoff.js";
import { HistoryError, OrderlogError } from "../client/errors.js";
import { EventService, type SubscribeResponse } from "../client/gen/orders/v1/event_service_pb.js";
import { QueryService } from "../client/gen/orders/v1/query_service_pb.js";
import type { Notice, Request, Topic } from "./protocol.js";

/** The silence after which the hub opens a new stream. A live stream has a message every 10 s. */
const SILENCE_MS = 25_000;

/** The newest events with which the log's tail begins. */
const NEWEST = 100;

type Send = (notice: Notice) => void;

/** A page's end of a channel. */
export interface Port {
  postMessage(notice: Notice): void;
  onmessage: ((event: MessageEvent<Request>) => void) | null;
}

const streams = new Map<string, Stream>();

/** Serves a page. */
export function serve(port: Port): void {
  const opened = new Map<Topic, () => void>();
  const close = (topic: Topic) => {
    opened.get(topic)?.();
    opened.delete(topic);
  };
  port.onmessage = ({ data }) => {
    switch (data.kind) {
      case "open": {
        close(data.topic);
        const key = `${data.topic} ${data.token}`;
        const stream = streams.get(key) ?? new Stream(key, data.topic, data.token);
        streams.set(key, stream);
        opened.set(
          data.topic,
          stream.join((notice) => port.postMessage(notice)),
        );
        break;
      }
      case "close":
        close(data.topic);
        break;
      case "leave":
        for (const topic of [...opened.keys()]) close(topic);
    }
  };
}

/** Returns the position after which the newest events of a log are. */
function beforeNewest(head: bigint): bigint {
  return head > NEWEST ? head - BigInt(NEWEST) : 0n;
}

/** Returns what a page that joins after `notice` sees first. */
function lastOf(last: Notice | undefined, notice: Notice): Notice | undefined {
  // The log's stream resumes after a break, so its newest events stay the newest.
  if (notice.kind === "broken" && notice.topic === "events") return last;
  if (notice.kind !== "message") return undefined;
  if (notice.topic === "orders") return notice;
  const before = last?.kind === "message" && last.topic === "events" ? last.message.events : [];
  const events = [...before, ...notice.message.events].slice(-NEWEST);
  return { ...notice, message: { ...notice.message, events } };
}

/** One stream, for every page that joins. It ends with the last of them. */
class Stream {
  readonly #stop = new AbortController();
  readonly #members = new Set<Send>();
  readonly #transport: Transport;
  /** What a page that joins later sees first: the position of the orders, or the newest events. */
  #last?: Notice;
  #resumeToken = "";

  constructor(
    readonly key: string,
    readonly topic: Topic,
    token: string,
  ) {
    this.#transport = createGrpcWebTransport({
      baseUrl: self.location.origin,
      interceptors: [
        (next) => (request) => {
          if (token) request.header.set("authorization", `Bearer ${token}`);
          return next(request);
        },
      ],
    });
    void this.#run();
  }

  join(send: Send): () => void {
    this.#members.add(send);
    if (this.#last) {
      if (this.topic === "orders") send({ topic: this.topic, kind: "gap" });
      send(this.#last);
    }
    return () => {
      this.#members.delete(send);
      if (this.#members.size === 0) this.#end();
    };
  }

  #end(): void {
    this.#stop.abort();
    if (streams.get(this.key) === this) streams.delete(this.key);
  }

  #send(notice: Notice): void {
    this.#last = lastOf(this.#last, notice);
    for (const send of this.#members) send(notice);
  }

  async #run(): Promise<void> {
    let pause = pauses();
    while (!this.#stop.signal.aborted) {
      const attempt = new AbortController();
      const abort = () => attempt.abort();
      this.#stop.signal.addEventListener("abort", abort);
      let silence = setTimeout(abort, SILENCE_MS);
      try {
        let isFirst = true;
        for await (const notice of this.#messages(attempt.signal)) {
          clearTimeout(silence);
          silence = setTimeout(abort, SILENCE_MS);
          pause = pauses();
          // The changes between two streams of orders are unknown. The log's stream resumes.
          if (isFirst && this.topic === "orders") this.#send({ topic: this.topic, kind: "gap" });
          isFirst = false;
          this.#send(notice);
        }
      } catch (failed) {
        if (this.#gaveUp(new OrderlogError(ConnectError.from(failed)))) return;
      } finally {
        clearTimeout(silence);
        this.#stop.signal.removeEventListener("abort", abort);
      }
      if (this.#stop.signal.aborted) return;
      this.#send({ topic: this.topic, kind: "broken" });
      await this.#pause(pause());
    }
  }

  /** Returns whether no later attempt can succeed. */
  #gaveUp(error: OrderlogError): boolean {
    if (error.code === Code.Unauthenticated || error.code === Code.PermissionDenied) {
      this.#send({ topic: this.topic, kind: "refused" });
      this.#end();
      return true;
    }
    if (HistoryError.REASONS.includes(error.reason)) {
      this.#resumeToken = "";
      this.#send({ topic: this.topic, kind: "gap" });
    }
    return false;
  }

  async *#messages(signal: AbortSignal): AsyncGenerator<Notice> {
    if (this.topic === "orders") {
      const watch = createClient(QueryService, this.#transport);
      for await (const message of watch.watchOrders({ changesOnly: true }, { signal })) {
        yield { topic: "orders", kind: "message", message };
      }
      return;
    }
    const log = createClient(EventService, this.#transport);
    const head = this.#resumeToken ? undefined : await log.getHead({}, { signal });
    const from = head
      ? { afterPosition: beforeNewest(head.position), logId: head.logId }
      : { resumeToken: this.#resumeToken };
    for await (const message of log.subscribe({ ...from, follow: true }, { signal })) {
      this.#resumeToken = (message as SubscribeResponse).resumeToken;
      yield { topic: "events", kind: "message", message };
    }
  }

  /** Waits, or until the browser is online again. */
  #pause(ms: number): Promise<void> {
    return new Promise((done) => {
      const timer = setTimeout(over, ms);
      function over() {
        clearTimeout(timer);
        self.removeEventListener("online", over);
        done();
      }
      self.addEventListener("online", over);
      this.#stop.signal.addEventListener("abort", over);
    });
  }
}
