/** How long to wait before trying again. */

const FIRST_MS = 100;
const LONGEST_MS = 5_000;

/** Milliseconds, longer each time, and random, so that many clients do not come back at once. */
export function pauses(): () => number {
  let longest = FIRST_MS;
  return () => {
    const pause = (longest / 2) * (1 + Math.random());
    longest = Math.min(longest * 2, LONGEST_MS);
    return pause;
  };
}
