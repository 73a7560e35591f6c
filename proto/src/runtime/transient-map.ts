/** So many deleted entries may wait for their removal, beside as many as there are values. */
const MOST_DELETED = 256;

/**
 * A map of texts to values that come and go with each request. A plain `Map` is no good for them, for the reason that LinkedList names:
 * V8 replaces its table again and again, and each old table refers to the next one. Here a deleted entry stays without its value. When
 * there are many, the entries move to a new `Map`, and the old one refers to nothing any more.
 */
export class TransientMap<Value extends NonNullable<unknown>> {
  #entries = new Map<string, Value | undefined>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: string): Value | undefined {
    return this.#entries.get(key);
  }

  has(key: string): boolean {
    return this.#entries.get(key) !== undefined;
  }

  set(key: string, value: Value): void {
    if (this.#entries.get(key) === undefined) this.#size++;
    this.#entries.set(key, value);
    if (this.#entries.size > 2 * this.#size + MOST_DELETED) this.#renew();
  }

  /** Returns whether there was a value. */
  delete(key: string): boolean {
    if (this.#entries.get(key) === undefined) return false;
    this.#entries.set(key, undefined);
    this.#size--;
    return true;
  }

  /** A copy of the values, in no particular order. */
  values(): Value[] {
    const values: Value[] = [];
    for (const value of this.#entries.values()) if (value !== undefined) values.push(value);
    return values;
  }

  #renew(): void {
    const before = this.#entries;
    this.#entries = new Map();
    for (const [key, value] of before) {
      if (value === undefined) continue;
      this.#entries.set(key, value);
      before.set(key, undefined);
    }
  }
}
