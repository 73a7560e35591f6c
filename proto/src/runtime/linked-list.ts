/** What an entry of a LinkedList carries. Only the list writes it. An object is in one list at most. */
export interface Linked<Entry> {
  previous?: Entry | undefined;
  next?: Entry | undefined;
}

/**
 * A set in the order of insertion, for entries that come and go with each request. A `Set` is no good for them: V8 gives it a new table
 * again and again, and each old table refers to the next one. Once one of them is in the old generation, all of them survive until the
 * next full collection, and so does what they refer to. A forwarded read left 3 KB of such garbage behind.
 */
export class LinkedList<Entry extends Linked<Entry>> {
  #first: Entry | undefined;
  #last: Entry | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The entry that was added first; undefined: the list is empty. */
  get first(): Entry | undefined {
    return this.#first;
  }

  has(entry: Entry): boolean {
    return entry.previous !== undefined || this.#first === entry;
  }

  /** Adds the entry at the end, unless it is in the list. */
  add(entry: Entry): void {
    if (this.has(entry)) return;
    entry.previous = this.#last;
    if (this.#last === undefined) this.#first = entry;
    else this.#last.next = entry;
    this.#last = entry;
    this.#size++;
  }

  /** Removes the entry. Returns whether it was in the list. */
  delete(entry: Entry): boolean {
    if (!this.has(entry)) return false;
    const { previous, next } = entry;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    entry.previous = undefined;
    entry.next = undefined;
    this.#size--;
    return true;
  }

  /** Removes the first entry and returns it. */
  shift(): Entry | undefined {
    const first = this.#first;
    if (first !== undefined) this.delete(first);
    return first;
  }
}
