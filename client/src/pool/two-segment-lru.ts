/**
 * Chooses the entry to evict: a list in two halves, in the order of their last move. New entries enter the first half; those that
 * leave it enter the second. A hit in the first half moves nothing, a hit in the second moves the entry to the front of the first. So
 * one scan over many values does not push out those that are used again, and most hits cost one lookup.
 */
export class TwoSegmentLru<K> {
  readonly #capacity: number;
  /** Both with their weights, oldest first. */
  readonly #first = new Map<K, number>();
  readonly #second = new Map<K, number>();
  #firstWeight = 0;
  #secondWeight = 0;

  /** `capacity`: the weight of all entries together, in the unit of `add`. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get weight(): number {
    return this.#firstWeight + this.#secondWeight;
  }

  get size(): number {
    return this.#first.size + this.#second.size;
  }

  has(entry: K): boolean {
    return this.#first.has(entry) || this.#second.has(entry);
  }

  /** Adds an entry that is not in the list, at its front. Returns the entries that no longer fit, oldest first. */
  add(entry: K, weight: number): K[] {
    this.#first.set(entry, weight);
    this.#firstWeight += weight;
    return this.#overflow();
  }

  /** Notes a use of an entry. Without an effect if it is not in the list. */
  hit(entry: K): void {
    const weight = this.#second.get(entry);
    if (weight === undefined) return;
    this.#second.delete(entry);
    this.#secondWeight -= weight;
    this.add(entry, weight);
  }

  remove(entry: K): void {
    this.#firstWeight -= this.#first.get(entry) ?? 0;
    this.#first.delete(entry);
    this.#secondWeight -= this.#second.get(entry) ?? 0;
    this.#second.delete(entry);
  }

  clear(): void {
    this.#first.clear();
    this.#second.clear();
    this.#firstWeight = 0;
    this.#secondWeight = 0;
  }

  #overflow(): K[] {
    // An entry that is alone in the first half stays there, so that a capacity of one entry keeps the newest.
    while (this.#firstWeight > this.#capacity / 2 && this.#first.size > 1) {
      const [entry, weight] = oldest(this.#first);
      this.#first.delete(entry);
      this.#firstWeight -= weight;
      this.#second.set(entry, weight);
      this.#secondWeight += weight;
    }
    const evicted: K[] = [];
    while (this.weight > this.#capacity && this.size > 0) {
      const [entry] = oldest(this.#second.size > 0 ? this.#second : this.#first);
      this.remove(entry);
      evicted.push(entry);
    }
    return evicted;
  }
}

function oldest<K>(half: ReadonlyMap<K, number>): [K, number] {
  return half.entries().next().value!;
}
