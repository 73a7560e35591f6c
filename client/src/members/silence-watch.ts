import type { Clock } from "./clock.js";

/** How a member that stopped responding is detected. */
export interface SilenceRule {
  readonly clock: Clock;
  /** How long nothing may arrive before the member is probed, milliseconds. */
  readonly afterMs: number;
  /** Settles in bounded time: rejects if the member's event loop does not answer. */
  readonly probe: () => Promise<void>;
}

/** Bytes are awaited for this long before a probe of the member. */
export const SILENT_MS = 500;
/** A member that gets little of a crowded machine's CPU answers a probe within this time; one that is stopped never does. */
export const PROBE_TIMEOUT_MS = 1_000;

/**
 * Detects that the sender of an answer is gone without having closed its connection: its machine lost power or network, or its
 * process is stopped. If nothing has arrived for a while, the member is probed. A member that answers the probe may take as
 * long as it needs, because its origin may be slow.
 */
export class SilenceWatch {
  readonly #rule: SilenceRule;
  readonly #onGone: () => void;
  #progressed = false;
  #isPaused = false;
  #ended = false;
  #cancelTimer: () => void = () => undefined;

  /** `onGone` is called at most once. */
  constructor(rule: SilenceRule, onGone: () => void) {
    this.#rule = rule;
    this.#onGone = onGone;
    this.#arm();
  }

  /** Something has arrived. */
  progress(): void {
    this.#progressed = true;
  }

  /** Nothing is expected, because the receiver has paused the answer, or something is expected again. */
  pause(isPaused: boolean): void {
    this.#isPaused = isPaused;
    this.#progressed = true;
  }

  end(): void {
    this.#ended = true;
    this.#cancelTimer();
  }

  #arm(): void {
    this.#progressed = false;
    this.#cancelTimer = this.#rule.clock.after(this.#rule.afterMs, () => {
      if (this.#progressed || this.#isPaused) this.#arm();
      else void this.#probe();
    });
  }

  async #probe(): Promise<void> {
    const answers = await this.#rule.probe().then(
      () => true,
      () => false,
    );
    if (this.#ended) return;
    if (answers || this.#progressed) this.#arm();
    else this.#onGone();
  }
}

/** A wait is counted in this many short ones. */
const TICKS = 5;

/**
 * Calls back after `delayMs`; the returned function cancels. The time is counted in ticks: a stall of this process, after which
 * the awaited answer may be there unread, takes one tick instead of the whole time.
 */
export function afterTicks(clock: Pick<Clock, "after">, delayMs: number, callback: () => void): () => void {
  let left = TICKS;
  let cancel: () => void = () => undefined;
  const tick = (): void => {
    if (left-- === 0) callback();
    else cancel = clock.after(delayMs / TICKS, tick);
  };
  tick();
  return () => cancel();
}
