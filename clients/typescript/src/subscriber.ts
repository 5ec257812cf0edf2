/**
 * A subscriber that applies each event exactly once.
 *
 * The store commits the projection and the resume token in one transaction. After a failure, the
 * subscriber resumes with that token, and the log delivers only later events. If the log no longer
 * has the event that the token names, the subscriber ends with a `HistoryError`.
 */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { pauses, sleep } from "./backoff.js";
import { Orderlog } from "./client.js";
import type { ConnectionOptions } from "./connection.js";
import type { EventFilterSchema, SubscribeResponse } from "./gen/orders/v1/event_service_pb.js";
import { responses, type StreamOptions } from "./streams.js";

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

export interface FollowOptions extends ConnectionOptions, StreamOptions {
  /** The filter of the subscription. By default, it selects every event. */
  only?: MessageInitShape<typeof EventFilterSchema>;
  /** Gets true at the head of the log, and false when the subscriber lags or a stream ends. */
  onCaughtUp?: (isCaughtUp: boolean) => void;
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
  { only, onCaughtUp = () => {}, token, tls, ...options }: FollowOptions = {},
): Promise<void> {
  let isCaughtUp = false;
  const tell = (now: boolean) => {
    if (now !== isCaughtUp) onCaughtUp((isCaughtUp = now));
  };
  let pause = pauses();
  while (!options.signal?.aborted) {
    // Each attempt opens a new connection, because a call on a lost connection fails too.
    const orderlog = new Orderlog(baseUrl, { token, tls });
    try {
      let position = store.position();
      const request = { ...resume(position), filter: only, follow: true };
      const open = (signal: AbortSignal) => orderlog.events.subscribe(request, { signal });
      for await (const response of responses(open, typeof token === "function", options)) {
        // Another subscriber has moved the store: read its position again.
        if (!(await store.apply(response, position))) break;
        position = positionOf(response);
        pause = pauses();
        tell(response.caughtUp);
      }
    } finally {
      orderlog.close();
    }
    tell(false);
    await sleep(pause(), options.signal);
  }
}

function resume({ logId, position, resumeToken }: Position) {
  return resumeToken ? { resumeToken } : { afterPosition: position, logId };
}

/** Returns the place that a response leads to. */
export function positionOf({ logId, position, resumeToken }: SubscribeResponse): Position {
  return { logId, position, resumeToken };
}
