import type { Clock } from "../runtime/clock.js";

/** A process that stood still for longer may have been taken for dead by other members. */
const LIMIT_MS = 500;
const BEAT_MS = 250;

/**
 * Notices that the process stood still: it was stopped, or its event loop was blocked. A timer beats; a gap between two beats is a
 * standstill. `check` looks for a gap itself, because after a standstill the event loop may handle a request before the timer.
 */
export class Standstill {
  readonly #clock: Pick<Clock, "monotonicMs" | "after">;
  readonly #onStandstill: () => void;
  #cancel: (() => void) | undefined;
  #beatAtMs = 0;

  constructor(clock: Pick<Clock, "monotonicMs" | "after">, onStandstill: () => void) {
    this.#clock = clock;
    this.#onStandstill = onStandstill;
  }

  start(): void {
    if (this.#cancel !== undefined) return;
    this.#beatAtMs = this.#clock.monotonicMs();
    this.#cancel = this.#clock.after(BEAT_MS, this.#beat);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** Reports a standstill that has just ended. Call it before a request is answered. */
  check(): void {
    if (this.#cancel === undefined) return;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#beatAtMs <= LIMIT_MS) return;
    this.#beatAtMs = nowMs;
    this.#onStandstill();
  }

  readonly #beat = (): void => {
    this.check();
    this.#beatAtMs = this.#clock.monotonicMs();
    this.#cancel = this.#clock.after(BEAT_MS, this.#beat);
  };
}
