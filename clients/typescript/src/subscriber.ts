/**
 * A subscriber that applies each event exactly once.
 *
 * The store commits the projection and the resume token in one transaction. After a failure, the
 * subscriber resumes with that token, and the log delivers only later events. If the log no longer
 * has the event that the token names, the subscriber ends with a `HistoryError`.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import Database from "better-sqlite3";
import { pauses } from "./backoff.js";
import { Orderlog } from "./client.js";
import type { ConnectionOptions } from "./connection.js";
import { HistoryError, OrderlogError } from "./errors.js";
import type { RecordedEvent } from "./gen/orders/v1/event_pb.js";
import type { EventFilterSchema, SubscribeResponse } from "./gen/orders/v1/event_service_pb.js";

/** The longest time between two responses of a live stream. */
const HEARTBEAT_MS = 10_000;

/** A place in the log: the store has every event up to it. */
export interface Position {
  logId: string;
  position: bigint;
  /**
   * Names the position and its event. Empty at first, after `SqliteStore.rewind`, and in a store
   * that an earlier version of this client wrote.
   */
  resumeToken: string;
}

/** Stores a projection and its position. */
export interface Store {
  /** Returns the position to resume after; at first, position 0 of log "" without a token. */
  position(): Position;
  /**
   * Applies the events after a position, and stores the new position, in one transaction.
   *
   * Returns false and changes nothing if the store is no longer at `after`: another subscriber has
   * moved it.
   */
  apply(response: SubscribeResponse, after: Position): boolean | Promise<boolean>;
}

export interface FollowOptions extends ConnectionOptions {
  /** The filter of the subscription. By default, it selects every event. */
  only?: MessageInitShape<typeof EventFilterSchema>;
  /** The silence in ms after which the subscriber opens a new stream; by default 30,000. */
  silenceMs?: number;
  /** Gets true at the head of the log, and false when the subscriber lags or a stream ends. */
  onCaughtUp?: (isCaughtUp: boolean) => void;
  /** Receives the error of a failed stream, before the subscriber opens the next one. */
  onBroken?: (error: OrderlogError) => void;
  /** Ends the subscription when it aborts. */
  signal?: AbortSignal;
}

/**
 * Follows the log of the server at `baseUrl` until `signal` aborts, and reconnects after failures.
 *
 * Throws a `HistoryError` if the log no longer has the events of the store: undo them, for example
 * with `SqliteStore.rewind`, and follow again.
 *
 * Throws an `OrderlogError` that a retry cannot fix. A rejected `token` is one, unless `token` is a
 * function. The subscriber then calls the function for each attempt, until the server accepts the
 * token. Errors of `store` pass through.
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
      // Each attempt opens a new connection, because a call on a lost connection fails too.
      using orderlog = new Orderlog(baseUrl, { token, tls });
      let position = store.position();
      const request = { ...resume(position), filter: only, follow: true };
      const stream = orderlog.events.subscribe(request, { signal: attempt.signal });
      for await (const response of stream) {
        // The store's time does not count as silence.
        clearTimeout(silence);
        // Another subscriber has moved the store: read its position again.
        if (!(await store.apply(response, position))) break;
        position = positionOf(response);
        pause = pauses();
        tell(response.caughtUp);
        silence = setTimeout(abort, silenceMs);
      }
    } catch (failed) {
      if (!(failed instanceof ConnectError)) throw failed;
      const error = new OrderlogError(failed);
      if (HistoryError.REASONS.includes(error.reason)) throw new HistoryError(failed);
      if (!attempt.signal.aborted && !mayPass(error, typeof token === "function")) throw error;
      if (!signal?.aborted) onBroken(error);
      retryAfterMs = error.retryAfterMs ?? 0;
    } finally {
      clearTimeout(silence);
      signal?.removeEventListener("abort", abort);
    }
    tell(false);
    // The sleep rejects on abort, which the loop condition handles.
    await sleep(Math.max(pause(), retryAfterMs), undefined, { signal }).catch(() => {});
  }
}

function resume({ logId, position, resumeToken }: Position) {
  return resumeToken ? { resumeToken } : { afterPosition: position, logId };
}

function positionOf({ logId, position, resumeToken }: SubscribeResponse): Position {
  return { logId, position, resumeToken };
}

function mayPass(error: OrderlogError, tokenMayChange: boolean): boolean {
  switch (error.code) {
    case Code.Unauthenticated:
    case Code.PermissionDenied:
      return tokenMayChange;
    // With a reason, INTERNAL may mean that the server cannot read a newer event yet.
    case Code.Internal:
      return true;
    default:
      return error.isRetryable || error.isUnanswered;
  }
}

/** A store in an SQLite file. Subclasses apply events in `project`. */
export abstract class SqliteStore implements Store {
  readonly database: Database.Database;

  /** Opens or creates the file. `schema` creates `project`'s tables with `IF NOT EXISTS`. */
  constructor(file: string, schema: string) {
    this.database = new Database(file);
    // Positions are 64 bits.
    this.database.defaultSafeIntegers();
    this.database.pragma("journal_mode = WAL");
    this.database.pragma("synchronous = FULL");
    this.database.exec(`
      CREATE TABLE IF NOT EXISTS progress (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        log_id TEXT, position INTEGER, resume_token TEXT NOT NULL DEFAULT ''
      );
      ${schema}
    `);
    this.#inTransaction(() => {
      const columns = this.database.pragma("table_info(progress)") as { name: string }[];
      if (!columns.some(({ name }) => name === "resume_token")) {
        // An earlier version of this client made the file.
        this.database.exec("ALTER TABLE progress ADD COLUMN resume_token TEXT NOT NULL DEFAULT ''");
      }
      this.database.exec("INSERT OR IGNORE INTO progress VALUES (1, '', 0, '')");
    });
  }

  close(): void {
    this.database.close();
  }

  position(): Position {
    const row = this.database
      .prepare("SELECT log_id AS logId, position, resume_token AS resumeToken FROM progress")
      .get();
    return row as Position;
  }

  apply(response: SubscribeResponse, after: Position): boolean {
    return this.#inTransaction(() => {
      if (!isDeepStrictEqual(this.position(), after)) return false;
      for (const event of response.events) this.project(event);
      // A heartbeat also advances the position, past events that the filter skips.
      this.#move(positionOf(response));
      return true;
    });
  }

  /**
   * Goes back to a position after a `HistoryError`, in one transaction.
   *
   * `undo` removes the results of the events after `position` from the tables: all of them for
   * position 0, after which the store takes any log.
   */
  rewind(position: bigint, undo: () => void): void {
    this.#inTransaction(() => {
      undo();
      const logId = position ? this.position().logId : "";
      this.#move({ logId, position, resumeToken: "" });
    });
  }

  #move({ logId, position, resumeToken }: Position): void {
    this.database
      .prepare("UPDATE progress SET log_id = ?, position = ?, resume_token = ?")
      .run(logId, position, resumeToken);
  }

  #inTransaction<T>(work: () => T): T {
    // An immediate transaction excludes other writers before its first read.
    return this.database.transaction(work).immediate();
  }

  /** Applies one event. `event.payload.case` is undefined for an event of unknown type. */
  protected abstract project(event: RecordedEvent): void;
}
