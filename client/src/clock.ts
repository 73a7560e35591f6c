/** Time and chance as a port, so that a simulated run owns them. */
export interface Clock {
  /** Milliseconds from an arbitrary beginning; never goes back. */
  monotonicMs(): number;
  /** Calls back once after `delayMs`; the returned function cancels. */
  after(delayMs: number, callback: () => void): () => void;
  /** A number in [0, 1). */
  random(): number;
}

/** The real time and chance. A wait keeps the process alive: whatever waits here belongs to a call or to an open client. */
export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
  random: Math.random,
};

/** Waits `delayMs`; rejects with the signal's reason, leaving nothing behind, when it is aborted first. */
export function sleep(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const onAbort = (): void => {
      cancel();
      reject(signal.reason);
    };
    const cancel = clock.after(delayMs, () => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    });
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/** How long to wait before one thing is tried again. */
export interface Backoff {
  /** Before the second try, milliseconds; doubled for each further one. */
  readonly firstMs: number;
  /** Never longer than this, milliseconds. */
  readonly longestMs: number;
}

/** The wait after a number of failures (1 or more): half of it fixed, half by chance, so that a crowd does not come back at once. */
export function backoffMs(clock: Clock, { firstMs, longestMs }: Backoff, failures: number): number {
  const fullMs = Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return fullMs / 2 + clock.random() * (fullMs / 2);
}
