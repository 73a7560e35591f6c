/** A bound of what the values of a map need together, besides their number. */
export interface Weights<Value> {
  readonly limit: number;
  /** The weight of a value, which never changes. */
  readonly of: (value: Value) => number;
}

/** A map of at most `capacity` entries. A new entry displaces the least recently used ones. */
export class BoundedMap<Key, Value> {
  readonly #capacity: number;
  readonly #onDisplaced: ((key: Key, value: Value) => void) | undefined;
  readonly #weights: Weights<Value> | undefined;
  #weight = 0;
  /** In order of use, the least recently used entry first. */
  readonly #entries = new Map<Key, Value>();
  /** The key that was used last: using it again changes nothing, and need not make garbage of the map's table. */
  #newest: Key | undefined;

  /** `onDisplaced` is called with each entry that a new one displaces, not with those that are deleted or replaced. */
  constructor(capacity: number, onDisplaced?: (key: Key, value: Value) => void, weights?: Weights<Value>) {
    this.#capacity = capacity;
    this.#onDisplaced = onDisplaced;
    this.#weights = weights;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Returns the value of the key. Counts as a use. */
  get(key: Key): Value | undefined {
    const value = this.#entries.get(key);
    if (value !== undefined && key !== this.#newest) {
      this.#entries.delete(key);
      this.#entries.set(key, value);
      this.#newest = key;
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
    this.delete(key);
    this.#entries.set(key, value);
    this.#newest = key;
    this.#weight += this.#weightOf(value);
    while (this.#entries.size > this.#capacity || (this.#isTooHeavy && this.#entries.size > 1)) {
      const [oldestKey, oldest] = this.#entries.entries().next().value!;
      this.delete(oldestKey);
      this.#onDisplaced?.(oldestKey, oldest);
    }
  }

  delete(key: Key): boolean {
    if (this.#weights !== undefined) {
      const value = this.#entries.get(key);
      if (value !== undefined) this.#weight -= this.#weightOf(value);
    }
    if (key === this.#newest) this.#newest = undefined;
    return this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
    this.#newest = undefined;
    this.#weight = 0;
  }

  get #isTooHeavy(): boolean {
    return this.#weights !== undefined && this.#weight > this.#weights.limit;
  }

  #weightOf(value: Value): number {
    return this.#weights === undefined ? 0 : this.#weights.of(value);
  }

  /** Iterates from the least recently used entry. Entries may be deleted meanwhile. */
  [Symbol.iterator](): IterableIterator<[Key, Value]> {
    return this.#entries[Symbol.iterator]();
  }
}
