import {
  type BlockId,
  type BucketRef,
  CacheError,
  type MemberList,
  type ObjectRef,
  outOfRange,
  type PrefixRef,
  WarmProgress,
} from "@frontcache/proto";
import type { Reader } from "../api/reader.js";
import type { WarmedBlock, WarmRequest } from "../cache/block-warmer.js";
import type { ObjectRead } from "../cache/object-read.js";
import type { Listing, ListPage } from "../origin/origin.js";
import type { ReadRequest } from "../routing/router.js";
import type { WarmingRequest } from "../routing/warming.js";
import type { Slice } from "../runtime/slice.js";
import type { EvictReport } from "../storage/storage-report.js";

/**
 * The one fake of Reader: objects in memory. It counts what is borrowed from it, and spoils every slice's bytes at its
 * release, as reused memory would.
 */
export class MemoryReader implements Reader {
  readonly objects = new Map<string, Buffer>();
  /** Bytes of a slice. */
  sliceBytes = 1 << 20;
  /** What `next` does before it answers with the slice at this offset, if anything. */
  beforeSlice: ((offset: number, signal: AbortSignal) => Promise<void> | void) | undefined;
  /** What every method does first, if anything. */
  beforeAnswer: ((signal: AbortSignal | undefined) => Promise<void> | void) | undefined;
  readonly requests: ReadRequest[] = [];
  readonly memberListeners = new Set<(list: MemberList) => void>();
  /** What `watchMembers` begins with. */
  memberList: MemberList = { members: [], hash: "", blockBytes: 1, name: "self" };
  /** What every page of a listing is; buckets are those that hold an object. */
  listing: Listing = { objects: [], prefixes: [] };
  readonly lists: { readonly ref: PrefixRef; readonly page: ListPage }[] = [];
  readonly evictions: Parameters<Reader["evict"]>[0][] = [];
  readonly warmings: WarmingRequest[] = [];
  readonly warmedBlocks: WarmRequest[] = [];
  readonly touched: BlockId[] = [];
  openReads = 0;
  openSlices = 0;
  slicesGiven = 0;

  read(request: ReadRequest): ObjectRead | Promise<ObjectRead> {
    this.requests.push(request);
    const first = this.beforeAnswer?.(request.signal);
    return first === undefined ? this.#open(request) : first.then(() => this.#open(request));
  }

  async stat(ref: ObjectRef, version: string | undefined, signal: AbortSignal) {
    await this.beforeAnswer?.(signal);
    const { length } = this.#find(ref);
    return { info: { version: version ?? "v1", objectSize: length, contentType: "text/plain" }, heldBytes: length };
  }

  async list(ref: PrefixRef, page: ListPage, signal: AbortSignal): Promise<Listing> {
    await this.statBucket(ref, signal);
    this.lists.push({ ref, page });
    return this.listing;
  }

  async statBucket({ url, scheme, bucket }: BucketRef, signal: AbortSignal): Promise<void> {
    await this.beforeAnswer?.(signal);
    const holdsAny = [...this.objects.keys()].some((name) => name.startsWith(`${scheme}://${bucket}/`));
    if (!holdsAny) throw new CacheError("NOT_FOUND", `${url}: no such bucket`);
  }

  async evict(selector: Parameters<Reader["evict"]>[0], signal: AbortSignal): Promise<EvictReport> {
    await this.beforeAnswer?.(signal);
    this.evictions.push(selector);
    return { blocks: 2, bytes: 3 };
  }

  async warm(request: WarmingRequest, tell: (progress: WarmProgress) => Promise<void>): Promise<void> {
    this.warmings.push(request);
    for (const { ref } of request.objects) {
      await this.beforeAnswer?.(request.signal);
      await tell(WarmProgress.fromPartial({ key: ref.url, ended: true }));
    }
  }

  async warmBlock(request: WarmRequest): Promise<WarmedBlock> {
    this.warmedBlocks.push(request);
    await this.beforeAnswer?.(request.signal);
    const objectSize = this.#find(request.ref).length;
    return { version: request.version ?? "v1", objectSize, cachedBytes: 1, fetchedBytes: 2 };
  }

  touch(blocks: readonly BlockId[]): number {
    this.touched.push(...blocks);
    return blocks.length;
  }

  ownerOf(ref: ObjectRef): string {
    void this.beforeAnswer?.(undefined);
    return `${ref.bucket}:8080`;
  }

  watchMembers(listener: (list: MemberList) => void): () => void {
    this.memberListeners.add(listener);
    listener(this.memberList);
    return () => this.memberListeners.delete(listener);
  }

  #find(ref: ObjectRef): Buffer {
    const bytes = this.objects.get(ref.url);
    if (bytes === undefined) throw new CacheError("NOT_FOUND", `${ref.url}: no such object`);
    return bytes;
  }

  #open({ ref, offset, length, version, signal }: ReadRequest): ObjectRead {
    const bytes = this.#find(ref);
    if (offset >= bytes.length && offset + length > 0) throw outOfRange(ref.url, offset, bytes.length);
    const end = length === 0 ? bytes.length : Math.min(bytes.length, offset + length);
    let at = offset;
    let open = true;
    this.openReads++;
    const take = (): Slice | undefined => {
      if (at === end) return undefined;
      const slice = this.#lend(bytes.subarray(at, Math.min(end, at + this.sliceBytes)));
      at += slice.bytes.length;
      return slice;
    };
    return {
      info: { version: version ?? "v1", objectSize: bytes.length },
      offset,
      length: end - offset,
      result: "hit",
      next: () => {
        const before = at === end ? undefined : this.beforeSlice?.(at, signal);
        return before === undefined ? take() : before.then(take);
      },
      close: () => {
        if (open) this.openReads--;
        open = false;
      },
    };
  }

  #lend(source: Buffer): Slice {
    const bytes = Buffer.from(source);
    let lent = true;
    this.openSlices++;
    this.slicesGiven++;
    return {
      bytes,
      release: () => {
        if (!lent) throw new Error("a slice was released twice");
        lent = false;
        this.openSlices--;
        bytes.fill(0xee);
      },
    };
  }
}
