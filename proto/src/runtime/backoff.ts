/** How long to wait before something that failed is tried again. */
export interface Backoff {
  /** The longest wait after the first failure, milliseconds. Doubles with each further failure in a row. */
  readonly firstMs: number;
  /** No wait is longer, milliseconds. */
  readonly longestMs: number;
  /** The share of a wait that is random, 0 to 1. Default: 0.5. 1 ("full jitter") spreads a crowd best. */
  readonly jitter?: number | undefined;
}

/** The wait after a number of failures in a row (1 or more), milliseconds. `random` returns a number in [0, 1). */
export function backoffMs({ firstMs, longestMs, jitter = 0.5 }: Backoff, failures: number, random: () => number): number {
  const mostMs = Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return mostMs * (1 - jitter) + random() * mostMs * jitter;
}
