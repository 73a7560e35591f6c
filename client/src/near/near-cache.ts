import { CacheError, outOfRange } from "@frontcache/proto";
import { type Linked, LinkedList } from "@frontcache/proto/runtime";
import type { Clock } from "../members/clock.js";
import type { EvictSelector } from "../members/ports.js";
import type { ClientMetrics } from "../metrics.js";
import { LeasedVersions } from "./leased-versions.js";
import { PAGE_BYTES, PageMemory } from "./page-memory.js";

/** A range of one version of an object. */
export interface NearRange {
  readonly url: string;
  readonly offset: number;
  /** Bytes, at least 1. */
  readonly length: number;
  /** Not empty. */
  readonly version: string;
  /** The target, exactly `length` bytes; undefined: a new buffer. */
  readonly memory?: Buffer | undefined;
}

/** Counts of the near cache since the client was created. */
export interface NearReport {
  /** Reads whose bytes were all cached, and reads that asked the cluster. */
  readonly hits: number;
  readonly misses: number;
  /** Bytes cached now. */
  readonly cachedBytes: number;
}

/** One version of an object with cached pages. */
interface CachedObject {
  readonly key: string;
  readonly url: string;
  readonly version: string;
  /** Pages by index. */
  readonly pages: Map<number, Page>;
  /** The object's size, once a read has reached its end. */
  size: number | undefined;
}

interface Page extends Linked<Page> {
  readonly object: CachedObject;
  readonly index: number;
  readonly memory: Buffer;
  /** Bytes of the object in it: fewer than a page only at the object's end. */
  readonly bytes: number;
}

/**
 * Recently read pages of objects in the memory of this process. A page belongs to one version of an object, so it never becomes
 * wrong; the least recently used ones are dropped. Which version is current is known by leases of the cluster, or must be asked for.
 */
export class NearCache {
  /** Which versions are current. */
  readonly versions: LeasedVersions;
  readonly #memory: PageMemory;
  readonly #metrics: ClientMetrics | undefined;
  readonly #objects = new Map<string, CachedObject>();
  /** Least recently used first. */
  readonly #used = new LinkedList<Page>();
  #isClosed = false;
  #hits = 0;
  #misses = 0;
  #cachedBytes = 0;

  constructor(bytes: number, metrics: ClientMetrics | undefined, clock: Pick<Clock, "monotonicMs">) {
    this.versions = new LeasedVersions(clock);
    this.#memory = new PageMemory(bytes);
    this.#metrics = metrics;
  }

  get report(): NearReport {
    return { hits: this.#hits, misses: this.#misses, cachedBytes: this.#cachedBytes };
  }

  /** Returns the bytes if all are cached. */
  find(range: NearRange): Buffer | undefined {
    const object = this.#objects.get(keyOf(range.url, range.version));
    if (object === undefined) return undefined;
    const end = Math.min(range.offset + range.length, object.size ?? Number.POSITIVE_INFINITY);
    if (end <= range.offset) return undefined;
    for (let index = pageOf(range.offset); index <= pageOf(end - 1); index++) if (!object.pages.has(index)) return undefined;
    const bytes = this.#copy(object, range, end);
    this.#hits++;
    this.#metrics?.part("near", bytes.length);
    return bytes;
  }

  /**
   * Reads a range. Requests the bytes from its first missing page to its last page by `fetch`, which returns fewer if the object ends
   * before, and rejects with OUT_OF_RANGE if it ends before they begin.
   */
  async read(range: NearRange, fetch: (offset: number, length: number) => Promise<Buffer>): Promise<Buffer> {
    const cached = this.find(range);
    if (cached !== undefined) return cached;
    this.#misses++;
    const { offset, memory } = range;
    const object = this.#objects.get(keyOf(range.url, range.version));
    const length = Math.min(range.length, (object?.size ?? Number.POSITIVE_INFINITY) - offset);
    if (length <= 0) throw outOfRange(range.url, offset, object!.size!);
    const endPage = pageOf(offset + length - 1) + 1;
    let firstPage = pageOf(offset);
    while (firstPage < endPage - 1 && object?.pages.has(firstPage)) firstPage++;
    const [from, requestedEnd] = [firstPage * PAGE_BYTES, endPage * PAGE_BYTES];
    // The cached pages may be dropped while the others are fetched.
    const whole = from > offset ? (memory ?? Buffer.allocUnsafe(length)) : memory;
    if (from > offset) this.#copy(object!, { ...range, memory: whole }, from);
    let fetched: Buffer;
    try {
      fetched = await fetch(from, requestedEnd - from);
    } catch (error) {
      if (from === offset || !(error instanceof CacheError) || error.code !== "OUT_OF_RANGE") throw error;
      // The object may end where the missing pages begin. Otherwise the error must name the requested offset.
      if (from < offset) return await fetch(offset, length);
      fetched = Buffer.alloc(0);
    }
    this.#keep(range, from, fetched, requestedEnd);
    const size = from + fetched.length;
    if (size <= offset) throw outOfRange(range.url, offset, size);
    const end = Math.min(offset + length, size);
    if (whole === undefined && fetched.length <= 2 * length) return fetched.subarray(offset - from, end - from);
    const result = whole ?? Buffer.allocUnsafe(length);
    fetched.copy(result, Math.max(0, from - offset), Math.max(0, offset - from), end - from);
    return result.subarray(0, end - offset);
  }

  /** Drops the pages of an object, or of all objects with a prefix; of one version if the selector names one. Drops the leases, too. */
  drop(selector: EvictSelector): void {
    this.versions.drop(selector);
    for (const object of this.#objects.values()) {
      const isSelected = "prefix" in selector ? object.url.startsWith(selector.prefix) : object.url === selector.url;
      if (!isSelected || (selector.version ?? object.version) !== object.version) continue;
      for (const page of object.pages.values()) this.#dropPage(page);
    }
  }

  /** Drops everything; nothing is kept afterwards. */
  close(): void {
    this.#isClosed = true;
    this.drop({ prefix: "" });
  }

  /** Copies the bytes before `end`, which are all cached. */
  #copy(object: CachedObject, { offset, memory }: NearRange, end: number): Buffer {
    const result = memory === undefined ? Buffer.allocUnsafe(end - offset) : memory.subarray(0, end - offset);
    for (let at = offset; at < end; ) {
      const page = object.pages.get(pageOf(at))!;
      const start = page.index * PAGE_BYTES;
      at += page.memory.copy(result, at - offset, at - start, Math.min(end - start, page.bytes));
      this.#used.delete(page);
      this.#used.add(page);
    }
    return result;
  }

  /** Keeps fetched bytes, which begin with a page. They are fewer than requested if the object ends there. */
  #keep({ url, version }: NearRange, from: number, fetched: Buffer, requestedEnd: number): void {
    if (this.#isClosed) return;
    const key = keyOf(url, version);
    const end = from + fetched.length;
    for (let at = from; at < end; at += PAGE_BYTES) {
      const memory = this.#memory.take() ?? this.#takeOldest();
      if (memory === undefined) return;
      const index = pageOf(at);
      const known = this.#objects.get(key)?.pages.get(index);
      if (known !== undefined) this.#dropPage(known);
      // Dropping its last page has dropped the object.
      const object = this.#objects.get(key) ?? { key, url, version, pages: new Map(), size: undefined };
      this.#objects.set(key, object);
      const bytes = Math.min(PAGE_BYTES, end - at);
      fetched.copy(memory, 0, at - from, at - from + bytes);
      const page: Page = { object, index, memory, bytes, previous: undefined, next: undefined };
      object.pages.set(index, page);
      this.#used.add(page);
      this.#cachedBytes += bytes;
    }
    const object = this.#objects.get(key);
    if (object !== undefined && end < requestedEnd) object.size = end;
  }

  #takeOldest(): Buffer | undefined {
    const oldest = this.#used.first;
    if (oldest === undefined) return undefined;
    this.#dropPage(oldest);
    return this.#memory.take();
  }

  #dropPage(page: Page): void {
    const { object } = page;
    this.#used.delete(page);
    object.pages.delete(page.index);
    if (object.pages.size === 0) this.#objects.delete(object.key);
    this.#cachedBytes -= page.bytes;
    this.#memory.give(page.memory);
  }
}

function keyOf(url: string, version: string): string {
  return `${version}\n${url}`;
}

function pageOf(offset: number): number {
  return Math.floor(offset / PAGE_BYTES);
}
