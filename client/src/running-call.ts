import { setMaxListeners } from "node:events";
import { CacheError } from "@frontcache/proto";
import type { Clock } from "./clock.js";
import type { CallLimits } from "./transport.js";

/** What a call is, and what ends it early. */
export interface CallScope {
  readonly clock: Clock;
  /** What the call is about, at the beginning of its error messages: an object's URL, for example. */
  readonly subject: string;
  /** Milliseconds from now; absent: no deadline of its own. */
  readonly deadlineMs?: number;
  /** The caller's signal. */
  readonly signal?: AbortSignal;
}

/**
 * One call of the client while it runs: everything done for it hangs on its one signal, which aborts with a CacheError when
 * the caller's signal does (CANCELLED), the deadline is over (DEADLINE_EXCEEDED) or `abort` is called. `end` must be called:
 * it takes the timer and the listener away.
 */
export class RunningCall implements CallLimits {
  readonly #controller = new AbortController();
  readonly #scope: CallScope;
  readonly #deadlineAtMs: number;
  #cancelTimer: (() => void) | undefined;

  constructor(scope: CallScope, outerDeadlineAtMs = Number.POSITIVE_INFINITY) {
    this.#scope = scope;
    const { clock, subject, deadlineMs, signal } = scope;
    // Many things wait on one signal, each only for its time: more than ten listeners are no leak.
    setMaxListeners(0, this.signal, ...(signal === undefined ? [] : [signal]));
    const ownDeadlineAtMs = deadlineMs === undefined ? Number.POSITIVE_INFINITY : clock.monotonicMs() + deadlineMs;
    this.#deadlineAtMs = Math.min(ownDeadlineAtMs, outerDeadlineAtMs);
    if (signal?.aborted) {
      this.#onOuterAbort();
      return;
    }
    signal?.addEventListener("abort", this.#onOuterAbort, { once: true });
    if (deadlineMs !== undefined && ownDeadlineAtMs < outerDeadlineAtMs) {
      this.#cancelTimer = clock.after(deadlineMs, () => {
        this.abort(new CacheError("DEADLINE_EXCEEDED", `${subject}: not done within ${deadlineMs} ms`));
      });
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  remainingMs(): number {
    return Math.max(0, this.#deadlineAtMs - this.#scope.clock.monotonicMs());
  }

  /** A call for a part of this one: it ends when this one does, by a deadline of its own if that is sooner, or alone. */
  child(deadlineMs?: number): RunningCall {
    const { clock, subject } = this.#scope;
    const own = deadlineMs === undefined ? {} : { deadlineMs };
    return new RunningCall({ clock, subject, signal: this.signal, ...own }, this.#deadlineAtMs);
  }

  /** Ends the call with an error; does nothing when it has been aborted before. */
  abort(reason: CacheError): void {
    this.end();
    this.#controller.abort(reason);
  }

  /** Frees the timer and the listener. The signal stays as it is. */
  end(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#scope.signal?.removeEventListener("abort", this.#onOuterAbort);
  }

  readonly #onOuterAbort = (): void => {
    this.abort(cancellation(this.#scope.subject, this.#scope.signal?.reason));
  };
}

/** A reason as a CacheError: whatever the caller aborts with means that the caller went away, except a time-out. */
function cancellation(subject: string, reason: unknown): CacheError {
  if (reason instanceof CacheError) return reason;
  const timedOut = reason instanceof Error && reason.name === "TimeoutError";
  return timedOut
    ? new CacheError("DEADLINE_EXCEEDED", `${subject}: the caller's time-out is over`, { cause: reason })
    : new CacheError("CANCELLED", `${subject}: cancelled by the caller`, { cause: reason });
}
