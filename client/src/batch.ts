import { MAX_REQUEST_BYTES } from "@frontcache/proto";

/** Maximum items of one request. */
const MOST_ITEMS = 1_000;
/** Maximum bytes of the items' names; the rest of the message limit is for other fields. */
const MOST_BYTES = MAX_REQUEST_BYTES / 2;
/** Encoding overhead per item, bytes. */
const ITEM_BYTES = 32;

/** Groups items into requests no larger than a member accepts. */
export class Batch<Item> {
  #items: Item[] = [];
  #bytes = 0;

  /** Adds an item with `nameBytes` bytes of names. If the current request is full, returns its items and starts a new one. */
  add(item: Item, nameBytes: number): readonly Item[] | undefined {
    const bytes = nameBytes + ITEM_BYTES;
    const isFull = this.#items.length === MOST_ITEMS || this.#bytes + bytes > MOST_BYTES;
    const full = isFull && this.#items.length > 0 ? this.take() : undefined;
    this.#items.push(item);
    this.#bytes += bytes;
    return full;
  }

  /** Returns the items added since the last request, and starts a new one. */
  take(): readonly Item[] {
    const items = this.#items;
    this.#items = [];
    this.#bytes = 0;
    return items;
  }
}
