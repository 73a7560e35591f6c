/** Time as a port, so that a simulated run owns it. */
export interface Clock {
  /** Wall time, milliseconds since 1970. May jump. */
  nowMs(): number;
  /** Milliseconds from an arbitrary beginning; never goes back. */
  monotonicMs(): number;
  /** Calls back once after `delayMs`; the returned function cancels. The wait does not keep the process alive. */
  after(delayMs: number, callback: () => void): () => void;
}

/** Node's timers take no more: a longer one would ring at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** The real time. A wait of more than 24 days ends then: what is set to so long is meant to be never. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(delayMs, LONGEST_MS));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Chance as a port: a number in [0, 1). */
export type Random = () => number;
