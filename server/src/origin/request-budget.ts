import { abortError, CacheError } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";

/** Requests that one read of one block may send to its origin while none succeeds. */
export const MAX_REQUESTS = 6;

/** The budget of a read. If it names a version, one request counts for the question whose answer was the version. */
export function requestBudget(version: string | undefined): RequestBudget {
  return new RequestBudget(version === undefined ? MAX_REQUESTS : MAX_REQUESTS - 1);
}

/**
 * Bounds the requests of one read of one block: its parts, their repetitions and resumed bodies, hedges, redirects and questions share
 * it. A request takes one and returns it when it succeeds, so that only failed and running requests count. If running requests have
 * taken the rest, the next one waits for their outcome.
 */
export class RequestBudget {
  #left: number;
  #running = 0;
  #failures = 0;
  #lastFailure: CacheError | undefined;
  #isClosed = false;
  /** Made for the first request that waits: few do. */
  #waiting: Set<() => void> | undefined;

  constructor(requests: number) {
    this.#left = requests;
  }

  /** Requests that failed. */
  get failures(): number {
    return this.#failures;
  }

  /** The error of a request that is not sent, because the budget is exhausted: that of the last failed request. */
  finalError(url: string): CacheError {
    const error =
      this.#lastFailure ?? new CacheError("UNAVAILABLE", `${url}: the origin was asked as often as one read may ask it`);
    if (error.isOriginTried || !error.retryable) return error;
    const code = error.code === "RESOURCE_EXHAUSTED" ? error.code : "UNAVAILABLE";
    return new CacheError(code, `${error.message} (${this.#failures} attempts)`, { cause: error, isOriginTried: true });
  }

  /** Whether no request may start any more, whatever becomes of the running ones. */
  get isExhausted(): boolean {
    return this.#isClosed || (this.#left === 0 && this.#running === 0);
  }

  /** Permission for one request; undefined: the budget is exhausted. Rejects if the signal is aborted while it waits. */
  acquire(signal: AbortSignal): RequestPermit | undefined | Promise<RequestPermit | undefined> {
    if (this.isExhausted) return undefined;
    if (this.#left > 0) return this.#permit();
    return this.#changed(signal).then(() => this.acquire(signal));
  }

  /** A request has succeeded, and counts all the same: a question that precedes the bytes. */
  count(): void {
    if (this.#left > 0) this.#left--;
  }

  /** A request has failed. */
  failed(error: CacheError): void {
    this.#failures++;
    this.#lastFailure = error;
  }

  /** The read has failed for good: no further request starts. */
  close(error: CacheError): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#lastFailure = error;
    this.#wake();
  }

  #permit(): RequestPermit {
    let taken = 0;
    const take = (): boolean => {
      if (this.#isClosed || this.#left === 0) return false;
      this.#left--;
      taken++;
      return true;
    };
    const end = (isRefunded: boolean): void => {
      if (taken === 0) return;
      if (isRefunded) this.#left += taken;
      taken = 0;
      this.#running--;
      this.#wake();
    };
    take();
    this.#running++;
    return { extra: take, refund: () => end(true), spend: () => end(false) };
  }

  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = (): void => {
        removeAbort();
        resolve();
      };
      this.#waiting ??= new Set();
      this.#waiting.add(wake);
      const removeAbort = whenAborted(signal, () => {
        this.#waiting?.delete(wake);
        reject(abortError(signal));
      });
    });
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) for (const wake of waiting) wake();
  }
}

/** Permission for one request. One of `refund` and `spend` must be called; the first call counts. */
export interface RequestPermit {
  /** Permission for another request on behalf of this one: a hedge, or one that follows a redirect. False: it must not be sent. */
  extra(): boolean;
  /** The request succeeded, or is not needed any more. */
  refund(): void;
  /** The request failed. */
  spend(): void;
}
