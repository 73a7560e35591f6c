import { afterTicks, type Clock } from "@frontcache/client/members";

/** The least that a member gets for its first bytes: ten times what one that isn't busy takes. */
const LEAST_MS = 10;
/** The most that one gets whose answers usually take long: where everybody is busy, the origin's answer would wait, too. */
const MOST_MS = 200;
/** A member that was never asked gets as long as a connection with TLS takes. */
const FIRST_MS = 100;
/** How much longer than usual an answer may take. */
const FACTOR = 4;
/** Answers that shape what is usual. */
const WEIGHT = 1 / 8;
/** After so many late answers in a row the member isn't asked for a while. */
const MAX_LATE = 3;
const LEAVE_ALONE_MS = 1_000;

/**
 * How long fills wait for one member's first bytes before they turn to the origin. It holds the bytes or says at once that it
 * does not, so whoever takes longer is busy: it gets 10 ms, or four times what it usually takes, up to 200 ms. An answer that was not awaited can't be measured, so each late one in a row doubles the next wait, and
 * after three of them the member is left alone for a second. One that is stuck costs 100 + 20 + 40 ms and then nothing.
 */
export class AnswerTime {
  readonly #clock: Pick<Clock, "monotonicMs" | "after">;

  /** Undefined: it was never asked, so that a connection has to be made first. */
  #usualMs: number | undefined;
  #lateInARow = 0;
  #askAgainAtMs = 0;

  constructor(clock: Pick<Clock, "monotonicMs" | "after">) {
    this.#clock = clock;
  }

  /** Whether the member was late so often that it should not be asked now. */
  get isExhausted(): boolean {
    return this.#clock.monotonicMs() < this.#askAgainAtMs;
  }

  get waitMs(): number {
    const onceMs = this.#usualMs === undefined ? FIRST_MS : Math.max(LEAST_MS, FACTOR * this.#usualMs);
    return Math.min(MOST_MS, onceMs * 2 ** this.#lateInARow);
  }

  answered(afterMs: number): void {
    const usualMs = this.#usualMs ?? 0;
    this.#usualMs = usualMs + (afterMs - usualMs) * WEIGHT;
    this.#lateInARow = 0;
  }

  late(): void {
    this.#usualMs ??= 0;
    if (++this.#lateInARow < MAX_LATE) return;
    this.#lateInARow = 0;
    this.#askAgainAtMs = this.#clock.monotonicMs() + LEAVE_ALONE_MS;
  }

  /** Calls back when the wait is over; the returned function cancels. */
  wait(onLate: () => void): () => void {
    return afterTicks(this.#clock, this.waitMs, onLate);
  }
}
