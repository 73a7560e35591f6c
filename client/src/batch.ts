import { MAX_REQUEST_BYTES } from "@frontcache/proto";

/** Things that one request names. */
const MOST_ITEMS = 1_000;
/** Of their names; the other half is for all else that a request says. */
const MOST_BYTES = MAX_REQUEST_BYTES / 2;
/** What the wire takes for each beside its name. */
const ITEM_BYTES = 32;

/** Gathers things for requests, of which each takes as many as a member receives in one. */
export class Batch<Item> {
  #items: Item[] = [];
  #bytes = 0;

  /** Takes an item whose names have so many bytes. Returns the items before it, where they make a request. */
  add(item: Item, nameBytes: number): readonly Item[] | undefined {
    const bytes = nameBytes + ITEM_BYTES;
    const isFull = this.#items.length === MOST_ITEMS || this.#bytes + bytes > MOST_BYTES;
    const full = isFull && this.#items.length > 0 ? this.take() : undefined;
    this.#items.push(item);
    this.#bytes += bytes;
    return full;
  }

  /** Returns what has been gathered since the last request; it begins anew. */
  take(): readonly Item[] {
    const items = this.#items;
    this.#items = [];
    this.#bytes = 0;
    return items;
  }
}
