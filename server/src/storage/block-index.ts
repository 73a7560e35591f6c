import { isSameInfo, type ObjectInfo } from "@frontcache/proto";
import type { BlockId } from "./block.js";
import { BothOrders, type BucketShare, type BucketShares, SharedSpace } from "./bucket-share.js";
import type { CachedBlock, VolumeBlocks } from "./cached-block.js";
import { CachedVersion } from "./cached-version.js";
import type { EvictionPolicy } from "./eviction/eviction-policy.js";
import type { HeaderMemory } from "./header-memory.js";
import type { EvictSelector } from "./storage-report.js";
import type { Volume } from "./volume.js";

/** The newest cached version of an object. */
export interface NewestVersion {
  readonly version: string;
  readonly info: ObjectInfo;
  /** Time of the creation of its latest block, milliseconds since 1970. */
  readonly createdAtMs: number;
}

/** The cached blocks: by identity, by object, and per volume and bucket in the order of eviction. */
export class BlockIndex {
  readonly #newOrder: () => EvictionPolicy<CachedBlock>;
  readonly #volumes = new Map<Volume, VolumeBlocks>();
  /** The blocks of each bucket that is counted apart, per volume. */
  readonly #buckets = new Map<BucketShare, Map<Volume, VolumeBlocks>>();
  readonly #shares: BucketShares;
  /** The cached versions of each URL, linked. */
  readonly #objects = new Map<string, CachedVersion>();
  readonly #headers: HeaderMemory;
  #size = 0;

  /** `newOrder` creates the eviction order of one volume. */
  constructor(newOrder: () => EvictionPolicy<CachedBlock>, headers: HeaderMemory, shares: BucketShares) {
    this.#newOrder = newOrder;
    this.#headers = headers;
    this.#shares = shares;
  }

  get size(): number {
    return this.#size;
  }

  /** The blocks of a volume, in the order of their eviction. */
  on(volume: Volume): VolumeBlocks {
    let blocks = this.#volumes.get(volume);
    if (blocks === undefined) {
      blocks = { order: this.#newOrder(), used: new Set(), count: { blocks: 0 }, space: volume };
      this.#volumes.set(volume, blocks);
    }
    return blocks;
  }

  /** The blocks on a volume among which those of an object are counted and evicted: of its bucket, or of all. */
  among(volume: Volume, url: string): VolumeBlocks {
    const share = this.#shares.of(url);
    if (share === undefined) return this.on(volume);
    const onVolumes = this.#buckets.get(share) ?? new Map<Volume, VolumeBlocks>();
    this.#buckets.set(share, onVolumes);
    let blocks = onVolumes.get(volume);
    if (blocks === undefined) {
      const all = this.on(volume);
      // The purger of a volume does not find the blocks of pinned buckets.
      const order = share.isPinned ? share.order : share.isLimited ? new BothOrders(all.order, share.order) : all.order;
      blocks = { ...all, order, space: new SharedSpace(volume, share) };
      onVolumes.set(volume, blocks);
    }
    return blocks;
  }

  /** Whether the blocks of an object are evicted for no other block. */
  isPinned(url: string): boolean {
    return this.#shares.of(url)?.isPinned === true;
  }

  get({ url, version, offset }: BlockId): CachedBlock | undefined {
    return this.#version(url, version)?.get(offset);
  }

  /** Adds a block that the index does not have. Blocks found at the start are added in the order of their last use. */
  add(block: CachedBlock): void {
    this.#size++;
    const { url, version } = block.id;
    block.siblings ??= this.among(block.volume, url);
    block.siblings.order.add(block);
    block.siblings.count.blocks++;
    let cached = this.#version(url, version);
    if (cached === undefined) {
      cached = new CachedVersion(this.#headers.keep(block.info), this.#objects.get(url));
      this.#objects.set(url, cached);
    }
    cached.add(block);
    // Only the file of an object's first block has the object's headers.
    if (cached.info.lacks === "metadata" && block.info.lacks !== "metadata") this.describe(url, block.info);
    block.info = cached.info;
  }

  remove(block: CachedBlock): void {
    const { url, version } = block.id;
    const cached = this.#version(url, version);
    if (cached?.get(block.id.offset) !== block) return;
    this.#size--;
    const { order, used, count } = block.siblings!;
    count.blocks--;
    order.remove(block);
    used.delete(block);
    cached.remove(block);
    if (!cached.isEmpty) return;
    this.#headers.release(cached.info);
    this.#unlink(url, cached);
  }

  #unlink(url: string, cached: CachedVersion): void {
    const first = this.#objects.get(url)!;
    if (first === cached) {
      if (cached.next === undefined) this.#objects.delete(url);
      else this.#objects.set(url, cached.next);
      return;
    }
    let before = first;
    while (before.next !== cached) before = before.next!;
    before.next = cached.next;
  }

  /** Records a use of a block. Ignores blocks that are being removed. */
  recordUse(block: CachedBlock, nowMs: number): void {
    if (block.retired) return;
    block.lastUsedMs = nowMs;
    const { order, used } = block.siblings!;
    order.recordUse(block);
    used.add(block);
  }

  /** Replaces the metadata of a version. Returns its first block if the block's file should be updated. */
  describe(url: string, info: ObjectInfo): CachedBlock | undefined {
    const cached = this.#version(url, info.version);
    if (cached === undefined || cached.info.objectSize !== info.objectSize || isSameInfo(cached.info, info)) return undefined;
    const before = cached.info;
    this.#headers.release(before);
    cached.info = this.#headers.keep(info);
    if (isSameInfo(before, cached.info)) return undefined;
    let first: CachedBlock | undefined;
    for (const block of cached) {
      block.info = cached.info;
      if (first === undefined || block.id.offset < first.id.offset) first = block;
    }
    // The absence of checksums is not worth a write: a later process asks again.
    const isWorthWriting =
      before.lacks === "metadata" || !isSameInfo({ ...before, lacks: "checksums" }, { ...info, lacks: "checksums" });
    return isWorthWriting && cached.info === info ? first : undefined;
  }

  /** Returns the cached version whose latest block was created last. */
  newest(url: string): NewestVersion | undefined {
    let newest: CachedVersion | undefined;
    for (let cached = this.#objects.get(url); cached !== undefined; cached = cached.next) {
      if (newest === undefined || cached.createdAtMs >= newest.createdAtMs) newest = cached;
    }
    return newest && { version: newest.info.version, info: newest.info, createdAtMs: newest.createdAtMs };
  }

  /** Returns the cached bytes of one version of an object. */
  cachedBytes(url: string, version: string): number {
    let bytes = 0;
    for (const block of this.#version(url, version) ?? []) bytes += block.segments.cachedBytes;
    return bytes;
  }

  /** Yields the blocks of a URL, or of every URL that begins with the prefix; of one version or of all. */
  *select({ url, prefix, version }: EvictSelector): Generator<CachedBlock> {
    const urls = url !== undefined ? [url] : prefix !== undefined ? this.#urlsFrom(prefix) : [];
    for (const name of urls) {
      for (const cached of this.#versions(name)) {
        if (version === undefined || version === cached.info.version) yield* cached;
      }
    }
  }

  *#urlsFrom(prefix: string): Generator<string> {
    for (const url of this.#objects.keys()) {
      if (url.startsWith(prefix)) yield url;
    }
  }

  #version(url: string, version: string): CachedVersion | undefined {
    let cached = this.#objects.get(url);
    while (cached !== undefined && cached.info.version !== version) cached = cached.next;
    return cached;
  }

  *#versions(url: string): Generator<CachedVersion> {
    for (let cached = this.#objects.get(url); cached !== undefined; cached = cached.next) yield cached;
  }
}
