import { CacheError, outOfRange } from "@frontcache/proto";
import { type Linked, LinkedList } from "@frontcache/proto/runtime";
import type { Clock } from "../members/clock.js";
import type { CallLimits, EvictSelector } from "../members/ports.js";
import type { ClientMetrics } from "../metrics.js";
import type { RequestedRange } from "../read-range.js";
import type { DiskBytes, NearDisk, NearDiskReport } from "./disk/near-disk.js";
import { LeasedVersions } from "./leased-versions.js";
import { PAGE_BYTES, PageMemory } from "./page-memory.js";
import { PageTarget } from "./page-target.js";

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
  /** Called with the object's size before the result is complete. */
  readonly onSize?: ((objectSize: number) => void) | undefined;
}

/** Counts of the near cache since the client was created. */
export interface NearReport {
  /** Reads whose bytes were all in memory, and reads that asked the cluster. */
  readonly hits: number;
  readonly misses: number;
  /** Reads of which bytes came from the disk, and none from the cluster. */
  readonly diskHits: number;
  /** Bytes in memory now. */
  readonly cachedBytes: number;
  /** Counts of the disk; undefined without `near.disk`. */
  readonly disk?: NearDiskReport | undefined;
}

export interface NearCacheOptions {
  readonly memoryBytes: number;
  /** Has the pages that memory has no room for. The near cache closes it. */
  readonly disk?: NearDisk | undefined;
  readonly metrics: ClientMetrics | undefined;
  readonly clock: Pick<Clock, "monotonicMs">;
}

/** Requests a range from the cluster: fewer bytes if the object ends before, OUT_OF_RANGE if it ends before they begin. */
export type FetchRange = (range: RequestedRange) => Promise<Buffer>;

/** One version of an object with cached pages. */
interface CachedObject {
  readonly key: string;
  readonly url: string;
  readonly version: string;
  /** Pages by index. */
  readonly pages: Map<number, Page>;
  /** The object's size. */
  readonly size: number;
}

interface Page extends Linked<Page> {
  readonly object: CachedObject;
  readonly index: number;
  readonly memory: Buffer;
  /** Bytes of the object in it: fewer than a page only at the object's end. */
  readonly bytes: number;
}

/** Pages that were read from the disk. */
interface FoundOnDisk extends DiskBytes {
  /** Whether they are all pages of the read. */
  readonly isComplete: boolean;
}

/**
 * Recently read pages of objects in the memory of this process, and on a local disk. A page belongs to one version of an object, so it
 * never becomes wrong; the least recently used ones are dropped. Which version is current is known by leases of the cluster, or must be
 * asked for.
 */
export class NearCache {
  /** Which versions are current. */
  readonly versions: LeasedVersions;
  readonly #memory: PageMemory;
  readonly #disk: NearDisk | undefined;
  readonly #metrics: ClientMetrics | undefined;
  readonly #objects = new Map<string, CachedObject>();
  /** Least recently used first. */
  readonly #used = new LinkedList<Page>();
  #isClosed = false;
  #hits = 0;
  #misses = 0;
  #diskHits = 0;
  #cachedBytes = 0;

  constructor({ memoryBytes, disk, metrics, clock }: NearCacheOptions) {
    this.versions = new LeasedVersions(clock);
    this.#memory = new PageMemory(memoryBytes);
    this.#disk = disk;
    this.#metrics = metrics;
  }

  get report(): NearReport {
    const counts = { hits: this.#hits, misses: this.#misses, diskHits: this.#diskHits, cachedBytes: this.#cachedBytes };
    return this.#disk === undefined ? counts : { ...counts, disk: this.#disk.report };
  }

  /** Returns the bytes if all are cached. */
  find(range: NearRange): Buffer | undefined {
    const object = this.#objects.get(keyOf(range.url, range.version));
    if (object === undefined) return undefined;
    const end = Math.min(range.offset + range.length, object.size);
    if (end <= range.offset) return undefined;
    for (let index = pageOf(range.offset); index <= pageOf(end - 1); index++) if (!object.pages.has(index)) return undefined;
    const bytes = this.#copy(object, range, end);
    range.onSize?.(object.size);
    this.#hits++;
    this.#metrics?.part("near", bytes.length);
    return bytes;
  }

  /**
   * Reads a range. The bytes from its first page that is not in memory to its last page are read from the disk, or requested by
   * `fetch`.
   */
  async read(range: NearRange, fetch: FetchRange, limits: CallLimits): Promise<Buffer> {
    const cached = this.find(range);
    if (cached !== undefined) return cached;
    const { url, version, offset, memory } = range;
    const object = this.#objects.get(keyOf(url, version));
    const length = Math.min(range.length, (object?.size ?? Number.POSITIVE_INFINITY) - offset);
    if (length <= 0) throw outOfRange(url, offset, object!.size);
    const endPage = pageOf(offset + length - 1) + 1;
    let firstPage = pageOf(offset);
    while (firstPage < endPage - 1 && object?.pages.has(firstPage)) firstPage++;
    const [from, end] = [firstPage * PAGE_BYTES, endPage * PAGE_BYTES];
    const target = new PageTarget({ offset, length, memory, from, end, objectSize: object?.size });
    // The cached pages may be dropped while the others are fetched.
    if (from > offset) this.#copy(object!, { ...range, memory: target.result(object!.size) }, from);
    const found = await this.#readDisk(range, target, limits);
    return found?.isComplete ? resultOf(range, target, found.objectSize) : await this.#fetchRest(range, target, found, fetch);
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

  /** As `drop`, also on the disk. */
  async evict(selector: EvictSelector): Promise<void> {
    this.drop(selector);
    await this.#disk?.evict(selector);
  }

  /** Drops what is in memory; nothing is kept afterwards. Resolves when the disk has what it was to keep. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.drop({ prefix: "" });
    await this.#disk?.close();
  }

  /** Reads pages from the disk; undefined if it does not have the first one. */
  async #readDisk(range: NearRange, target: PageTarget, limits: CallLimits): Promise<FoundOnDisk | undefined> {
    const found = await this.#disk?.read(range, target, limits);
    if (found === undefined) return undefined;
    const { readBytes, objectSize } = found;
    this.#metrics?.part("near-disk", readBytes);
    const readEnd = target.from + readBytes;
    for (let at = target.from; at < readEnd; ) {
      const end = Math.min(readEnd, target.contiguousEnd(at));
      this.#keep(range, at, target.place(at, end - at, objectSize), objectSize);
      at = end;
    }
    target.copyEdges(readEnd, objectSize);
    const isComplete = readEnd >= Math.min(target.end, objectSize);
    if (isComplete) this.#diskHits++;
    return { ...found, isComplete };
  }

  /** Requests the pages that the disk does not have. */
  async #fetchRest(range: NearRange, target: PageTarget, found: FoundOnDisk | undefined, fetch: FetchRange): Promise<Buffer> {
    this.#misses++;
    const { url, version, offset, length } = range;
    const from = target.from + (found?.readBytes ?? 0);
    const memory = target.rest(from);
    let objectSize = 0;
    const onSize = (bytes: number): void => {
      objectSize = bytes;
    };
    let fetched: Buffer;
    try {
      fetched = await fetch({ url, version, offset: from, length: memory?.length ?? target.end - from, memory, onSize });
    } catch (error) {
      // The error must name the requested offset.
      const isBehindEnd = from < offset && error instanceof CacheError && error.code === "OUT_OF_RANGE";
      if (isBehindEnd) return await fetch({ url, version, offset, length, memory: range.memory });
      throw error;
    }
    if (!this.#isClosed) this.#disk?.keep({ url, version, objectSize }, from, fetched);
    this.#keep(range, from, fetched, objectSize);
    const end = Math.min(offset + length, objectSize);
    // Without a copy, if not much more memory is kept by it than was requested.
    if (!target.isAllocated && from <= offset && end > offset && fetched.length <= 2 * (end - offset)) {
      range.onSize?.(objectSize);
      return fetched.subarray(offset - from, end - from);
    }
    if (memory === undefined) target.copy(fetched, from, objectSize);
    return resultOf(range, target, objectSize);
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

  /** Keeps bytes in memory, which begin with a page. */
  #keep({ url, version }: NearRange, from: number, fetched: Buffer, size: number): void {
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
      const object = this.#objects.get(key) ?? { key, url, version, pages: new Map(), size };
      this.#objects.set(key, object);
      const bytes = Math.min(PAGE_BYTES, end - at);
      fetched.copy(memory, 0, at - from, at - from + bytes);
      const page: Page = { object, index, memory, bytes, previous: undefined, next: undefined };
      object.pages.set(index, page);
      this.#used.add(page);
      this.#cachedBytes += bytes;
    }
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

/** The result of a read all of whose bytes are in its memory. Throws OUT_OF_RANGE if the object ends before them. */
function resultOf({ url, offset, onSize }: NearRange, target: PageTarget, objectSize: number): Buffer {
  if (objectSize <= offset) throw outOfRange(url, offset, objectSize);
  onSize?.(objectSize);
  return target.result(objectSize);
}

function keyOf(url: string, version: string): string {
  return `${version}\n${url}`;
}

function pageOf(offset: number): number {
  return Math.floor(offset / PAGE_BYTES);
}
