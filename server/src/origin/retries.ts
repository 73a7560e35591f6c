import { type Timed, Timeouts } from "@frontcache/client/http";
import { abortError, CacheError } from "@frontcache/proto";
import { backoffMs, LinkedAbort, sleep } from "@frontcache/proto/runtime";
import type { Clock, Random } from "../runtime/clock.js";
import { Misconfigured, NoAnswer, OriginUnavailable, UnusableAnswer } from "./checked-answer.js";
import type { Repetition } from "./origin.js";
import { LimitReached } from "./origin-limits.js";
import { isAnswer, MAX_REQUESTS, RequestBudget, type RequestPermit } from "./request-budget.js";

/** How often and how fast failed requests are repeated. */
export interface RetryOptions {
  /** Requests before an error is final; 1 never repeats. The request's budget may be smaller. */
  readonly attempts: number;
  /** The delay after failure n of the budget is random between 0 and min(maxDelayMs, baseDelayMs * 2^(n - 1)): full jitter. */
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
  /** The number of failures so far, from 1. */
  readonly failures: number;
  readonly delayMs: number;
  readonly error: CacheError;
}

/** The timeouts of all attempts of one origin: few lengths, each with one timer. */
export class AttemptTimeouts {
  readonly #clock: Clock;
  readonly #byMs = new Map<number, Timeouts>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  of(timeoutMs: number): Timeouts {
    let timeouts = this.#byMs.get(timeoutMs);
    if (timeouts === undefined) {
      timeouts = new Timeouts(this.#clock, timeoutMs, "stopped");
      this.#byMs.set(timeoutMs, timeouts);
    }
    return timeouts;
  }
}

/** What all requests to one origin share. */
export interface RetryContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly timeouts: AttemptTimeouts;
}

/** An answer with the attempt that it belongs to. */
export interface Attempted<Answer> {
  readonly answer: Answer;
  readonly attempt: Attempt;
}

/** Failures by answers that cannot be used: one may be an accident, two are not. */
const MAX_UNUSABLE = 2;

/** What is repeated. */
export interface Repeated extends Repetition {
  readonly ref: { readonly url: string };
}

/**
 * The attempts of one read or question, all its resumed bodies included. They share the budget of the request with whatever else is
 * requested for the same read.
 */
export class Retries {
  readonly #options: RetryOptions;
  readonly #context: RetryContext;
  readonly #url: string;
  readonly #budget: RequestBudget;
  readonly #isNeeded: (() => boolean) | undefined;
  #failures = 0;
  #unusable = 0;

  constructor(options: RetryOptions, context: RetryContext, { ref, budget, isNeeded }: Repeated) {
    this.#options = options;
    this.#context = context;
    this.#url = ref.url;
    this.#budget = budget ?? new RequestBudget(Math.max(MAX_REQUESTS, options.attempts));
    this.#isNeeded = isNeeded;
  }

  /** The timeouts of bodies that do not move. */
  get idleTimeouts(): Timeouts {
    return this.#context.timeouts.of(this.#options.idleTimeoutMs);
  }

  /** Sends until there is an answer. Its attempt must be ended. Rejects with the final error. */
  async send<Answer>(send: (attempt: Attempt) => Promise<Answer>, signal: AbortSignal): Promise<Attempted<Answer>> {
    const timeouts = this.#context.timeouts.of(this.#options.headTimeoutMs);
    for (;;) {
      const acquired = this.#budget.acquire(signal);
      const permit = acquired instanceof Promise ? await acquired : acquired;
      if (permit === undefined) throw this.#budget.finalError(this.#url);
      const attempt = new Attempt(signal, permit, this.#url);
      attempt.wait(timeouts);
      try {
        const answer = await send(attempt);
        attempt.rest();
        return { answer, attempt };
      } catch (error) {
        if (isAnswer(CacheError.from(error))) attempt.answered();
        else attempt.fail();
        await this.failed(error, signal);
      }
    }
  }

  /** Waits until the failed request may be repeated. Rejects with the final error if it must not be, and at once when aborted. */
  async failed(thrown: unknown, signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw abortError(signal);
    const error = CacheError.from(thrown);
    this.#budget.failed(error);
    if (!error.retryable || error instanceof Misconfigured || error instanceof OriginUnavailable) throw error;
    if (error instanceof LimitReached) throw this.#failures === 0 ? error : this.#budget.finalError(this.#url);
    this.#failures++;
    const { attempts, baseDelayMs, maxDelayMs, onRetry } = this.#options;
    if (error instanceof UnusableAnswer) this.#unusable++;
    const isLast = this.#failures >= attempts || this.#unusable >= MAX_UNUSABLE || this.#budget.isExhausted;
    if (isLast || this.#isNeeded?.() === false) throw this.#budget.finalError(this.#url);
    const backoff = { firstMs: baseDelayMs, longestMs: maxDelayMs, jitter: 1 };
    // Concurrent parts fail together: the number of all failures keeps the few repetitions that are left apart.
    const delayMs = backoffMs(backoff, this.#budget.failures, this.#context.random);
    onRetry({ url: this.#url, failures: this.#failures, delayMs, error });
    await sleep(this.#context.clock, delayMs, signal);
    if (this.#isNeeded?.() === false) throw this.#budget.finalError(this.#url);
  }
}

/** One request with the body of its answer. It aborts itself if nothing moves for too long while somebody waits for it. */
export class Attempt extends LinkedAbort implements Timed {
  readonly permit: RequestPermit;
  movedMs = 0;
  previous: Timed | undefined;
  next: Timed | undefined;
  readonly #url: string;
  #timeouts: Timeouts | undefined;

  constructor(parent: AbortSignal, permit: RequestPermit, url: string) {
    super(parent);
    this.permit = permit;
    this.#url = url;
  }

  /** Somebody waits for the origin from now on. */
  wait(timeouts: Timeouts): void {
    if (timeouts !== this.#timeouts) this.rest();
    this.#timeouts = timeouts;
    timeouts.moved(this);
  }

  /** Something arrived; nobody waits for more yet. */
  rest(): void {
    this.#timeouts?.delete(this);
  }

  /** The request failed. */
  fail(): void {
    this.permit.spend();
    this.end();
  }

  /** The request was answered by an error that says which version is current. */
  answered(): void {
    this.permit.answered();
    this.end();
  }

  /** Frees the timeout, the link to the parent and the permission. The request itself continues. */
  end(): void {
    this.permit.refund();
    this.rest();
    this.unlink();
  }

  onTimeout(): void {
    this.abort(new NoAnswer({ url: this.#url }, `sent nothing for ${this.#timeouts!.timeoutMs} ms`));
  }
}
