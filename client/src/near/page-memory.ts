/** Bytes of a page: the unit in which the near cache keeps and requests bytes. */
export const PAGE_BYTES = 64 << 10;

/** Pages are allocated by the slab, because each buffer costs the garbage collector something. */
const SLAB_PAGES = 64;

/** Memory of a fixed number of pages, outside the JavaScript heap. It grows by slabs, and is kept until the cache is closed. */
export class PageMemory {
  readonly #mostPages: number;
  #allocated = 0;
  #free: Buffer[] = [];

  /** `bytes` is at least one page. */
  constructor(bytes: number) {
    this.#mostPages = Math.floor(bytes / PAGE_BYTES);
  }

  /** Returns a page with undefined contents; undefined if all are in use. */
  take(): Buffer | undefined {
    return this.#free.pop() ?? this.#grow();
  }

  /** Returns a page. Its bytes must not be used any more. */
  give(page: Buffer): void {
    this.#free.push(page);
  }

  #grow(): Buffer | undefined {
    const pages = Math.min(SLAB_PAGES, this.#mostPages - this.#allocated);
    if (pages === 0) return undefined;
    const slab = Buffer.allocUnsafeSlow(pages * PAGE_BYTES);
    this.#allocated += pages;
    for (let page = 0; page < pages; page++) this.#free.push(slab.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
    return this.#free.pop();
  }
}
