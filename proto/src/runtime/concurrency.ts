/** Runs at most `permits` tasks concurrently. The others wait in order. */
export class Semaphore {
  readonly #waiting: (() => void)[] = [];
  #available: number;

  constructor(permits: number) {
    this.#available = permits;
  }

  /** Runs a task as soon as a permit is available, and returns the permit when the task has settled. */
  async run<Result>(task: () => Promise<Result>): Promise<Result> {
    if (this.#available > 0) this.#available--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#available++;
      else next();
    }
  }
}

/**
 * Calls `work` for each item in order, for at most `concurrency` items concurrently. After the first error no further item is
 * started, and the call rejects with that error. An item is taken only when its work can start, so the iterable may be infinite.
 */
export async function forEachConcurrent<T>(
  items: Iterable<T> | AsyncIterable<T>,
  concurrency: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const remaining = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  let failed = false;
  const workOnSome = async (): Promise<void> => {
    try {
      while (!failed) {
        const taken = remaining.next();
        const next = taken instanceof Promise ? await taken : taken;
        if (next.done || failed) return;
        await work(next.value);
      }
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, workOnSome));
}
