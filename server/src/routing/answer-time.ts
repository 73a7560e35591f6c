import { afterTicks, type Clock } from "@frontcache/client/members";

/** The least time that a member gets for its first bytes, as a share of `timeoutMs`: ten times what a member takes that is not busy. */
const LEAST_SHARE = 1 / 100;
/** The most that a member gets whose answers usually take long: where all are busy, the origin's answer would wait, too. */
const MOST_SHARE = 1 / 5;
/** A member that was never asked gets as long as a connection with TLS takes. */
const FIRST_SHARE = 1 / 10;
/** How much longer than usual an answer may take. */
const FACTOR = 4;
/** Answers that shape what is usual. */
const WEIGHT = 1 / 8;
/** After so many late answers in a row the member isn't asked for a while. */
const MAX_LATE = 3;

/**
 * Decides how long fills wait for one member's first bytes before they turn to the origin. The member has the bytes cached or says at
 * once that it has not, so a member that takes longer is busy. With a `timeoutMs` of one second it gets 10 ms, or four times what it
 * usually takes, up to 200 ms. An answer that was not awaited cannot be measured, so each late one in a row doubles the next wait.
 * After three of them the member is not asked for `timeoutMs`. A member that is stuck costs 100 + 20 + 40 ms and then nothing.
 */
export class AnswerTime {
  readonly #clock: Pick<Clock, "monotonicMs" | "after">;
  readonly #timeoutMs: number;

  /** Undefined: it was never asked, so that a connection has to be made first. */
  #usualMs: number | undefined;
  #lateInARow = 0;
  #askAgainAtMs = 0;

  constructor(clock: Pick<Clock, "monotonicMs" | "after">, timeoutMs: number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** Whether the member was late so often that it should not be asked now. */
  get isExhausted(): boolean {
    return this.#clock.monotonicMs() < this.#askAgainAtMs;
  }

  get waitMs(): number {
    const timeoutMs = this.#timeoutMs;
    const onceMs =
      this.#usualMs === undefined ? FIRST_SHARE * timeoutMs : Math.max(LEAST_SHARE * timeoutMs, FACTOR * this.#usualMs);
    return Math.min(MOST_SHARE * timeoutMs, onceMs * 2 ** this.#lateInARow);
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
    this.#askAgainAtMs = this.#clock.monotonicMs() + this.#timeoutMs;
  }

  /** Calls back when the wait is over; the returned function cancels. */
  wait(onLate: () => void): () => void {
    return afterTicks(this.#clock, this.waitMs, onLate);
  }
}
