import { CacheError } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";

/**
 * One request of the origin, its body included, cut when nothing moves for too long while somebody waits for it. The
 * waits between chunks share one timer, which looks at a time stamp when it rings.
 */
export class Attempt {
  readonly #abort: LinkedAbort;
  readonly #clock: Clock;
  readonly #name: string;
  #waitingSinceMs: number | undefined;
  #timeoutMs = 0;
  #cancelTimer: (() => void) | undefined;
  readonly #onTimer = (): void => this.#check();

  constructor(parent: AbortSignal, clock: Clock, name: string) {
    this.#abort = new LinkedAbort(parent);
    this.#clock = clock;
    this.#name = name;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** The origin is waited for from now on, for `timeoutMs` at most. */
  wait(timeoutMs: number): void {
    this.#waitingSinceMs = this.#clock.monotonicMs();
    if (timeoutMs !== this.#timeoutMs) this.#stopTimer();
    this.#timeoutMs = timeoutMs;
    this.#cancelTimer ??= this.#clock.after(timeoutMs, this.#onTimer);
  }

  /** Something came; nobody waits for more yet. */
  rest(): void {
    this.#waitingSinceMs = undefined;
  }

  /** Frees the timer and the link; the request is left to itself. */
  end(): void {
    this.rest();
    this.#stopTimer();
    this.#abort.unlink();
  }

  #stopTimer(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #check(): void {
    this.#cancelTimer = undefined;
    if (this.#waitingSinceMs === undefined) return;
    const leftMs = this.#waitingSinceMs + this.#timeoutMs - this.#clock.monotonicMs();
    if (leftMs > 0) {
      this.#cancelTimer = this.#clock.after(leftMs, this.#onTimer);
      return;
    }
    const message = `${this.#name}: the origin sent nothing for ${this.#timeoutMs} ms`;
    this.#abort.abort(new CacheError("UNAVAILABLE", message));
  }
}
