import { type Linked, LinkedList, type Timers } from "@frontcache/proto/runtime";

/** The time as HTTP connections need it. */
export interface HttpClock extends Timers {
  /** Monotonic time, milliseconds since an arbitrary start. */
  monotonicMs(): number;
}

/** Something that must not stand still. It is timed by one Timeouts at a time. */
export interface Timed extends Linked<Timed> {
  /** When it moved, monotonic milliseconds. Only the Timeouts writes it. */
  movedMs: number;
  /** Called once when nothing has moved for the timeout. It is not timed any more then. */
  onTimeout(): void;
}

/**
 * One timeout for any number of entries, by one timer. An entry that moves costs a reading of the clock, and no timer. The timer of
 * `kept` runs on when no entry waits, because the next one comes soon; that of `stopped` does not.
 */
export class Timeouts {
  readonly timeoutMs: number;
  readonly #clock: HttpClock;
  /** The entry that has not moved for longest is the first. */
  readonly #entries = new LinkedList<Timed>();
  readonly #isKept: boolean;
  #cancelTimer: (() => void) | undefined;

  constructor(clock: HttpClock, timeoutMs: number, atRest: "kept" | "stopped" = "kept") {
    this.#clock = clock;
    this.timeoutMs = timeoutMs;
    this.#isKept = atRest === "kept";
  }

  /** The entry begins to wait, or has moved. */
  moved(entry: Timed): void {
    entry.movedMs = this.#clock.monotonicMs();
    this.#entries.delete(entry);
    this.#entries.add(entry);
    this.#cancelTimer ??= this.#clock.after(this.timeoutMs, this.#onTimer);
  }

  /** The entry waits no longer. */
  delete(entry: Timed): void {
    this.#entries.delete(entry);
    if (!this.#isKept && this.#entries.size === 0) this.close();
  }

  /** Stops the timer. No entry may be waiting. */
  close(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  readonly #onTimer = (): void => {
    this.#cancelTimer = undefined;
    const nowMs = this.#clock.monotonicMs();
    for (let entry = this.#entries.first; entry !== undefined; entry = this.#entries.first) {
      const dueMs = entry.movedMs + this.timeoutMs;
      if (dueMs > nowMs) {
        this.#cancelTimer ??= this.#clock.after(dueMs - nowMs, this.#onTimer);
        return;
      }
      this.#entries.delete(entry);
      entry.onTimeout();
    }
  };
}
