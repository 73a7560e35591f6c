/** Runs at most one piece of work per key concurrently. Callers that arrive while it runs share its promise. */
export class SingleFlight<Key, Value> {
  readonly #running = new Map<Key, Promise<Value>>();

  /** Keys whose work is running. */
  get size(): number {
    return this.#running.size;
  }

  /** Joins the work that is running for the key, or starts `work`. Nothing is remembered when the work has settled. */
  run(key: Key, work: () => Promise<Value>): Promise<Value> {
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const started: Promise<Value> = work().finally(() => {
      if (this.#running.get(key) === started) this.#running.delete(key);
    });
    this.#running.set(key, started);
    return started;
  }

  /** Makes the next caller start new work even if work for the key is running, because its outcome would be outdated. */
  forget(key: Key): void {
    this.#running.delete(key);
  }

  /** Returns the work that is running for the key, if any. */
  running(key: Key): Promise<Value> | undefined {
    return this.#running.get(key);
  }

  /** Resolves when no work is running, whatever its outcome. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running.values());
  }
}

/** Returns a function that runs `work`, or joins the run that has not settled yet. */
export function singleFlight<Value>(work: () => Promise<Value>): () => Promise<Value> {
  let running: Promise<Value> | undefined;
  return () => {
    running ??= work().finally(() => {
      running = undefined;
    });
    return running;
  };
}
