import { join } from "node:path";
import { CacheError } from "@frontcache/proto";
import { lockByProcessId } from "@frontcache/proto/runtime";
import type { Codec } from "./codec.js";
import { PersistedValues } from "./persisted-values.js";
import { type PoolDisk, systemCode, systemDisk } from "./pool-disk.js";
import { type PoolBudget, PoolValues, type PoolValuesOptions } from "./pool-values.js";
import { type LoadOptions, Pooled } from "./pooled.js";
import { type DirectoryOptions, ValueDirectory } from "./value-directory.js";

export interface PoolOptions<T> {
  /** A directory for the files of this pool alone, on a local disk. It is created if it is missing, and emptied at the start. */
  readonly directory: string;
  /** Converts values to bytes and back. */
  readonly codec: Codec<T>;
  /** How much stays in memory: `{ items: 1_000 }`, or `{ bytes: 256 << 20, sizeOf: (value) => value.length }`. */
  readonly budget: PoolBudget<T>;
}

type NewKeys = Pick<PoolValuesOptions<unknown>, "newKey">;

export interface SaveOptions {
  /** Values that are written and linked concurrently. Default 8. */
  readonly concurrency?: number | undefined;
  /** Makes the new set the current one, for example by writing its list. Called when all values survive a loss of power. */
  readonly publish?: (() => void | Promise<void>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A pool's numbers of the moment. */
export interface PoolReport {
  /** Values with a handle. */
  readonly values: number;
  /** Values in memory within the budget. */
  readonly inMemory: number;
  /** Their part of the budget: values or bytes. */
  readonly used: number;
  /** Values in memory beyond the budget, because they are being written or cannot be. */
  readonly unwritten: number;
}

/**
 * Values of a service that are more than its memory: the recently used ones are in memory, the others in files on a local disk, and are
 * loaded when somebody asks for them. Files of values without a handle are removed; after a crash, the next start removes all.
 *
 * @example
 * await using pool = await Pool.open({ directory: "/var/cache/app", codec: jsonCodec<Index>(), budget: { items: 100 } });
 * using handle = await pool.insert(index);
 * using loaded = await handle.load();
 */
export class Pool<T> implements AsyncDisposable {
  readonly #values: PoolValues<T>;
  readonly #disk: PoolDisk;
  readonly #unlock: () => Promise<void>;
  #closed: Promise<void> | undefined;

  private constructor(values: PoolValues<T>, disk: PoolDisk, unlock: () => Promise<void>) {
    this.#values = values;
    this.#disk = disk;
    this.#unlock = unlock;
  }

  /**
   * Opens a pool. FAILED_PRECONDITION: another process uses the directory, or it contains files of somebody else; PERMISSION_DENIED:
   * it is not writable; INVALID_ARGUMENT: the budget is not a positive number.
   */
  static async open<T>(options: PoolOptions<T>): Promise<Pool<T>> {
    checkBudget(options.budget);
    const lock = join(options.directory, LOCK);
    return Pool.openOn(systemDisk, options, () => lockDirectory(options.directory, lock));
  }

  /** Opens a pool on another disk; for tests. @internal */
  static async openOn<T>(
    disk: PoolDisk,
    options: PoolOptions<T> & NewKeys,
    lock: () => Promise<() => Promise<void>>,
  ): Promise<Pool<T>> {
    const directory = new ValueDirectory(options.directory, disk);
    // Before the lock: it creates the directory, and refuses one of somebody else without leaving a lock there.
    await directory.keys({ ignore: [LOCK] });
    const unlock = await lock();
    try {
      for (const key of await directory.keys({ ignore: [LOCK] })) await directory.remove(key);
      return new Pool(new PoolValues({ ...options, directory }), disk, unlock);
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  get report(): PoolReport {
    const { values, weight, unwritten } = this.#values.memory;
    return { values: this.#values.size, inMemory: values, used: weight, unwritten };
  }

  /**
   * Adds a value, in memory only. Waits while values that this one pushes out of memory are being written. RESOURCE_EXHAUSTED or
   * UNAVAILABLE if they cannot be: then nothing is lost, and a later call tries again.
   */
  async insert(value: T, { signal }: LoadOptions = {}): Promise<Pooled<T>> {
    return new Pooled(this.#values, await this.#values.insert(value, signal));
  }

  /**
   * Opens a directory of persisted values, on the same file system. Creates it if it is missing. FAILED_PRECONDITION,
   * PERMISSION_DENIED.
   */
  async persisted(path: string, options: DirectoryOptions = {}): Promise<PersistedValues> {
    const persisted = new PersistedValues(new ValueDirectory(path, this.#disk), options);
    await persisted.keys();
    return persisted;
  }

  /** Takes a persisted value into the pool without loading it; undefined if the directory does not have it. */
  async register(from: PersistedValues, key: string): Promise<Pooled<T> | undefined> {
    const entry = await from.registerIn(this.#values, key);
    return entry && new Pooled(this.#values, entry);
  }

  /**
   * Makes a directory contain exactly these values: persists them, waits until they survive a loss of power, calls `publish`, and
   * removes all other values. Until `publish` returns, the values of before are still there.
   */
  async save(handles: readonly Pooled<T>[], to: PersistedValues, options: SaveOptions = {}): Promise<void> {
    const { concurrency = 8, publish, signal } = options;
    const rest = handles.values();
    const persistRest = async (): Promise<void> => {
      for (const handle of rest) await handle.persist(to, { signal });
    };
    await Promise.all(Array.from({ length: Math.max(1, concurrency) }, persistRest));
    const kept = new Set(handles.map(({ key }) => key));
    await to.sync();
    await publish?.();
    for (const key of await to.keys()) if (!kept.has(key)) await to.delete(key);
  }

  /** Waits until the pool writes and removes nothing in the background. */
  finished(): Promise<void> {
    return this.#values.finished();
  }

  /** Removes all files of the pool and unlocks its directory. Handles are useless from then on; persisted values stay. */
  close(): Promise<void> {
    this.#closed ??= this.#values.close().finally(() => this.#unlock());
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const LOCK = "lock";

function checkBudget(budget: PoolBudget<never>): void {
  const [unit, amount] = "items" in budget ? ["items", budget.items] : ["bytes", budget.bytes];
  if (Number.isSafeInteger(amount) && amount > 0) return;
  throw new CacheError("INVALID_ARGUMENT", `budget.${unit}: ${amount} is not a positive number: say how much stays in memory`);
}

async function lockDirectory(directory: string, path: string): Promise<() => Promise<void>> {
  let lock: Awaited<ReturnType<typeof lockByProcessId>>;
  try {
    lock = await lockByProcessId(path);
  } catch (error) {
    const message = `${directory} can't be used by a pool (${systemCode(error) || "unexpected failure"}): it must be writable`;
    throw new CacheError("PERMISSION_DENIED", message, { cause: error });
  }
  if (!("holder" in lock)) return lock.release;
  throw new CacheError(
    "FAILED_PRECONDITION",
    `${directory} is in use by process ${lock.holder}: choose a directory for each pool`,
  );
}
