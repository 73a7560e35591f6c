import type { Clock } from "../runtime/clock.js";

/** The least that a member gets for its first bytes: ten times what one that isn't busy takes. */
const LEAST_MS = 10;
/** The most that one gets whose answers usually take long: where everybody is busy, the origin's answer would wait, too. */
const MOST_MS = 200;
/** How much longer than usual an answer may take. */
const FACTOR = 4;
/** Answers that shape what is usual. */
const WEIGHT = 1 / 8;
/** After so many late answers in a row the member isn't asked for a while. */
const MAX_LATE = 3;
const LEAVE_ALONE_MS = 1_000;
/** A wait is made of so many short ones. */
const TICKS = 5;

/**
 * How long fills wait for one member's first bytes before they turn to the origin. It holds the bytes or says at once that it
 * does not, so whoever takes longer is busy: it gets 10 ms, or four times what it usually takes (at first: what its connection
 * took), up to 200 ms. An answer that was not awaited can't be measured, so each late one in a row doubles the next wait, and
 * after three of them the member is left alone for a second. One that is stuck costs 10 + 20 + 40 ms and then nothing.
 */
export class Patience {
  #usualMs = 0;
  #lateInARow = 0;
  #askAgainAtMs = 0;

  constructor(private readonly clock: Clock) {}

  /** Whether the member was late so often that it should not be asked now. */
  get exhausted(): boolean {
    return this.clock.monotonicMs() < this.#askAgainAtMs;
  }

  get waitMs(): number {
    return Math.min(MOST_MS, Math.max(LEAST_MS, FACTOR * this.#usualMs) * 2 ** this.#lateInARow);
  }

  /** A connection came about, which took its event loop a turn or two. */
  connected(afterMs: number): void {
    this.#usualMs = Math.max(this.#usualMs, afterMs / FACTOR);
  }

  answered(afterMs: number): void {
    this.#usualMs += (afterMs - this.#usualMs) * WEIGHT;
    this.#lateInARow = 0;
  }

  late(): void {
    if (++this.#lateInARow < MAX_LATE) return;
    this.#lateInARow = 0;
    this.#askAgainAtMs = this.clock.monotonicMs() + LEAVE_ALONE_MS;
  }

  /**
   * Calls back when the wait is over; the returned function cancels. It is counted in ticks, so that a stall of this process,
   * after which the answer may be there unread, takes one tick and not the whole wait.
   */
  wait(onLate: () => void): () => void {
    const tickMs = this.waitMs / TICKS;
    let left = TICKS;
    let cancel: () => void;
    const tick = (): void => {
      if (left-- === 0) onLate();
      else cancel = this.clock.after(tickMs, tick);
    };
    tick();
    return () => cancel();
  }
}
