import { abortError, CacheError } from "@frontcache/proto";
import type { Clock } from "../../runtime/clock.js";
import { TokenBucket } from "./token-bucket.js";

/** What a member may ask of one origin. Undefined is unlimited. */
export interface LimitOptions {
  /** Requests a second, and as many again at once after a pause: in no second more than twice this. */
  readonly requestsPerSecond: number | undefined;
  /** Bytes a second, by the lengths of answers. A part that has begun is not held back, so bursts are of a second and a part. */
  readonly bytesPerSecond: number | undefined;
  /** Answers on their way at a time. */
  readonly concurrency: number | undefined;
  /** A request that waited so long is given up with RESOURCE_EXHAUSTED. */
  readonly maxWaitMs: number;
  /** Requests that wait at a time; one more is given up at once. */
  readonly maxWaiting: number;
}

/** Our own limits held a request back for too long. Repeating it at once would only lengthen the queue. */
export class LimitReached extends CacheError {
  constructor(
    url: string,
    /** It waited too long, or too many waited already. */
    readonly reason: "wait" | "queue",
    why: string,
  ) {
    super(
      "RESOURCE_EXHAUSTED",
      `${url}: this member's limits on origin requests are reached (${why}): read it later, or raise them`,
    );
  }
}

/** Leave to send one request, until it is released. */
export interface Permit {
  /** Says how many bytes the answer really has, where they were not as many as asked for. */
  correct(bytes: number): void;
  /** The answer is at its end. Harmless when repeated. */
  release(): void;
}

interface Waiter {
  readonly bytes: number;
  admit(permit: Permit): void;
}

/** The queue before an origin: first come, first served, so that nobody starves; bounded in length and in time. */
export class OriginLimits {
  readonly #options: LimitOptions;
  readonly #clock: Clock;
  readonly #requests: TokenBucket | undefined;
  readonly #bytes: TokenBucket | undefined;
  readonly #queue = new Set<Waiter>();
  #running = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(
    options: LimitOptions,
    clock: Clock,
    /** Told of each request that is turned away. */
    private readonly onReached: (reached: LimitReached) => void,
  ) {
    const { requestsPerSecond, bytesPerSecond } = options;
    this.#options = options;
    this.#clock = clock;
    const bucket = (rate: number | undefined): TokenBucket | undefined =>
      rate === undefined ? undefined : new TokenBucket(rate, Math.max(1, rate), clock.monotonicMs());
    this.#requests = bucket(requestsPerSecond);
    this.#bytes = bucket(bytesPerSecond);
  }

  /** Requests that wait now, for metrics. */
  get waiting(): number {
    return this.#queue.size;
  }

  /** Waits for leave to send a request that brings up to `bytes`. Rejects with LimitReached, or at once when aborted. */
  admit(url: string, bytes: number, signal: AbortSignal): Promise<Permit> {
    const { maxWaitMs, maxWaiting } = this.#options;
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(abortError(signal));
      const leave = (): void => {
        this.#queue.delete(waiter);
        signal.removeEventListener("abort", onAbort);
        cancelWait?.();
      };
      const give = (error: CacheError): void => {
        leave();
        this.#pump(); // the next one may need less
        reject(error);
      };
      const turnAway = (reached: LimitReached): void => {
        this.onReached(reached);
        give(reached);
      };
      const waiter: Waiter = {
        bytes,
        admit: (permit) => {
          leave();
          resolve(permit);
        },
      };
      const onAbort = (): void => give(abortError(signal));
      let cancelWait: (() => void) | undefined;
      this.#queue.add(waiter);
      this.#pump();
      if (!this.#queue.has(waiter)) return;
      if (this.#queue.size > maxWaiting) return turnAway(new LimitReached(url, "queue", `${maxWaiting} requests wait already`));
      cancelWait = this.#clock.after(maxWaitMs, () => turnAway(new LimitReached(url, "wait", `waited ${maxWaitMs} ms`)));
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Leave to send a request that brings no bytes of its own, where nobody waits and the limits give it now. */
  admitNow(): Permit | undefined {
    if (this.#queue.size > 0 || this.#isFull || this.#delayMs(0) > 0) return undefined;
    return this.#permit(0);
  }

  get #isFull(): boolean {
    return this.#running >= (this.#options.concurrency ?? Number.POSITIVE_INFINITY);
  }

  /** Milliseconds until the rates allow a request that brings up to `bytes`. */
  #delayMs(bytes: number): number {
    const nowMs = this.#clock.monotonicMs();
    const bytesMs = bytes === 0 ? 0 : (this.#bytes?.msUntil(1, nowMs) ?? 0);
    return Math.max(this.#requests?.msUntil(1, nowMs) ?? 0, bytesMs);
  }

  /** Admits from the front of the queue while the limits allow, and sets the timer for the next one. */
  #pump(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    for (const waiter of this.#queue) {
      if (this.#isFull) return; // a release comes here again
      const delayMs = this.#delayMs(waiter.bytes);
      if (delayMs > 0) {
        this.#cancelTimer = this.#clock.after(Math.ceil(delayMs), () => this.#pump());
        return;
      }
      waiter.admit(this.#permit(waiter.bytes));
    }
  }

  #permit(bytes: number): Permit {
    this.#running++;
    this.#requests?.take(1);
    this.#bytes?.take(bytes);
    let [charged, released] = [bytes, false];
    return {
      correct: (actual) => {
        this.#bytes?.take(actual - charged);
        charged = actual;
      },
      release: () => {
        if (released) return;
        released = true;
        this.#running--;
        this.#pump();
      },
    };
  }
}
