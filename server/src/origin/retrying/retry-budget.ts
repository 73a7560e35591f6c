import { abortError, CacheError } from "@frontcache/proto";
import { backoffMs, sleep } from "@frontcache/proto/runtime";
import type { Clock, Random } from "../../runtime/clock.js";
import { LimitReached } from "../limits/origin-limits.js";

/** How often and how fast failed requests are repeated. */
export interface RetryOptions {
  /** Requests in all before an error is final; 1 never repeats. */
  readonly attempts: number;
  /** The wait after failure n is random between 0 and min(maxDelayMs, baseDelayMs * 2^(n - 1)): full jitter. */
  readonly baseDelayMs: number;
  readonly maxDelayMs: number;
  /** A request without a head after so long has failed. Waiting for the origin's limits is part of that time. */
  readonly headTimeoutMs: number;
  /** A body that does not move for so long, while its reader waits, has failed. */
  readonly idleTimeoutMs: number;
  /** Told before each wait, for metrics and logs. */
  readonly onRetry: (retry: Retry) => void;
}

/** A failed request that will be repeated. */
export interface Retry {
  readonly url: string;
  /** Which failure in a row it was, from 1. */
  readonly failures: number;
  readonly delayMs: number;
  readonly error: CacheError;
}

/** So many bytes forgive the failures before them: enough that a long body may break now and then, but not at every chunk. */
const FORGIVING_BYTES = 256 << 10;

/** What is left of the attempts of one read. */
export class RetryBudget {
  readonly #options: RetryOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #url: string;
  #failures = 0;
  #bytesSinceFailure = 0;

  constructor(options: RetryOptions, clock: Clock, random: Random, url: string) {
    this.#options = options;
    this.#clock = clock;
    this.#random = random;
    this.#url = url;
  }

  progress(bytes: number): void {
    if (this.#failures === 0) return;
    this.#bytesSinceFailure += bytes;
    if (this.#bytesSinceFailure >= FORGIVING_BYTES) this.#failures = 0;
  }

  /** Waits until the request may be repeated. Rejects with the final error where it must not be, at once when aborted. */
  async spend(thrown: unknown, signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw abortError(signal);
    const error = CacheError.from(thrown);
    if (!error.retryable || error instanceof LimitReached) throw error;
    this.#failures++;
    this.#bytesSinceFailure = 0;
    const { attempts, baseDelayMs, maxDelayMs, onRetry } = this.#options;
    if (this.#failures >= attempts) throw exhausted(error, attempts);
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
