import { abortError, CacheError } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";

/** Limits on the requests of one member to one origin. Undefined is unlimited. */
export interface LimitOptions {
  /** Requests per second. After a pause a burst of one more second's requests is possible: never more than twice this in a second. */
  readonly requestsPerSecond: number | undefined;
  /** Bytes per second, by the lengths of answers. A part that has started is not held back, so a burst is one second and one part. */
  readonly bytesPerSecond: number | undefined;
  /** Concurrent requests, the bodies of their answers included. */
  readonly concurrency: number | undefined;
  /** A request that has waited this long fails with RESOURCE_EXHAUSTED. */
  readonly maxWaitMs: number;
  /** Waiting requests. One more fails at once. */
  readonly maxWaiting: number;
}

/** This member's own limits rejected a request. Retrying it at once would only lengthen the queue. */
export class LimitReached extends CacheError {
  /** It waited too long, or too many requests waited already. */
  readonly reason: "wait" | "queue";

  constructor(url: string, reason: "wait" | "queue", detail: string) {
    super(
      "RESOURCE_EXHAUSTED",
      `${url}: this member's limits on origin requests are reached (${detail}): retry later, or raise them`,
    );
    this.reason = reason;
  }
}

/** Permission for one request. */
export interface Permit {
  /** Corrects the number of bytes charged to the length of the answer. */
  correct(bytes: number): void;
  /** The answer has ended. Harmless when repeated. */
  release(): void;
}

interface Waiter {
  readonly bytes: number;
  grant(permit: Permit): void;
}

/** The queue in front of an origin: in order of arrival, bounded in length and in time. */
export class OriginLimits {
  readonly #options: LimitOptions;
  readonly #clock: Clock;
  readonly #onReached: (reached: LimitReached) => void;
  readonly #requests: TokenBucket | undefined;
  readonly #bytes: TokenBucket | undefined;
  readonly #queue = new Set<Waiter>();
  #running = 0;
  #cancelTimer: (() => void) | undefined;

  /** `onReached` receives each rejection. */
  constructor(options: LimitOptions, clock: Clock, onReached: (reached: LimitReached) => void) {
    const { requestsPerSecond, bytesPerSecond } = options;
    this.#options = options;
    this.#clock = clock;
    this.#onReached = onReached;
    const bucket = (rate: number | undefined): TokenBucket | undefined =>
      rate === undefined ? undefined : new TokenBucket(rate, Math.max(1, rate), clock.monotonicMs());
    this.#requests = bucket(requestsPerSecond);
    this.#bytes = bucket(bytesPerSecond);
  }

  /** Waiting requests, for metrics. */
  get waiting(): number {
    return this.#queue.size;
  }

  /** Waits for permission for a request of up to `bytes`. Rejects with LimitReached, or at once when aborted. */
  acquire(url: string, bytes: number, signal: AbortSignal): Promise<Permit> {
    const { maxWaitMs, maxWaiting } = this.#options;
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(abortError(signal));
      const dequeue = (): void => {
        this.#queue.delete(waiter);
        removeAbort?.();
        cancelWait?.();
      };
      const fail = (error: CacheError): void => {
        dequeue();
        this.#pump(); // the next one may need less
        reject(error);
      };
      const rejectBy = (reached: LimitReached): void => {
        this.#onReached(reached);
        fail(reached);
      };
      const waiter: Waiter = {
        bytes,
        grant: (permit) => {
          dequeue();
          resolve(permit);
        },
      };
      let cancelWait: (() => void) | undefined;
      let removeAbort: (() => void) | undefined;
      this.#queue.add(waiter);
      this.#pump();
      if (!this.#queue.has(waiter)) return;
      if (this.#queue.size > maxWaiting) {
        return rejectBy(new LimitReached(url, "queue", `${maxWaiting} requests are waiting already`));
      }
      cancelWait = this.#clock.after(maxWaitMs, () => rejectBy(new LimitReached(url, "wait", `waited ${maxWaitMs} ms`)));
      removeAbort = whenAborted(signal, () => fail(abortError(signal)));
    });
  }

  /** Permission for a request without a body, if the limits allow it now and no other request waits. */
  tryAcquire(): Permit | undefined {
    if (this.#queue.size > 0 || this.#isFull || this.#delayMs(0) > 0) return undefined;
    return this.#permit(0);
  }

  get #isFull(): boolean {
    return this.#running >= (this.#options.concurrency ?? Number.POSITIVE_INFINITY);
  }

  /** Milliseconds until the rates allow a request of up to `bytes`. */
  #delayMs(bytes: number): number {
    const nowMs = this.#clock.monotonicMs();
    const bytesMs = bytes === 0 ? 0 : (this.#bytes?.msUntil(1, nowMs) ?? 0);
    return Math.max(this.#requests?.msUntil(1, nowMs) ?? 0, bytesMs);
  }

  /** Grants permits from the front of the queue while the limits allow it, and sets the timer for the next one. */
  #pump(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    for (const waiter of this.#queue) {
      if (this.#isFull) return; // a release calls this again
      const delayMs = this.#delayMs(waiter.bytes);
      if (delayMs > 0) {
        this.#cancelTimer = this.#clock.after(Math.ceil(delayMs), () => this.#pump());
        return;
      }
      waiter.grant(this.#permit(waiter.bytes));
    }
  }

  #permit(bytes: number): Permit {
    this.#running++;
    this.#requests?.take(1);
    this.#bytes?.take(bytes);
    let [charged, isReleased] = [bytes, false];
    return {
      correct: (actual) => {
        this.#bytes?.take(actual - charged);
        charged = actual;
      },
      release: () => {
        if (isReleased) return;
        isReleased = true;
        this.#running--;
        this.#pump();
      },
    };
  }
}

/** An allowance that grows at a constant rate up to a burst. Taking may leave a debt, which later growth pays first. */
class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #level: number;
  #atMs: number;

  /** Starts full: `burst` tokens, then `perSecond` more each second. */
  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
    this.#level = burst;
    this.#atMs = nowMs;
  }

  /** Milliseconds until the bucket has `tokens`, at most the burst; 0: it has them now. */
  msUntil(tokens: number, nowMs: number): number {
    this.#grow(nowMs);
    const missing = Math.min(tokens, this.#burst) - this.#level;
    // Adding fractions of milliseconds loses less than a billionth of a token.
    return missing <= 1e-9 ? 0 : missing / this.#perMs;
  }

  /** Takes tokens; a negative number returns them. */
  take(tokens: number): void {
    this.#level = Math.min(this.#burst, this.#level - tokens);
  }

  #grow(nowMs: number): void {
    this.#level = Math.min(this.#burst, this.#level + (nowMs - this.#atMs) * this.#perMs);
    this.#atMs = nowMs;
  }
}
