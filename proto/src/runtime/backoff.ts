/** Delays before retries. */
export interface Backoff {
  /** Maximum delay after the first failure, milliseconds. It doubles with each consecutive failure. */
  readonly firstMs: number;
  /** Maximum delay after any failure, milliseconds. */
  readonly longestMs: number;
  /** The random share of a delay, 0 to 1. Default 0.5. 1 ("full jitter") distributes many clients best. */
  readonly jitter?: number | undefined;
}

/** Returns the delay after `failures` (at least 1) consecutive failures, milliseconds. `random` returns a number in [0, 1). */
export function backoffMs({ firstMs, longestMs, jitter = 0.5 }: Backoff, failures: number, random: () => number): number {
  const mostMs = Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return mostMs * (1 - jitter) + random() * mostMs * jitter;
}
