import { abortError, type CacheError } from "@frontcache/proto";

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: CacheError) => void;
}

/** Readers that wait for something to happen to a segment: more bytes, another place, a failure. */
export class SegmentWaiters {
  readonly #waiters = new Map<number, Set<Waiter>>();

  /** Resolves at the next `wake` of the segment, rejects at its `fail` or when the signal is aborted. */
  wait(segment: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(abortError(signal));
      const onAbort = (): void => {
        this.#remove(segment, waiter);
        reject(abortError(signal));
      };
      const settle = (): void => signal.removeEventListener("abort", onAbort);
      const waiter: Waiter = {
        resolve: () => {
          settle();
          resolve();
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      signal.addEventListener("abort", onAbort, { once: true });
      const others = this.#waiters.get(segment);
      if (others === undefined) this.#waiters.set(segment, new Set([waiter]));
      else others.add(waiter);
    });
  }

  wake(segment: number): void {
    for (const waiter of this.#take(segment)) waiter.resolve();
  }

  fail(segment: number, error: CacheError): void {
    for (const waiter of this.#take(segment)) waiter.reject(error);
  }

  #take(segment: number): Iterable<Waiter> {
    const waiters = this.#waiters.get(segment);
    if (waiters === undefined) return [];
    this.#waiters.delete(segment);
    return waiters;
  }

  #remove(segment: number, waiter: Waiter): void {
    const waiters = this.#waiters.get(segment);
    waiters?.delete(waiter);
    if (waiters?.size === 0) this.#waiters.delete(segment);
  }
}
