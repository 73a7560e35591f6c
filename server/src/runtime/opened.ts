/** Collects resources to close: first the listeners, concurrently, then the others in reverse order of their opening. */
export class Opened {
  readonly #listeners: (() => Promise<void>)[] = [];
  readonly #closes: (() => void | Promise<void>)[] = [];

  addListener(close: () => Promise<void>): void {
    this.#listeners.push(close);
  }

  add(close: () => void | Promise<void>): void {
    this.#closes.push(close);
  }

  /** Closes everything, even if closing fails. Rejects with the first error; further errors go to `onFurther`. */
  async close(onFurther: (error: unknown) => void): Promise<void> {
    const errors: unknown[] = [];
    const closed = async (close: () => void | Promise<void>): Promise<void> => {
      try {
        await close();
      } catch (error) {
        errors.push(error);
      }
    };
    await Promise.all(this.#listeners.splice(0).map(closed));
    for (let close = this.#closes.pop(); close !== undefined; close = this.#closes.pop()) await closed(close);
    for (const error of errors.slice(1)) onFurther(error);
    if (errors.length > 0) throw errors[0];
  }

  /** Closes everything after `failure`, and rejects with it. Errors of closing go to `onFurther`. */
  async closeAfter(failure: unknown, onFurther: (error: unknown) => void): Promise<never> {
    await this.close(onFurther).catch(onFurther);
    throw failure;
  }
}
