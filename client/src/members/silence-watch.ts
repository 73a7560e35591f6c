import { type Linked, LinkedList } from "@frontcache/proto/runtime";
import type { Clock } from "./clock.js";

/**
 * Returns the time without bytes from a member before it is probed, and the timeout of the probe: half of the time in which it must
 * accept a connection. A member's event loop answers a probe alone, so an owner that waits for its origin answers in time.
 */
export function silentMsOf(connectTimeoutMs: number): number {
  return connectTimeoutMs / 2;
}

/** The cause in messages about a frozen member. */
export function silenceOf(silentMs: number): string {
  return `no byte arrived for ${silentMs} ms, and a probe was not answered within ${silentMs} ms`;
}

/** Number of ticks of a wait. */
const TICKS = 5;
/** A tick this late means that this process did not run meanwhile. An answer may have arrived unread. */
const LATE_MS = 20;

/**
 * The event loop runs its timers before it reads its sockets. When the last tick comes, an answer may have arrived unread, above all on
 * a machine where this process seldom runs. This long after it, the answer has been read.
 */
const READ_MS = 2;

/**
 * Calls back after `delayMs` in which this process ran, and has read what arrived; the returned function cancels. Time is counted in
 * ticks. After a standstill of this process, for example on an overloaded machine, the answer may have arrived unread, so a late tick
 * does not count. At most twice as many ticks are ignored as are counted, so the wait always ends.
 */
export function afterTicks(clock: Pick<Clock, "after" | "monotonicMs">, delayMs: number, callback: () => void): () => void {
  const count = new TickCount(clock);
  const tickMs = Math.max(0, delayMs - READ_MS) / TICKS;
  let cancel: () => void = () => undefined;
  const arm = (counted: number): void => {
    cancel = clock.after(count.begin(counted < TICKS ? tickMs : READ_MS), tick);
  };
  const tick = (): void => {
    const counted = count.ticked();
    if (counted > TICKS) callback();
    else arm(counted);
  };
  arm(0);
  return () => cancel();
}

/** Counts the ticks that were on time. */
class TickCount {
  readonly #clock: Pick<Clock, "monotonicMs">;
  #dueMs = 0;
  #counted = 0;
  #late = 0;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** Starts a tick; returns its length in milliseconds. */
  begin(tickMs: number): number {
    this.#dueMs = this.#clock.monotonicMs() + tickMs;
    return tickMs;
  }

  /** Ends a tick. Returns the number of counted ticks. */
  ticked(): number {
    const isLate = this.#clock.monotonicMs() >= this.#dueMs + LATE_MS;
    if (isLate && this.#late < 2 * TICKS) this.#late++;
    else this.#counted++;
    return this.#counted;
  }

  /** Restarts counting at `counted` ticks. */
  restart(counted = 0): void {
    this.#counted = counted;
    this.#late = 0;
  }
}

/** A call that waits for a member. */
export interface WaitingCall extends Linked<WaitingCall> {
  /** Called when the member does not respond. The call no longer counts as waiting. */
  onSilent(): void;
}

/** The probe of a member. */
export interface SilenceRule {
  readonly clock: Clock;
  /** Time without bytes before the member is probed. */
  readonly silentMs: number;
  /** Whether a call after a silence is given only one tick before the member is probed, in place of `silentMs`. */
  readonly probesEarly: boolean;
  /** Settles in bounded time: rejects if the member's event loop does not answer. */
  readonly probe: () => Promise<void>;
}

/**
 * Detects that a member has failed without closing its connections: its machine lost power or network, or its process was
 * stopped. If calls wait for the member and nothing has arrived from it for `silentMs`, the member is probed. A
 * member that answers the probe may take any time, because its origin may be slow. One watch serves all calls to a member: a call
 * needs no own timer, and bytes for one call show that the member responds to the others.
 */
export class SilenceWatch {
  readonly #rule: SilenceRule;
  readonly #waiting = new LinkedList<WaitingCall>();
  readonly #silent: TickCount;
  /** Whether bytes have arrived since the last tick, and the time of the tick that found this. */
  #heard = false;
  #heardMs = Number.NEGATIVE_INFINITY;
  #isProbing = false;
  #cancelTimer: (() => void) | undefined;

  constructor(rule: SilenceRule) {
    this.#rule = rule;
    this.#silent = new TickCount(rule.clock);
  }

  /** Adds a call that waits for the member, until `remove`. */
  add(call: WaitingCall): void {
    this.#waiting.add(call);
    if (this.#cancelTimer !== undefined) return;
    const { clock, silentMs, probesEarly } = this.#rule;
    const wasSilent = clock.monotonicMs() - this.#heardMs >= silentMs;
    this.#heard = false;
    this.#silent.restart(probesEarly && wasSilent ? TICKS - 1 : 0);
    this.#arm();
  }

  /** Removes a call that has ended, or whose receiver has paused the response. */
  remove(call: WaitingCall): void {
    this.#waiting.delete(call);
  }

  /** Records that bytes have arrived from the member. */
  heard(): void {
    this.#heard = true;
  }

  /** The cause in messages about the member when it is frozen. */
  get cause(): string {
    return silenceOf(this.#rule.silentMs);
  }

  /** Stops the watch. No call may be waiting. */
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
    const { clock, silentMs } = this.#rule;
    this.#cancelTimer = clock.after(this.#silent.begin(silentMs / TICKS), this.#onTick);
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
    for (let call = this.#waiting.shift(); call !== undefined; call = this.#waiting.shift()) call.onSilent();
  }
}
