/** The port of time; the simulation replaces it. */
export interface Clock {
  /** Wall time, milliseconds since 1970. May jump. */
  nowMs(): number;
  /** Monotonic time, milliseconds since an arbitrary start. */
  monotonicMs(): number;
  /** Calls back once after `delayMs`; the returned function cancels. The timer does not keep the process alive. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The longest delay of Node's timers. A longer timer would fire immediately. */
const LONGEST_MS = 2 ** 31 - 1;

/** The system's clock. Timers of more than 24 days fire after 24 days: such a delay means "never". */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(delayMs, LONGEST_MS));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** The port of randomness: returns a number in [0, 1). */
export type Random = () => number;
