import type { CachedBlock } from "./cached-block.js";
import type { EvictionPolicy } from "./eviction/eviction-policy.js";
import type { Space } from "./space.js";
import type { Volume } from "./volume.js";

/** The size of a share of the volumes: bytes, or a fraction of all volumes together, 0 to 1. */
export type ShareSize = { readonly bytes: number } | { readonly fraction: number };

/** A bucket whose space is counted apart. */
export interface BucketShareSetting {
  /** The URL of the bucket: `cache://builds`. */
  readonly url: string;
  /** The most that its objects may use; undefined: as much as all others. */
  readonly size: ShareSize | undefined;
  /** Its objects are evicted neither for other objects nor for newer ones of their own. Requires `size`. */
  readonly isPinned: boolean;
}

/** Usage of a bucket with a share. */
export interface BucketShareStatus {
  readonly url: string;
  readonly usedBytes: number;
  /** The share; undefined: the bucket has none. */
  readonly limitBytes: number | undefined;
  readonly isPinned: boolean;
}

export interface BucketShareOptions extends BucketShareSetting {
  /** Bytes of all volumes; 0 while unknown. */
  readonly totalBytes: () => number;
  /** Maximum number of blocks of a pinned bucket. */
  readonly maxPinnedBlocks: number;
  /** The bucket's own order of eviction. */
  readonly order: EvictionPolicy<CachedBlock>;
}

/** The space of one bucket on all volumes together, and the order in which its own blocks are evicted when its share is used. */
export class BucketShare {
  readonly order: EvictionPolicy<CachedBlock>;
  readonly #options: BucketShareOptions;
  #usedBytes = 0;
  #reservedBytes = 0;

  constructor(options: BucketShareOptions) {
    this.#options = options;
    this.order = options.order;
  }

  get url(): string {
    return this.#options.url;
  }

  get isLimited(): boolean {
    return this.#options.size !== undefined;
  }

  get isPinned(): boolean {
    return this.#options.isPinned;
  }

  /** The most that the bucket may use; Infinity without a share. */
  get limitBytes(): number {
    const { size, totalBytes } = this.#options;
    if (size === undefined) return Number.POSITIVE_INFINITY;
    const total = totalBytes();
    return "bytes" in size ? Math.min(size.bytes, total) : Math.floor(size.fraction * total);
  }

  /** Bytes beyond the share. 0 while the size of the volumes is unknown. */
  get excessBytes(): number {
    return this.#options.totalBytes() === 0 ? 0 : Math.max(0, this.#usedBytes - this.limitBytes);
  }

  /** Whether bytes fit into the share, beside those that are used and reserved. */
  hasRoom(bytes: number): boolean {
    if (this.isPinned && this.order.size >= this.#options.maxPinnedBlocks) return false;
    return this.#usedBytes + this.#reservedBytes + bytes <= this.limitBytes;
  }

  /** Bytes to evict so that `bytes` fit. A few more if writes are small, so that not each of them evicts. */
  excessFor(bytes: number): number {
    const { limitBytes } = this;
    if (limitBytes === Number.POSITIVE_INFINITY) return 0;
    const missing = this.#usedBytes + this.#reservedBytes + bytes - limitBytes;
    const slack = limitBytes / SLACK;
    return missing <= 0 ? 0 : Math.min(this.#usedBytes, missing + (slack > bytes ? slack : 0));
  }

  reserve(bytes: number): boolean {
    if (!this.hasRoom(bytes)) return false;
    this.#reservedBytes += bytes;
    return true;
  }

  unreserve(bytes: number): void {
    this.#reservedBytes -= bytes;
  }

  commit(bytes: number): void {
    this.#reservedBytes -= bytes;
    this.#usedBytes += bytes;
  }

  /** Counts a change of used bytes: a file that was found at the start, or one that was removed. */
  add(bytes: number): void {
    this.#usedBytes += bytes;
  }

  status(): BucketShareStatus {
    const { url, isPinned, limitBytes } = this;
    return { url, usedBytes: this.#usedBytes, limitBytes: this.isLimited ? limitBytes : undefined, isPinned };
  }
}

/** A run evicts a 32nd of the share more than is needed. */
const SLACK = 32;

/** Space of a bucket on a volume: counted by both. */
export class SharedSpace implements Space {
  readonly #volume: Volume;
  readonly #share: BucketShare;

  constructor(volume: Volume, share: BucketShare) {
    this.#volume = volume;
    this.#share = share;
  }

  reserve(bytes: number, files = 0): boolean {
    if (!this.#share.reserve(bytes)) return false;
    if (this.#volume.reserve(bytes, files)) return true;
    this.#share.unreserve(bytes);
    return false;
  }

  unreserve(bytes: number, files = 0): void {
    this.#share.unreserve(bytes);
    this.#volume.unreserve(bytes, files);
  }

  commit(bytes: number): void {
    this.#share.commit(bytes);
    this.#volume.commit(bytes);
  }

  recovered(bytes: number): void {
    this.#share.add(bytes);
    this.#volume.recovered(bytes);
  }

  freed(bytes: number, files = 0): void {
    this.#share.add(-bytes);
    this.#volume.freed(bytes, files);
  }
}

/** Blocks of pinned buckets, as a share of the entries in memory: the rest is for blocks that can be evicted. */
const PINNED_BLOCKS = 0.5;

/** The buckets whose space is counted apart, by the URLs of their objects. */
export class BucketShares implements Iterable<BucketShare> {
  readonly #shares: ReadonlyMap<string, BucketShare>;

  constructor(
    { buckets, maxBlocks }: { readonly buckets: readonly BucketShareSetting[]; readonly maxBlocks: number },
    volumes: readonly Pick<Volume, "limitBytes">[],
    newOrder: () => EvictionPolicy<CachedBlock>,
  ) {
    const totalBytes = (): number => volumes.reduce((sum, { limitBytes }) => sum + limitBytes, 0);
    const pinned = buckets.filter(({ isPinned }) => isPinned).length;
    const maxPinnedBlocks = Math.floor((maxBlocks * PINNED_BLOCKS) / Math.max(1, pinned));
    const shares = buckets.map((bucket) => new BucketShare({ ...bucket, totalBytes, maxPinnedBlocks, order: newOrder() }));
    this.#shares = new Map(shares.map((share) => [share.url, share]));
  }

  /** Returns the share of an object's bucket; undefined: the bucket is not counted apart. */
  of(url: string): BucketShare | undefined {
    if (this.#shares.size === 0) return undefined;
    const slash = url.indexOf("/", url.indexOf("://") + "://".length);
    return slash < 0 ? undefined : this.#shares.get(url.slice(0, slash));
  }

  [Symbol.iterator](): Iterator<BucketShare> {
    return this.#shares.values();
  }
}

/** Keeps a block in two orders of eviction: that of its volume, and that of its bucket. */
export class BothOrders implements EvictionPolicy<CachedBlock> {
  readonly #ofVolume: EvictionPolicy<CachedBlock>;
  readonly #ofBucket: EvictionPolicy<CachedBlock>;

  constructor(ofVolume: EvictionPolicy<CachedBlock>, ofBucket: EvictionPolicy<CachedBlock>) {
    this.#ofVolume = ofVolume;
    this.#ofBucket = ofBucket;
  }

  get size(): number {
    return this.#ofVolume.size;
  }

  add(block: CachedBlock): void {
    this.#ofVolume.add(block);
    this.#ofBucket.add(block);
  }

  recordUse(block: CachedBlock): void {
    this.#ofVolume.recordUse(block);
    this.#ofBucket.recordUse(block);
  }

  remove(block: CachedBlock): void {
    this.#ofVolume.remove(block);
    this.#ofBucket.remove(block);
  }

  victims(): Iterable<CachedBlock> {
    return this.#ofVolume.victims();
  }
}
