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
