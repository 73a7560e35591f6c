import type { Clock } from "../runtime/clock.js";

export interface PeriodicWorkOptions {
  readonly clock: Pick<Clock, "after">;
  readonly onFailure: (error: unknown) => void;
}

/** Work that is repeated until it is closed. Each kind of work never runs twice at a time. */
export class PeriodicWork {
  readonly #options: PeriodicWorkOptions;
  readonly #cancelTimers = new Set<() => void>();
  readonly #running = new Set<Promise<void>>();
  #isClosed = false;

  constructor(options: PeriodicWorkOptions) {
    this.#options = options;
  }

  /** Runs work again and again, `intervalMs` after it has ended. The returned function ends it. */
  every(intervalMs: number, work: () => Promise<void>): () => void {
    let cancel = (): void => {};
    let isOver = false;
    const next = (): void => {
      this.#cancelTimers.delete(cancel);
      if (isOver || this.#isClosed) return;
      cancel = this.#options.clock.after(intervalMs, () => {
        const running = work().catch((error: unknown) => {
          if (!this.#isClosed) this.#options.onFailure(error);
        });
        this.#running.add(running);
        void running.then(() => {
          this.#running.delete(running);
          next();
        });
      });
      this.#cancelTimers.add(cancel);
    };
    next();
    return () => {
      isOver = true;
      cancel();
      this.#cancelTimers.delete(cancel);
    };
  }

  /** Begins no more work. Resolves when all running work has ended. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const cancel of this.#cancelTimers) cancel();
    this.#cancelTimers.clear();
    await Promise.all(this.#running);
  }
}
