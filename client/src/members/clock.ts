/** The port of time and randomness; the simulation replaces it. */
export interface Clock {
  /** Monotonic time, milliseconds since an arbitrary start. */
  monotonicMs(): number;
  /** Calls back once after `delayMs`; the returned function cancels. */
  after(delayMs: number, callback: () => void): () => void;
  /** Returns a random number in [0, 1). */
  random(): number;
}

/** The system's time and randomness. Timers keep the process alive, because they belong to a call or to an open client. */
export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
  random: Math.random,
};
