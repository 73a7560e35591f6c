import { setMaxListeners } from "node:events";
import { CacheError } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import type { Clock } from "./clock.js";
import type { CallLimits } from "./ports.js";

/** What a call is, and what ends it early. */
export interface CallScope {
  readonly clock: Clock;
  /** What the call is about, at the beginning of its error messages: an object's URL, for example. */
  readonly subject: string;
  /** Milliseconds from now; absent: no deadline of its own. */
  readonly deadlineMs?: number;
  /** The caller's signal; a part of another call has none of its own. */
  readonly signal?: AbortSignal;
}

/**
 * One call of the client while it runs: everything done for it ends with it, when the caller's signal is aborted (CANCELLED),
 * the deadline is over (DEADLINE_EXCEEDED), the call that it is a part of ends, or `abort` is called. `end` must be called: it
 * takes the timer and the listener away.
 */
export class RunningCall implements CallLimits {
  readonly #scope: CallScope;
  readonly #deadlineAtMs: number;
  /** The one listener that most calls have, and the others. */
  #listener: (() => void) | undefined;
  #moreListeners: Set<() => void> | undefined;
  #controller: AbortController | undefined;
  #ended: CacheError | undefined;
  #cancelTimer: (() => void) | undefined;
  #leaveOuter: (() => void) | undefined;

  constructor(scope: CallScope, outer?: RunningCall) {
    this.#scope = scope;
    const { clock, subject, deadlineMs, signal } = scope;
    const outerDeadlineAtMs = outer === undefined ? Number.POSITIVE_INFINITY : outer.#deadlineAtMs;
    const ownDeadlineAtMs = deadlineMs === undefined ? Number.POSITIVE_INFINITY : clock.monotonicMs() + deadlineMs;
    this.#deadlineAtMs = Math.min(ownDeadlineAtMs, outerDeadlineAtMs);
    if (outer !== undefined) this.#follow(outer);
    if (signal !== undefined) this.#obey(signal);
    if (this.#ended === undefined && deadlineMs !== undefined && ownDeadlineAtMs < outerDeadlineAtMs) {
      this.#cancelTimer = clock.after(deadlineMs, () => {
        this.abort(new CacheError("DEADLINE_EXCEEDED", `${subject}: not done within ${deadlineMs} ms`));
      });
    }
  }

  get ended(): CacheError | undefined {
    return this.#ended;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      // Many things wait on one signal, each only for its time: more than ten listeners are no leak.
      setMaxListeners(0, this.#controller.signal);
      if (this.#ended !== undefined) this.#controller.abort(this.#ended);
    }
    return this.#controller.signal;
  }

  onEnd(listener: () => void): () => void {
    if (this.#listener === undefined) {
      this.#listener = listener;
      return () => {
        if (this.#listener === listener) this.#listener = undefined;
      };
    }
    this.#moreListeners ??= new Set();
    this.#moreListeners.add(listener);
    return () => void this.#moreListeners?.delete(listener);
  }

  remainingMs(): number {
    return Math.max(0, this.#deadlineAtMs - this.#scope.clock.monotonicMs());
  }

  /** A call for a part of this one: it ends when this one does, by a deadline of its own if that is sooner, or alone. */
  child(deadlineMs?: number): RunningCall {
    const { clock, subject } = this.#scope;
    return new RunningCall({ clock, subject, ...(deadlineMs === undefined ? {} : { deadlineMs }) }, this);
  }

  /** Ends the call with an error; does nothing when it has been aborted before. */
  abort(reason: CacheError): void {
    this.end();
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    const [first, more] = [this.#listener, this.#moreListeners];
    this.#listener = undefined;
    this.#moreListeners = undefined;
    first?.();
    for (const listener of more ?? []) listener();
    this.#controller?.abort(reason);
  }

  /** Frees the timer and the listener; whoever waits for an early end still does. */
  end(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#leaveOuter?.();
    this.#leaveOuter = undefined;
  }

  #follow(outer: RunningCall): void {
    if (outer.#ended !== undefined) this.abort(outer.#ended);
    else this.#leaveOuter = outer.onEnd(() => this.abort(outer.#ended!));
  }

  #obey(signal: AbortSignal): void {
    const onAbort = (): void => this.abort(cancellation(this.#scope.subject, signal.reason));
    if (signal.aborted) onAbort();
    else this.#leaveOuter = whenAborted(signal, onAbort);
  }
}

/** A reason as a CacheError: whatever the caller aborts with means that the caller went away, except a time-out. */
function cancellation(subject: string, reason: unknown): CacheError {
  if (reason instanceof CacheError) return reason;
  const timedOut = reason instanceof Error && reason.name === "TimeoutError";
  return timedOut
    ? new CacheError("DEADLINE_EXCEEDED", `${subject}: the caller's time-out is over`, { cause: reason })
    : new CacheError("CANCELLED", `${subject}: cancelled by the caller`, { cause: reason });
}
