import { setMaxListeners } from "node:events";
import { CacheError } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import type { Clock } from "./clock.js";
import type { CallLimits } from "./ports.js";

/** The subject of a call, and the conditions that end it early. */
export interface CallScope {
  readonly clock: Clock;
  /** The subject at the start of its error messages, for example an object's URL. */
  readonly subject: string;
  /** Milliseconds from now; absent: no own deadline. */
  readonly deadlineMs?: number | undefined;
  /** The caller's signal; absent for a part of another call. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * A running call of the client. All its work ends when the caller's signal is aborted (CANCELLED),
 * the deadline passes (DEADLINE_EXCEEDED), its parent call ends, or `abort` is called. `end` must be called: it
 * removes the timer and the listener.
 */
export class RunningCall implements CallLimits {
  readonly #scope: CallScope;
  readonly #deadlineAtMs: number;
  /** The single listener of most calls, and further ones. */
  #listener: (() => void) | undefined;
  #moreListeners: Set<() => void> | undefined;
  #controller: AbortController | undefined;
  #ended: CacheError | undefined;
  #cancelTimer: (() => void) | undefined;
  #unlinkOuter: (() => void) | undefined;

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
      // Many operations listen to one signal temporarily, so more than ten listeners are not a leak.
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

  /** Creates a call for a part of this one. It ends with this call, with its own deadline if that is earlier, or separately. */
  child(deadlineMs?: number): RunningCall {
    const { clock, subject } = this.#scope;
    return new RunningCall({ clock, subject, ...(deadlineMs === undefined ? {} : { deadlineMs }) }, this);
  }

  /** Ends the call with an error; has no effect if it was aborted before. */
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

  /** Removes the timer and the listener of the caller's signal. */
  end(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#unlinkOuter?.();
    this.#unlinkOuter = undefined;
  }

  #follow(outer: RunningCall): void {
    if (outer.#ended !== undefined) this.abort(outer.#ended);
    else this.#unlinkOuter = outer.onEnd(() => this.abort(outer.#ended!));
  }

  #obey(signal: AbortSignal): void {
    const onAbort = (): void => this.abort(cancellation(this.#scope.subject, signal.reason));
    if (signal.aborted) onAbort();
    else this.#unlinkOuter = whenAborted(signal, onAbort);
  }
}

/**
 * Converts an abort reason to a CacheError. Any reason of the caller means CANCELLED, except a timeout. Its name is the one that the
 * platform's own functions use, and its cause is the reason.
 */
function cancellation(subject: string, reason: unknown): CacheError {
  if (reason instanceof CacheError) return reason;
  const timedOut = reason instanceof Error && reason.name === "TimeoutError";
  return timedOut
    ? new CacheError("DEADLINE_EXCEEDED", `${subject}: the caller's time-out is over`, { cause: reason, name: "TimeoutError" })
    : new CacheError("CANCELLED", `${subject}: cancelled by the caller`, { cause: reason, name: "AbortError" });
}
