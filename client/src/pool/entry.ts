import { abortError } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";

/** Lets callers wait until a state changes. */
export class Change {
  readonly #waiting = new Set<() => void>();

  /** Resolves with the next `notify`. Rejects if the signal is aborted first. */
  next(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        this.#waiting.delete(done);
        remove?.();
        resolve();
      };
      this.#waiting.add(done);
      const remove =
        signal &&
        whenAborted(signal, () => {
          this.#waiting.delete(done);
          reject(abortError(signal));
        });
    });
  }

  notify(): void {
    for (const done of [...this.#waiting]) done();
  }
}

/**
 * One value of a pool: in memory, in its file, or both. Uses (loaded values, reads and writes of its file) exclude one owner, who may
 * change it. A use does not wait for owners that wait themselves, so that one caller may use a value twice.
 */
export class Entry<T> {
  key: string;
  /** The value, if it is in memory. */
  memory: { readonly value: T } | undefined;
  /** Whether its file is complete. */
  isStored = false;
  /** Handles of callers. Without one the value is removed. */
  handles = 1;
  /** The running read or write of its file. */
  reading: Promise<void> | undefined;
  writing: Promise<void> | undefined;
  #uses = 0;
  #isOwned = false;
  readonly #change = new Change();

  constructor(key: string) {
    this.key = key;
  }

  get isUsed(): boolean {
    return this.#uses > 0;
  }

  get isOwned(): boolean {
    return this.#isOwned;
  }

  /** Begins a use; waits for an owner. */
  async use(signal?: AbortSignal): Promise<void> {
    while (this.#isOwned) await this.#change.next(signal);
    this.#uses++;
  }

  /** Begins a use if there is no owner, or within the ownership of the caller. */
  useNow(): void {
    this.#uses++;
  }

  endUse(): void {
    this.#uses--;
    this.#change.notify();
  }

  /** Begins an ownership; waits for all uses. */
  async own(signal?: AbortSignal): Promise<void> {
    while (this.#isOwned || this.#uses > 0) await this.#change.next(signal);
    this.#isOwned = true;
  }

  endOwnership(): void {
    this.#isOwned = false;
    this.#change.notify();
  }
}
