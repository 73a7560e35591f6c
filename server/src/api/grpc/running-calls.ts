/** Counts running calls, so that a drain can wait for them. */
export class RunningCalls {
  #count = 0;
  #waiting: (() => void)[] = [];

  get count(): number {
    return this.#count;
  }

  /**
   * Counts a call. The returned function ends it; it may be called repeatedly. Register it for the call's `cancelled` event, with
   * which grpc-js reports the end of every call, successful or not, when its last bytes were sent.
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

  /** Resolves when no call is running. */
  idle(): Promise<void> {
    return this.#count === 0 ? Promise.resolve() : new Promise((resolve) => this.#waiting.push(resolve));
  }
}
