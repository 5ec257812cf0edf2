/** Reads the streams that a client follows until it is stopped. */

import { Code, ConnectError } from "@connectrpc/connect";
import { sleep } from "./backoff.js";
import { HistoryError, OrderlogError } from "./errors.js";

/** Three times the longest time between two responses of a live stream. */
const SILENCE_MS = 30_000;

export interface StreamOptions {
  /** The silence in ms after which the client opens a new stream; by default 30,000. */
  silenceMs?: number;
  /** Receives the error of a failed stream, before the client opens the next one. */
  onBroken?: (error: OrderlogError) => void;
  /** Ends the stream when it aborts. */
  signal?: AbortSignal;
}

/**
 * Yields the responses, until the client must open another stream.
 *
 * The time in which the caller works on a response does not count as silence. Throws an
 * `OrderlogError` that another stream cannot fix.
 */
export async function* responses<R>(
  open: (signal: AbortSignal) => AsyncIterable<R>,
  tokenMayChange: boolean,
  { silenceMs = SILENCE_MS, onBroken = () => {}, signal }: StreamOptions,
): AsyncGenerator<R, void> {
  const attempt = new AbortController();
  const abort = () => attempt.abort();
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) abort();
  let silence = setTimeout(abort, silenceMs);
  try {
    for await (const response of open(attempt.signal)) {
      clearTimeout(silence);
      yield response;
      silence = setTimeout(abort, silenceMs);
    }
  } catch (failed) {
    const connectError = ConnectError.from(failed);
    const error = new OrderlogError(connectError);
    if (HistoryError.REASONS.includes(error.reason)) throw new HistoryError(connectError);
    if (!attempt.signal.aborted && !mayPass(error, tokenMayChange)) throw error;
    if (!signal?.aborted) onBroken(error);
    await sleep(error.retryAfterMs ?? 0, signal);
  } finally {
    clearTimeout(silence);
    signal?.removeEventListener("abort", abort);
    abort();
  }
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
