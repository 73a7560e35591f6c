import { CacheError } from "@frontcache/proto";
import type { Entry } from "./entry.js";
import type { PersistedValues } from "./persisted-values.js";
import type { PoolValues } from "./pool-values.js";

export interface LoadOptions {
  /** Aborts the wait, with CANCELLED or DEADLINE_EXCEEDED. A read that others wait for continues. */
  readonly signal?: AbortSignal | undefined;
}

/** What a handle, or a loaded value, still has to release. It outlives them until the garbage collector has found them. */
interface Holding<T> {
  readonly values: PoolValues<T>;
  entry: Entry<T>;
  isReleased: boolean;
}

/** Releases what callers forgot to dispose of. */
const forgotten = new FinalizationRegistry<() => void>((release) => release());

/**
 * A handle to a value of a pool, which is in memory or in a file until somebody loads it. The value lives until its last handle is
 * disposed of; then its file is removed in the background. A handle that is garbage-collected counts as disposed of, sooner or later.
 *
 * @example
 * using loaded = await handle.load();
 * console.log(loaded.value.length);
 */
export class Pooled<T> implements Disposable {
  readonly #holding: Holding<T>;
  #separating: Promise<void> | undefined;

  /** Only pools make handles. @internal */
  constructor(values: PoolValues<T>, entry: Entry<T>) {
    const holding = { values, entry, isReleased: false };
    this.#holding = holding;
    forgotten.register(this, () => releaseHandle(holding), holding);
  }

  /** The value's key: 32 hexadecimal digits. `loadMutable` changes it. */
  get key(): string {
    return this.#holding.entry.key;
  }

  /** Returns another handle to the same value. FAILED_PRECONDITION while the value is being changed. */
  clone(): Pooled<T> {
    const { values, entry } = this.#checked();
    if (entry.isOwned) {
      throw new CacheError("FAILED_PRECONDITION", `value ${entry.key} is being changed: clone its handle before or after`);
    }
    entry.handles++;
    return new Pooled(values, entry);
  }

  /** Loads the value. It stays in memory until the result is disposed of. NOT_FOUND if its file was removed or changed by somebody else. */
  async load({ signal }: LoadOptions = {}): Promise<Loaded<T>> {
    const { values, entry } = this.#checked();
    const { value } = await values.use(entry, signal);
    return new Loaded(values, entry, value);
  }

  /** Returns the value if it is in memory and nobody changes it; undefined otherwise. */
  tryLoad(): Loaded<T> | undefined {
    const { values, entry } = this.#checked();
    const memory = values.useNow(entry);
    return memory && new Loaded(values, entry, memory.value);
  }

  /**
   * Loads the value to change it: waits until nobody else uses it, and has others wait until the result is disposed of. The value gets
   * a new key; its old file is removed, and persisted links to it keep the old value. If other handles share the value, they keep it,
   * and this one gets a copy. A caller that has the value loaded itself would wait forever: dispose of that first.
   */
  async loadMutable({ signal }: LoadOptions = {}): Promise<MutableLoaded<T>> {
    for (;;) {
      const { values, entry } = this.#checked();
      if (entry.handles === 1) {
        const memory = await values.own(entry, () => this.#owns(entry), signal);
        if (memory !== undefined) return new MutableLoaded(values, entry, memory.value);
      } else {
        this.#separating ??= this.#separate(signal).finally(() => {
          this.#separating = undefined;
        });
        await this.#separating;
      }
    }
  }

  /**
   * Writes the value's file now, unless it has one. RESOURCE_EXHAUSTED, UNAVAILABLE: the disk is full or broken; the value stays in
   * memory.
   */
  async write({ signal }: LoadOptions = {}): Promise<void> {
    await this.#stored(signal, async () => undefined);
  }

  /**
   * Links the value into a directory of persisted values, writing its file first if needed. Without an effect if it is there. It
   * survives a loss of power after `directory.sync()`.
   */
  async persist(directory: PersistedValues, { signal }: LoadOptions = {}): Promise<void> {
    await this.#stored(signal, ({ values, entry }) => directory.link(values.directory, entry.key));
  }

  [Symbol.dispose](): void {
    forgotten.unregister(this.#holding);
    releaseHandle(this.#holding);
  }

  /** Runs `work` while the value has a file and cannot be changed. */
  async #stored(signal: AbortSignal | undefined, work: (holding: Holding<T>) => Promise<void>): Promise<void> {
    const { values, entry } = this.#checked();
    // The value lives until the work is done, even if the handle is disposed of meanwhile.
    const own = { values, entry, isReleased: false };
    entry.handles++;
    try {
      await entry.use(signal);
      try {
        await values.store(entry);
        await work(own);
      } finally {
        values.endUse(entry);
      }
    } finally {
      releaseHandle(own);
    }
  }

  /** Replaces the shared value by a copy of it. */
  async #separate(signal: AbortSignal | undefined): Promise<void> {
    const { values, entry } = this.#checked();
    const { value } = await values.use(entry, signal);
    try {
      const copied = await values.copy(value, signal);
      if (this.#holding.isReleased) values.drop(copied);
      else {
        this.#holding.entry = copied;
        releaseEntry(values, entry);
      }
    } finally {
      values.endUse(entry);
    }
  }

  /** Whether this handle still is one of the value. */
  #owns(entry: Entry<T>): boolean {
    return this.#holding.entry === entry && !this.#holding.isReleased;
  }

  #checked(): Holding<T> {
    if (!this.#holding.isReleased) return this.#holding;
    throw new CacheError("FAILED_PRECONDITION", `the handle of value ${this.key} is disposed of: clone it before`);
  }
}

/** A value in memory. It must not be changed. */
export class Loaded<T> implements Disposable {
  readonly value: T;
  readonly #holding: Holding<T>;

  /** Only handles load values. @internal */
  constructor(values: PoolValues<T>, entry: Entry<T>, value: T) {
    const holding = { values, entry, isReleased: false };
    this.value = value;
    this.#holding = holding;
    forgotten.register(this, () => endUse(holding), holding);
  }

  [Symbol.dispose](): void {
    forgotten.unregister(this.#holding);
    endUse(this.#holding);
  }
}

/** A value in memory that its only user may change, or replace. */
export class MutableLoaded<T> implements Disposable {
  readonly #holding: Holding<T>;
  readonly #current: { value: T };

  /** Only handles load values. @internal */
  constructor(values: PoolValues<T>, entry: Entry<T>, value: T) {
    const holding = { values, entry, isReleased: false };
    const current = { value };
    this.#holding = holding;
    this.#current = current;
    forgotten.register(this, () => endOwnership(holding, current.value), holding);
  }

  get value(): T {
    return this.#current.value;
  }

  set value(value: T) {
    this.#current.value = value;
  }

  [Symbol.dispose](): void {
    forgotten.unregister(this.#holding);
    endOwnership(this.#holding, this.#current.value);
  }
}

/** Returns whether this is the first release. */
function release(holding: { isReleased: boolean }): boolean {
  if (holding.isReleased) return false;
  holding.isReleased = true;
  return true;
}

function releaseHandle<T>(holding: Holding<T>): void {
  if (release(holding)) releaseEntry(holding.values, holding.entry);
}

function releaseEntry<T>(values: PoolValues<T>, entry: Entry<T>): void {
  entry.handles--;
  if (entry.handles === 0) values.drop(entry);
}

function endUse<T>(holding: Holding<T>): void {
  if (release(holding)) holding.values.endUse(holding.entry);
}

function endOwnership<T>(holding: Holding<T>, value: T): void {
  if (release(holding)) holding.values.endOwnership(holding.entry, value);
}
