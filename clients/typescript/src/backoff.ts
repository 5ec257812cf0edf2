/** The backoff between retries. */

const FIRST_MS = 100;
const LONGEST_MS = 5_000;

/** Returns waits in ms: they grow, and are random, so that clients do not retry together. */
export function pauses(): () => number {
  let longest = FIRST_MS;
  return () => {
    const pause = (longest / 2) * (1 + Math.random());
    longest = Math.min(longest * 2, LONGEST_MS);
    return pause;
  };
}

/** Waits for a time, or until `signal` aborts. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    if (signal?.aborted) end();
    signal?.addEventListener("abort", end);
  });
}
