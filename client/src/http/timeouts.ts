import type { Timers } from "@frontcache/proto/runtime";

/** The time as HTTP connections need it. */
export interface HttpClock extends Timers {
  /** Monotonic time, milliseconds since an arbitrary start. */
  monotonicMs(): number;
}

/** Something that must not stand still. */
export interface Timed {
  /** Called once when nothing has moved for the timeout. It is not timed any more then. */
  onTimeout(): void;
}

/** One timeout for any number of entries, by one timer. An entry that moves costs a reading of the clock, and no timer. */
export class Timeouts {
  readonly timeoutMs: number;
  readonly #clock: HttpClock;
  /** When each entry moved. */
  readonly #movedMs = new Map<Timed, number>();
  #cancelTimer: (() => void) | undefined;

  constructor(clock: HttpClock, timeoutMs: number) {
    this.#clock = clock;
    this.timeoutMs = timeoutMs;
  }

  /** The entry begins to wait, or has moved. */
  moved(entry: Timed): void {
    this.#movedMs.set(entry, this.#clock.monotonicMs());
    this.#cancelTimer ??= this.#clock.after(this.timeoutMs, this.#onTimer);
  }

  /** The entry waits no longer. */
  delete(entry: Timed): void {
    this.#movedMs.delete(entry);
  }

  /** Stops the timer. No entry may be waiting. */
  close(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  readonly #onTimer = (): void => {
    this.#cancelTimer = undefined;
    const nowMs = this.#clock.monotonicMs();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const [entry, movedMs] of this.#movedMs) {
      const dueMs = movedMs + this.timeoutMs;
      if (dueMs > nowMs) nextMs = Math.min(nextMs, dueMs);
      else {
        this.#movedMs.delete(entry);
        entry.onTimeout();
      }
    }
    if (nextMs < Number.POSITIVE_INFINITY) this.#cancelTimer ??= this.#clock.after(nextMs - nowMs, this.#onTimer);
  };
}
