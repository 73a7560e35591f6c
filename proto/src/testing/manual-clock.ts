/** A pending timer. */
interface Wait {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
}

/** Work that does not wait for time makes progress within this many iterations of the event loop. */
const QUIET_ITERATIONS = 5;
const MOST_STEPS = 1_000_000;

/** The fake of both Clock ports: time stands still until a test advances it. */
export class ManualClock {
  #nowMs: number;
  /** In the order in which they fire. Simulations set millions of timers. */
  readonly #waits: Wait[] = [];
  #order = 0;
  #wallOffsetMs = 0;

  /** Wall clock and monotonic clock start at `startMs`. */
  constructor(startMs = 1_000_000) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs + this.#wallOffsetMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const wait = { dueMs: this.#nowMs + delayMs, order: this.#order++, callback };
    this.#waits.splice(this.#indexOf(wait), 0, wait);
    return () => this.#remove(wait);
  }

  /** Always 0.5. */
  random(): number {
    return 0.5;
  }

  /** Sets the wall clock forward or back. No timer fires because of it. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** Number of pending timers. */
  get waits(): number {
    return this.#waits.length;
  }

  /** Milliseconds until the next timer fires; undefined if there is none. */
  get nextInMs(): number | undefined {
    const next = this.#waits[0];
    return next === undefined ? undefined : next.dueMs - this.#nowMs;
  }

  /** Advances time, and fires due timers in order, each at its own time. Their callbacks may start timers. */
  advance(byMs: number): void {
    const endMs = this.#nowMs + byMs;
    for (let next = this.#waits[0]; next !== undefined && next.dueMs <= endMs; next = this.#waits[0]) {
      this.#waits.shift();
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.callback();
    }
    this.#nowMs = endMs;
  }

  /** Lets time pass while the process does not run: timers that became due fire late, each once. */
  stall(forMs: number): void {
    this.#nowMs += forMs;
    const due = this.#waits.filter(({ dueMs }) => dueMs <= this.#nowMs);
    for (const wait of due) if (this.#remove(wait)) wait.callback();
  }

  /**
   * Settles work that waits only for this clock: whenever nothing else happens, time advances to the next timer. Rejects if the
   * work is not settled after a million steps.
   */
  async run<Result>(work: Promise<Result>): Promise<Result> {
    let isSettled = false;
    const watched = work.finally(() => {
      isSettled = true;
    });
    watched.catch(() => undefined);
    for (let step = 0; step < MOST_STEPS; step++) {
      for (let quiet = 0; quiet < QUIET_ITERATIONS && !isSettled; quiet++) await new Promise((resolve) => setImmediate(resolve));
      if (isSettled) return watched;
      this.advance(this.nextInMs ?? 0);
    }
    throw new Error("the work waits for something other than this clock");
  }

  /** Returns whether the timer was still pending. */
  #remove(wait: Wait): boolean {
    const at = this.#indexOf(wait);
    if (this.#waits[at] !== wait) return false;
    this.#waits.splice(at, 1);
    return true;
  }

  /** The index of a pending timer, or where a new one belongs. */
  #indexOf({ dueMs, order }: Wait): number {
    let [low, high] = [0, this.#waits.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#waits[middle]!;
      if (other.dueMs < dueMs || (other.dueMs === dueMs && other.order < order)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
