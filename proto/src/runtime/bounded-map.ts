/** A map of at most `capacity` entries. A new entry displaces the least recently used one. */
export class BoundedMap<Key, Value> {
  readonly #capacity: number;
  readonly #onDisplaced: ((key: Key, value: Value) => void) | undefined;
  /** In order of use, the least recently used entry first. */
  readonly #entries = new Map<Key, Value>();

  /** `onDisplaced` is called with each entry that a new one displaces, not with those that are deleted or replaced. */
  constructor(capacity: number, onDisplaced?: (key: Key, value: Value) => void) {
    this.#capacity = capacity;
    this.#onDisplaced = onDisplaced;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Returns the value of the key. Counts as a use. */
  get(key: Key): Value | undefined {
    const value = this.#entries.get(key);
    if (value !== undefined) {
      this.#entries.delete(key);
      this.#entries.set(key, value);
    }
    return value;
  }

  /** Returns the value of the key. Does not count as a use. */
  peek(key: Key): Value | undefined {
    return this.#entries.get(key);
  }

  has(key: Key): boolean {
    return this.#entries.has(key);
  }

  /** Sets the value of the key. Counts as a use. */
  set(key: Key, value: Value): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= this.#capacity) return;
    const [oldestKey, oldest] = this.#entries.entries().next().value!;
    this.#entries.delete(oldestKey);
    this.#onDisplaced?.(oldestKey, oldest);
  }

  delete(key: Key): boolean {
    return this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
  }

  /** Iterates from the least recently used entry. Entries may be deleted meanwhile. */
  [Symbol.iterator](): IterableIterator<[Key, Value]> {
    return this.#entries[Symbol.iterator]();
  }
}
