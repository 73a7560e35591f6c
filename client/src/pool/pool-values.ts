import { randomUUID } from "node:crypto";
import { CacheError } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import type { Codec } from "./codec.js";
import { Entry } from "./entry.js";
import { TwoSegmentLru } from "./two-segment-lru.js";
import type { ValueDirectory } from "./value-directory.js";
import { WriteBacklog } from "./write-backlog.js";

/** The memory that a pool's values may take: a number of values, or bytes by the caller's own measure. */
export type PoolBudget<T> = { readonly items: number } | { readonly bytes: number; readonly sizeOf: (value: T) => number };

export interface PoolValuesOptions<T> {
  readonly directory: ValueDirectory;
  readonly codec: Codec<T>;
  readonly budget: PoolBudget<T>;
  /** Returns a key that no value had before. Default: a random UUID. */
  readonly newKey?: (() => string) | undefined;
}

/** The values of a pool: which of them are in memory, which in files, and what runs in the background. */
export class PoolValues<T> {
  readonly directory: ValueDirectory;
  readonly #codec: Codec<T>;
  readonly #newKey: () => string;
  readonly #weigh: (value: T) => number;
  readonly #recent: TwoSegmentLru<Entry<T>>;
  readonly #backlog: WriteBacklog<T>;
  readonly #byKey = new Map<string, Entry<T>>();
  /** Running registrations and removals of files by key: a key is linked again only after its removal. */
  readonly #registering = new Map<string, Promise<Entry<T> | undefined>>();
  readonly #removing = new Map<string, Promise<void>>();
  readonly #closing = new AbortController();

  constructor({ directory, codec, budget, newKey = randomKey }: PoolValuesOptions<T>) {
    this.directory = directory;
    this.#newKey = newKey;
    this.#codec = codec;
    this.#weigh = "items" in budget ? () => 1 : (value) => checkedSize(budget.sizeOf(value));
    this.#recent = new TwoSegmentLru("items" in budget ? budget.items : budget.bytes);
    this.#backlog = new WriteBacklog((entry) => this.store(entry));
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** Values in memory by the budget, their weight, and values in memory beyond it because they are being written. */
  get memory(): { readonly values: number; readonly weight: number; readonly unwritten: number } {
    return { values: this.#recent.size, weight: this.#recent.weight, unwritten: this.#backlog.size };
  }

  /** Adds a value; waits while too many others wait for their write. RESOURCE_EXHAUSTED, UNAVAILABLE: they cannot be written. */
  async insert(value: T, signal?: AbortSignal): Promise<Entry<T>> {
    await this.#room(signal);
    const entry = new Entry<T>(this.#newKey());
    this.#admit(entry, value);
    this.#byKey.set(entry.key, entry);
    return entry;
  }

  /** Links a persisted value into the pool, without loading it. Undefined if `from` does not have it. */
  async register(from: ValueDirectory, key: string): Promise<Entry<T> | undefined> {
    this.#checkOpen();
    const known = this.#byKey.get(key);
    if (known !== undefined) {
      known.handles++;
      return known;
    }
    const running = this.#registering.get(key);
    if (running !== undefined) {
      await running.catch(() => undefined);
      return this.register(from, key);
    }
    const registering = this.#link(from, key).finally(() => this.#registering.delete(key));
    this.#registering.set(key, registering);
    return registering;
  }

  async #link(from: ValueDirectory, key: string): Promise<Entry<T> | undefined> {
    await this.#removing.get(key);
    if (!(await this.directory.linkFrom(from, key))) return undefined;
    const entry = new Entry<T>(key);
    entry.isStored = true;
    this.#byKey.set(key, entry);
    return entry;
  }

  /** Begins a use of a value in memory. Undefined: it is not in memory, or has an owner. */
  useNow(entry: Entry<T>): { readonly value: T } | undefined {
    this.#checkOpen();
    if (entry.isOwned || entry.memory === undefined) return undefined;
    entry.useNow();
    this.#touch(entry);
    return entry.memory;
  }

  /** Begins a use, and reads the value if it is not in memory. Concurrent uses share one read, which a signal does not end. */
  async use(entry: Entry<T>, signal?: AbortSignal): Promise<{ readonly value: T }> {
    this.#checkOpen();
    signal?.throwIfAborted();
    await entry.use(signal);
    try {
      return await this.#loaded(entry, signal);
    } catch (error) {
      this.endUse(entry);
      throw error;
    }
  }

  endUse(entry: Entry<T>): void {
    entry.endUse();
    this.#forget(entry);
  }

  /**
   * Makes the caller the only one who uses the value, reads it, and gives it a new key: the old file is removed, and a link to it
   * stays as it is. Undefined, without an effect, if the value has several handles, or `isCurrent` says that it is not the caller's any
   * more.
   */
  async own(entry: Entry<T>, isCurrent: () => boolean, signal?: AbortSignal): Promise<{ readonly value: T } | undefined> {
    await this.#room(signal);
    await entry.own(signal);
    try {
      const memory = await this.#loaded(entry, signal);
      checkKept(entry);
      if (entry.handles > 1 || !isCurrent()) {
        this.endOwnership(entry, memory.value);
        return undefined;
      }
      this.#recent.remove(entry);
      this.#backlog.remove(entry);
      this.#byKey.delete(entry.key);
      this.#removeFile(entry);
      entry.key = this.#newKey();
      this.#byKey.set(entry.key, entry);
      return memory;
    } catch (error) {
      entry.endOwnership();
      throw error;
    }
  }

  /** Ends the ownership with the value that the owner left. */
  endOwnership(entry: Entry<T>, value: T): void {
    entry.endOwnership();
    this.#recent.remove(entry);
    this.#admit(entry, value);
  }

  /** Makes a value of its own from a copy of another's: encoded and decoded. */
  async copy(value: T, signal?: AbortSignal): Promise<Entry<T>> {
    const bytes = Buffer.from(await this.#codec.encode(value));
    return this.insert(await this.#codec.decode(bytes), signal);
  }

  /** Writes the value's file if it has none. The caller uses the value. */
  async store(entry: Entry<T>): Promise<void> {
    if (entry.isStored || entry.isOwned || entry.memory === undefined) return;
    entry.writing ??= this.#write(entry, entry.memory.value).finally(() => {
      entry.writing = undefined;
      this.endUse(entry);
    });
    await entry.writing;
  }

  /** The value lost its last handle: forgets it and removes its file. */
  drop(entry: Entry<T>): void {
    if (this.#byKey.get(entry.key) === entry) this.#byKey.delete(entry.key);
    this.#recent.remove(entry);
    this.#backlog.remove(entry);
    this.#removeFile(entry);
  }

  /** Waits until no write and no removal of a file runs or waits. */
  async finished(): Promise<void> {
    await this.#backlog.idle();
    while (this.#removing.size > 0) await Promise.all(this.#removing.values());
  }

  /** Ends everything that runs, and removes all files. */
  async close(): Promise<void> {
    this.#closing.abort(new CacheError("FAILED_PRECONDITION", `the pool of ${this.directory.path} is closed`));
    this.#backlog.clear();
    await this.#backlog.idle();
    await Promise.allSettled(this.#registering.values());
    const entries = [...this.#byKey.values()];
    for (const entry of entries) this.drop(entry);
    this.#recent.clear();
    await this.finished();
  }

  /** Puts a value into memory, and others out of it. The budget does not count values that nobody can ask for. */
  #admit(entry: Entry<T>, value: T): void {
    entry.memory = { value };
    if (entry.handles === 0 || this.#closing.signal.aborted) return;
    for (const evicted of this.#recent.add(entry, this.#weigh(value))) this.#evict(evicted);
  }

  #touch(entry: Entry<T>): void {
    if (this.#recent.has(entry)) this.#recent.hit(entry);
    else if (entry.memory !== undefined) this.#admit(entry, entry.memory.value);
  }

  #evict(entry: Entry<T>): void {
    if (entry.isStored) this.#forget(entry);
    else this.#backlog.add(entry);
  }

  /** Frees the memory of a value that is out of the budget, stored and unused. */
  #forget(entry: Entry<T>): void {
    if (entry.isStored && !entry.isUsed && !entry.isOwned && !this.#recent.has(entry)) entry.memory = undefined;
  }

  async #loaded(entry: Entry<T>, signal: AbortSignal | undefined): Promise<{ readonly value: T }> {
    checkKept(entry);
    if (entry.memory === undefined) {
      entry.reading ??= this.#read(entry);
      await (signal === undefined ? entry.reading : untilAborted(entry.reading, signal));
    } else if (!entry.isOwned) this.#touch(entry);
    return entry.memory!;
  }

  async #read(entry: Entry<T>): Promise<void> {
    entry.useNow();
    try {
      const bytes = await this.directory.read(entry.key);
      this.#admit(entry, await this.#codec.decode(bytes));
    } finally {
      entry.reading = undefined;
      this.endUse(entry);
    }
  }

  async #write(entry: Entry<T>, value: T): Promise<void> {
    entry.useNow();
    let bytes: Uint8Array;
    try {
      bytes = await this.#codec.encode(value);
    } catch (error) {
      throw new CacheError("INVALID_ARGUMENT", `value ${entry.key} can't be encoded: dispose of it`, { cause: error });
    }
    await this.directory.create(entry.key, bytes);
    entry.isStored = true;
  }

  /** Removes a value's file in the background, after a running read or write of it. */
  #removeFile(entry: Entry<T>): void {
    const { key, reading, writing } = entry;
    if (!entry.isStored && writing === undefined) return;
    entry.isStored = false;
    const removing = Promise.allSettled([reading, writing])
      .then(() => this.directory.remove(key))
      // It stays until the pool is closed or opened again; its key is never used for another value.
      .catch(() => undefined)
      .finally(() => this.#removing.delete(key));
    this.#removing.set(key, removing);
  }

  #room(signal: AbortSignal | undefined): Promise<void> {
    this.#checkOpen();
    const { signal: closing } = this.#closing;
    return this.#backlog.room(signal === undefined ? closing : AbortSignal.any([closing, signal]));
  }

  #checkOpen(): void {
    if (this.#closing.signal.aborted) throw this.#closing.signal.reason;
  }
}

/** Throws FAILED_PRECONDITION if the value has lost its last handle. */
function checkKept(entry: Entry<unknown>): void {
  if (entry.handles > 0) return;
  throw new CacheError(
    "FAILED_PRECONDITION",
    `the handle of value ${entry.key} was disposed of: keep it while you load the value`,
  );
}

/** Returns a size in bytes. Throws INVALID_ARGUMENT for any other number. */
function checkedSize(bytes: number): number {
  if (Number.isFinite(bytes) && bytes >= 0) return bytes;
  throw new CacheError("INVALID_ARGUMENT", `sizeOf returned ${bytes}: return the bytes that the value takes in memory`);
}

function randomKey(): string {
  return randomUUID().replaceAll("-", "");
}
