/**
 * A map of texts to values that come and go with each request. A `Map` is no good for them, for the reason that LinkedList names. An object
 * without a prototype is a table, too, but V8 reuses it in place of deleted entries, and a new table is not referred to by the old one.
 */
export class TransientMap<Value> {
  readonly #entries = Object.create(null) as Record<string, Value>;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: string): Value | undefined {
    return this.#entries[key];
  }

  has(key: string): boolean {
    return key in this.#entries;
  }

  set(key: string, value: Value): void {
    if (!(key in this.#entries)) this.#size++;
    this.#entries[key] = value;
  }

  /** Returns whether there was a value. */
  delete(key: string): boolean {
    if (!(key in this.#entries)) return false;
    delete this.#entries[key];
    this.#size--;
    return true;
  }

  /** A copy of the values, in no particular order. */
  values(): Value[] {
    return Object.values(this.#entries);
  }
}
