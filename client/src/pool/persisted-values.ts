import { CacheError } from "@frontcache/proto";
import type { Entry } from "./entry.js";
import type { PoolValues } from "./pool-values.js";
import type { DirectoryOptions, ValueDirectory } from "./value-directory.js";

/** A directory of values that outlive their pool. Its files are hard links, so it is on the file system of the pool's directory. */
export class PersistedValues {
  readonly #directory: ValueDirectory;
  readonly #options: DirectoryOptions;

  /** Only pools open such directories. @internal */
  constructor(directory: ValueDirectory, options: DirectoryOptions) {
    this.#directory = directory;
    this.#options = options;
  }

  get path(): string {
    return this.#directory.path;
  }

  /** Lists the keys of all values. FAILED_PRECONDITION if the directory contains anything else. */
  keys(): Promise<string[]> {
    return this.#directory.keys(this.#options);
  }

  /** Removes a persisted value. Pools that registered it keep theirs. A missing one is fine. */
  delete(key: string): Promise<void> {
    return this.#directory.remove(key);
  }

  /** Waits until the values that were persisted through this object survive a loss of power. */
  sync(): Promise<void> {
    return this.#directory.sync();
  }

  /** @internal */
  async link(from: ValueDirectory, key: string): Promise<void> {
    if (await this.#directory.linkFrom(from, key)) return;
    throw new CacheError("NOT_FOUND", `${from.path}: somebody else removed the file of value ${key}: create the value again`);
  }

  /** @internal */
  registerIn<T>(values: PoolValues<T>, key: string): Promise<Entry<T> | undefined> {
    return values.register(this.#directory, key);
  }
}
