/** Counts calls that run, so that a drain can wait for them. */
export class RunningCalls {
  #count = 0;
  #waiting: (() => void)[] = [];

  get count(): number {
    return this.#count;
  }

  /**
   * A call begins. The returned function ends it; harmless when repeated. It belongs on the call's `cancelled` event, by
   * which grpc-js reports the end of every call, good or bad, once the last of its bytes is on its way.
   */
  begin(): () => void {
    let running = true;
    this.#count++;
    return () => {
      if (!running) return;
      running = false;
      if (--this.#count === 0) for (const resolve of this.#waiting.splice(0)) resolve();
    };
  }

  /** Resolves as soon as no call runs. */
  idle(): Promise<void> {
    return this.#count === 0 ? Promise.resolve() : new Promise((resolve) => this.#waiting.push(resolve));
  }
}
