import type { Clock } from "./clock.js";

/** Nothing arrives from a member for this long before it is probed. */
export const SILENT_MS = 500;
/** How long a probe may take. A member's event loop answers it by itself, so an owner that waits for its origin is in time. */
export const PROBE_TIMEOUT_MS = 500;

/** Why a member counts as unreachable then, in messages. */
export const SILENCE = `no byte arrived for ${SILENT_MS} ms, and a probe was not answered within ${PROBE_TIMEOUT_MS} ms`;

/** A wait is counted in this many ticks. */
const TICKS = 5;
/** A tick this late means that this process did not run meanwhile. An answer may be there, unread. */
const LATE_MS = 50;

/**
 * Calls back after `delayMs` in which this process ran; the returned function cancels. The time is counted in ticks. After a
 * standstill of this process, for example on a starved machine, the awaited answer may be there unread: a late tick does not
 * count. At most twice as many ticks are left out as are counted, so that the wait ends on the most starved machine, too.
 */
export function afterTicks(clock: Pick<Clock, "after" | "monotonicMs">, delayMs: number, callback: () => void): () => void {
  const count = new TickCount(clock, delayMs / TICKS);
  let cancel: () => void = () => undefined;
  const tick = (): void => {
    if (count.ticked() === TICKS) callback();
    else cancel = clock.after(count.begin(), tick);
  };
  cancel = clock.after(count.begin(), tick);
  return () => cancel();
}

/** Counts the ticks that came in time. */
class TickCount {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #tickMs: number;
  #dueMs = 0;
  #counted = 0;
  #late = 0;

  constructor(clock: Pick<Clock, "monotonicMs">, tickMs: number) {
    this.#clock = clock;
    this.#tickMs = tickMs;
  }

  /** Starts a tick; returns its length in milliseconds. */
  begin(): number {
    this.#dueMs = this.#clock.monotonicMs() + this.#tickMs;
    return this.#tickMs;
  }

  /** A tick has ended. Returns how many counted so far. */
  ticked(): number {
    const isLate = this.#clock.monotonicMs() >= this.#dueMs + LATE_MS;
    if (isLate && this.#late < 2 * TICKS) this.#late++;
    else this.#counted++;
    return this.#counted;
  }

  /** Counts again from `counted` ticks. */
  restart(counted = 0): void {
    this.#counted = counted;
    this.#late = 0;
  }
}

/** A call that waits for a member. */
export interface WaitingCall {
  /** The member does not respond any more. The call is not waiting from here on. */
  onSilent(): void;
}

/** How a member is probed. */
export interface SilenceRule {
  readonly clock: Clock;
  /** Settles in bounded time: rejects if the member's event loop does not answer. */
  readonly probe: () => Promise<void>;
}

/**
 * Detects that one member is gone without having closed its connections: its machine lost power or network, or its process is
 * stopped. If a call has waited for the member for a tick and nothing has arrived from it for SILENT_MS, the member is probed. A
 * member that answers the probe may take as long as it needs, because its origin may be slow. One watch serves all calls to a member: a call costs no
 * timer of its own, and what arrives for one call shows that the member responds to the others.
 */
export class SilenceWatch {
  readonly #rule: SilenceRule;
  readonly #waiting = new Set<WaitingCall>();
  readonly #silent: TickCount;
  /** Whether something has arrived since the last tick; and when a tick found that. */
  #heard = false;
  #heardMs = Number.NEGATIVE_INFINITY;
  #isProbing = false;
  #cancelTimer: (() => void) | undefined;

  constructor(rule: SilenceRule) {
    this.#rule = rule;
    this.#silent = new TickCount(rule.clock, SILENT_MS / TICKS);
  }

  /** A call waits for the member from here on, until `remove`. */
  add(call: WaitingCall): void {
    this.#waiting.add(call);
    if (this.#cancelTimer !== undefined) return;
    // If nothing had arrived for that long before the call, the member is probed after one tick: a client that found the owner
    // frozen must not wait as long again at the next member, which asks the owner, too.
    const isSilent = this.#rule.clock.monotonicMs() - this.#heardMs >= SILENT_MS;
    this.#heard = false;
    this.#silent.restart(isSilent ? TICKS - 1 : 0);
    this.#arm();
  }

  /** The call has ended, or its receiver has paused the answer. */
  remove(call: WaitingCall): void {
    this.#waiting.delete(call);
  }

  /** Something has arrived from the member. */
  heard(): void {
    this.#heard = true;
  }

  /** Stops. No call may be waiting. */
  close(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #restart(): void {
    this.#heard = false;
    this.#heardMs = this.#rule.clock.monotonicMs();
    this.#silent.restart();
  }

  #arm(): void {
    this.#cancelTimer = this.#rule.clock.after(this.#silent.begin(), this.#onTick);
  }

  readonly #onTick = (): void => {
    this.#cancelTimer = undefined;
    if (!this.#isProbing) {
      if (this.#heard) this.#restart();
      else if (this.#waiting.size > 0 && this.#silent.ticked() === TICKS) void this.#probe();
    }
    if (this.#waiting.size > 0) this.#arm();
  };

  async #probe(): Promise<void> {
    this.#isProbing = true;
    const answers = await this.#rule.probe().then(
      () => true,
      () => false,
    );
    this.#isProbing = false;
    if (answers || this.#heard) {
      this.#restart();
      return;
    }
    this.#silent.restart();
    for (const call of this.#waiting) {
      this.#waiting.delete(call);
      call.onSilent();
    }
  }
}
