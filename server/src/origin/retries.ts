import { abortError, CacheError } from "@frontcache/proto";
import { backoffMs, LinkedAbort, sleep } from "@frontcache/proto/runtime";
import type { Clock, Random } from "../runtime/clock.js";
import { Misconfigured, UnusableAnswer } from "./checked-answer.js";
import { LimitReached } from "./origin-limits.js";

/** How often and how fast failed requests are repeated. */
export interface RetryOptions {
  /** Requests before an error is final; 1 never repeats. */
  readonly attempts: number;
  /** The delay after failure n is random between 0 and min(maxDelayMs, baseDelayMs * 2^(n - 1)): full jitter. */
  readonly baseDelayMs: number;
  readonly maxDelayMs: number;
  /** A request without an answer's head after this time has failed. It includes waiting for the origin's limits. */
  readonly headTimeoutMs: number;
  /** A body that does not move for this time, while its reader waits, has failed. */
  readonly idleTimeoutMs: number;
  /** Called before each delay, for metrics and logs. */
  readonly onRetry: (retry: Retry) => void;
}

/** A failed request that will be repeated. */
export interface Retry {
  readonly url: string;
  /** The number of failures in a row, from 1. */
  readonly failures: number;
  readonly delayMs: number;
  readonly error: CacheError;
}

/** An answer with the attempt that it belongs to. */
export interface Attempted<Answer> {
  readonly answer: Answer;
  readonly attempt: Attempt;
}

/** Failures by answers that cannot be used: one may be an accident, two are not. */
const MAX_UNUSABLE = 2;

/** This many bytes reset the count of failures: a long body may break now and then, but not at every chunk. */
const RESET_BYTES = 256 << 10;

/** The attempts of one read or question, all its resumed bodies included. */
export class Retries {
  readonly #options: RetryOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #url: string;
  #failures = 0;
  #bytesSinceFailure = 0;
  #unusable = 0;

  constructor(options: RetryOptions, clock: Clock, random: Random, url: string) {
    this.#options = options;
    this.#clock = clock;
    this.#random = random;
    this.#url = url;
  }

  /** A body that does not move for this time has failed. */
  get idleTimeoutMs(): number {
    return this.#options.idleTimeoutMs;
  }

  /** Sends until there is an answer. Its attempt must be ended. Rejects with the final error. */
  async send<Answer>(send: (signal: AbortSignal) => Promise<Answer>, signal: AbortSignal): Promise<Attempted<Answer>> {
    for (;;) {
      const attempt = new Attempt(signal, this.#clock, this.#url);
      attempt.wait(this.#options.headTimeoutMs);
      try {
        const answer = await send(attempt.signal);
        attempt.rest();
        return { answer, attempt };
      } catch (error) {
        attempt.end();
        await this.failed(error, signal);
      }
    }
  }

  /** Bytes of a body have arrived. */
  progress(bytes: number): void {
    if (this.#failures === 0) return;
    this.#bytesSinceFailure += bytes;
    if (this.#bytesSinceFailure >= RESET_BYTES) this.#failures = 0;
  }

  /** Waits until the failed request may be repeated. Rejects with the final error if it must not be, and at once when aborted. */
  async failed(thrown: unknown, signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw abortError(signal);
    const error = CacheError.from(thrown);
    if (!error.retryable || error instanceof LimitReached || error instanceof Misconfigured) throw error;
    this.#failures++;
    this.#bytesSinceFailure = 0;
    const { attempts, baseDelayMs, maxDelayMs, onRetry } = this.#options;
    if (error instanceof UnusableAnswer) this.#unusable++;
    if (this.#failures >= attempts || this.#unusable >= MAX_UNUSABLE) throw exhausted(error, this.#failures);
    const backoff = { firstMs: baseDelayMs, longestMs: maxDelayMs, jitter: 1 };
    const delayMs = backoffMs(backoff, this.#failures, this.#random);
    onRetry({ url: this.#url, failures: this.#failures, delayMs, error });
    await sleep(this.#clock, delayMs, signal);
  }
}

function exhausted(error: CacheError, attempts: number): CacheError {
  const code = error.code === "RESOURCE_EXHAUSTED" ? error.code : "UNAVAILABLE";
  return new CacheError(code, `${error.message} (${attempts} attempts)`, { cause: error });
}

/**
 * One request with the body of its answer, aborted if nothing moves for too long while somebody waits for it. The waits between
 * chunks share one timer, which looks at a time stamp when it fires.
 */
export class Attempt {
  readonly #abort: LinkedAbort;
  readonly #clock: Clock;
  readonly #url: string;
  #waitingSinceMs: number | undefined;
  #timeoutMs = 0;
  #cancelTimer: (() => void) | undefined;
  readonly #onTimer = (): void => this.#check();

  constructor(parent: AbortSignal, clock: Clock, url: string) {
    this.#abort = new LinkedAbort(parent);
    this.#clock = clock;
    this.#url = url;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Somebody waits for the origin from now on, for at most `timeoutMs`. */
  wait(timeoutMs: number): void {
    this.#waitingSinceMs = this.#clock.monotonicMs();
    if (timeoutMs !== this.#timeoutMs) this.#stopTimer();
    this.#timeoutMs = timeoutMs;
    this.#cancelTimer ??= this.#clock.after(timeoutMs, this.#onTimer);
  }

  /** Something arrived; nobody waits for more yet. */
  rest(): void {
    this.#waitingSinceMs = undefined;
  }

  /** Frees the timer and the link to the parent. The request itself continues. */
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
    const message = `${this.#url}: the origin sent nothing for ${this.#timeoutMs} ms`;
    this.#abort.abort(new CacheError("UNAVAILABLE", message));
  }
}
