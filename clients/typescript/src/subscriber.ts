/**
 * A subscriber that loses no event and repeats none.
 *
 * What it makes of events and how far it is are kept in one transaction. After any break it goes on
 * from there, and the log delivers exactly what comes behind.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import Database from "better-sqlite3";
import { pauses } from "./backoff.js";
import { Orderlog } from "./client.js";
import type { ConnectionOptions } from "./connection.js";
import { OrderlogError } from "./errors.js";
import type { RecordedEvent } from "./gen/orders/v1/event_pb.js";
import type { EventFilterSchema, SubscribeResponse } from "./gen/orders/v1/event_service_pb.js";

/** After how long a stream says at the latest that it is still there. */
const HEARTBEAT_MS = 10_000;

/** A place in a log. */
export interface Position {
  logId: string;
  position: bigint;
}

/** Keeps what is made of events, and how far that is. */
export interface Store {
  /** Where to go on; position 0 of log "" in the beginning. */
  position(): Position;
  /** Takes a response's events and its position, both or nothing. */
  apply(response: SubscribeResponse): void | Promise<void>;
}

export interface FollowOptions extends ConnectionOptions {
  /** Which events; all if absent. */
  only?: MessageInitShape<typeof EventFilterSchema>;
  /** After how long without a word the stream is taken for lost. */
  silenceMs?: number;
  /** Is told when the head of the log is reached, and when it is no longer. */
  onCaughtUp?: (isCaughtUp: boolean) => void;
  /** Is told why a stream broke off, before the next one is tried. */
  onBroken?: (error: OrderlogError) => void;
  /** Ends it. */
  signal?: AbortSignal;
}

/**
 * Follows the log of the server at `baseUrl` until `signal` is aborted, whatever breaks in between.
 *
 * Throws an `OrderlogError` that trying again does not help against, such as LOG_MISMATCH: the log
 * is another one than the store was made from. A `token` that is refused is final too, unless it is a
 * function: that is asked again each time, until it returns one that is not. Throws what `store`
 * throws.
 */
export async function follow(
  baseUrl: string,
  store: Store,
  {
    only,
    silenceMs = 3 * HEARTBEAT_MS,
    onCaughtUp = () => {},
    onBroken = () => {},
    signal,
    token,
    tls,
  }: FollowOptions = {},
): Promise<void> {
  let isCaughtUp = false;
  const tell = (now: boolean) => {
    if (now !== isCaughtUp) onCaughtUp((isCaughtUp = now));
  };
  let pause = pauses();
  while (!signal?.aborted) {
    let retryAfterMs = 0;
    const attempt = new AbortController();
    const abort = () => attempt.abort();
    signal?.addEventListener("abort", abort);
    let silence = setTimeout(abort, silenceMs);
    try {
      // A connection of its own each time: another call on one that is lost is lost too.
      using orderlog = new Orderlog(baseUrl, { token, tls });
      const { logId, position } = store.position();
      const request = { afterPosition: position, logId, filter: only, follow: true };
      const stream = orderlog.events.subscribe(request, { signal: attempt.signal });
      for await (const response of stream) {
        // The time that the store takes is not silence.
        clearTimeout(silence);
        await store.apply(response);
        pause = pauses();
        tell(response.caughtUp);
        silence = setTimeout(abort, silenceMs);
      }
    } catch (failed) {
      if (!(failed instanceof ConnectError)) throw failed;
      const error = new OrderlogError(failed);
      if (!attempt.signal.aborted && !mayPass(error, typeof token === "function")) throw error;
      if (!signal?.aborted) onBroken(error);
      retryAfterMs = error.retryAfterMs ?? 0;
    } finally {
      clearTimeout(silence);
      signal?.removeEventListener("abort", abort);
    }
    tell(false);
    // Rejects when it is aborted, which the loop looks at.
    await sleep(Math.max(pause(), retryAfterMs), undefined, { signal }).catch(() => {});
  }
}

function mayPass(error: OrderlogError, tokenMayChange: boolean): boolean {
  switch (error.code) {
    case Code.Unauthenticated:
    case Code.PermissionDenied:
      return tokenMayChange;
    // With a reason, it is what a server says of an event that is newer than itself.
    case Code.Internal:
      return true;
    default:
      return error.isRetryable || error.isUnanswered;
  }
}

/** A store in an SQLite file: say in `project` what becomes of an event. */
export abstract class SqliteStore implements Store {
  readonly database: Database.Database;

  /** Opens the file, or makes it. `schema`: the tables that `project` needs, `IF NOT EXISTS`. */
  constructor(file: string, schema: string) {
    this.database = new Database(file);
    // Positions are 64 bits.
    this.database.defaultSafeIntegers();
    this.database.pragma("journal_mode = WAL");
    this.database.pragma("synchronous = FULL");
    this.database.exec(`
      CREATE TABLE IF NOT EXISTS progress (
        only INTEGER PRIMARY KEY CHECK (only = 1), log_id TEXT, position INTEGER
      );
      INSERT OR IGNORE INTO progress VALUES (1, '', 0);
      ${schema}
    `);
  }

  close(): void {
    this.database.close();
  }

  position(): Position {
    const row = this.database.prepare("SELECT log_id AS logId, position FROM progress").get();
    return row as Position;
  }

  apply(response: SubscribeResponse): void {
    const all = this.database.transaction(() => {
      const { logId, position: done } = this.position();
      if (logId !== "" && logId !== response.logId) {
        throw new Error(`the file is made from log ${logId}, not from ${response.logId}`);
      }
      for (const event of response.events) {
        // Another process with the same file may have been here first.
        if (event.position > done) this.project(event);
      }
      // A heartbeat moves on too, where a filter skips much.
      this.database
        .prepare("UPDATE progress SET log_id = ?, position = max(position, ?)")
        .run(response.logId, response.position);
    });
    // From the beginning the only writer: what it read stays true.
    all.immediate();
  }

  /** Takes one event. `event.payload.case` is undefined for one that is newer than this client. */
  protected abstract project(event: RecordedEvent): void;
}
