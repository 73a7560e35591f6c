import type { Clock } from "../runtime/clock.js";

const MOST_TURNS = 1_000_000;

/** The one fake of Clock: time stands still until a test moves it. */
export class ManualClock implements Clock {
  #nowMs: number;
  #waits: { dueMs: number; order: number; callback: () => void }[] = [];
  #order = 0;
  #wallOffsetMs = 0;

  /** Both clocks begin at `startMs`. */
  constructor(startMs = 1_000_000) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs + this.#wallOffsetMs;
  }

  /** The wall clock is set, forward or back; nothing rings because of it. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const wait = { dueMs: this.#nowMs + delayMs, order: this.#order++, callback };
    this.#waits.push(wait);
    return () => {
      this.#waits = this.#waits.filter((other) => other !== wait);
    };
  }

  /** Waits that have neither rung nor been cancelled: 0 where no timer is left. */
  get waits(): number {
    return this.#waits.length;
  }

  /** Milliseconds until the next wait rings; undefined where there is none. */
  get nextInMs(): number | undefined {
    const next = this.#next();
    return next === undefined ? undefined : next.dueMs - this.#nowMs;
  }

  /** Moves time on, ringing what falls due in order, each at its own time; what rings may wait again. */
  advance(delayMs: number): void {
    const endMs = this.#nowMs + delayMs;
    for (let next = this.#next(); next !== undefined && next.dueMs <= endMs; next = this.#next()) {
      const due = next;
      this.#waits = this.#waits.filter((other) => other !== due);
      this.#nowMs = Math.max(this.#nowMs, due.dueMs);
      due.callback();
    }
    this.#nowMs = endMs;
  }

  /**
   * Settles work that waits for nothing but this clock: whenever nothing else happens, time moves on to the next wait. Rejects
   * when the work is still not settled after a million turns of the event loop.
   */
  async run<Result>(work: Promise<Result>): Promise<Result> {
    let isSettled = false;
    const watched = work.finally(() => {
      isSettled = true;
    });
    watched.catch(() => undefined);
    for (let turn = 0; !isSettled; turn++) {
      if (turn === MOST_TURNS) throw new Error("the work waits for something else than time");
      await new Promise((resolve) => setImmediate(resolve));
      if (!isSettled) this.advance(this.nextInMs ?? 0);
    }
    return watched;
  }

  #next(): { dueMs: number; order: number; callback: () => void } | undefined {
    let next = this.#waits[0];
    for (const wait of this.#waits) {
      if (wait.dueMs < next!.dueMs || (wait.dueMs === next!.dueMs && wait.order < next!.order)) next = wait;
    }
    return next;
  }
}
