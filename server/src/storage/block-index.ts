import { isSameInfo, type ObjectInfo } from "@frontcache/proto";
import type { CachedBlock, VolumeBlocks } from "./cached-block.js";
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

interface CachedVersion {
  info: ObjectInfo;
  readonly blocks: Set<CachedBlock>;
  createdAtMs: number;
}

/** The cached blocks: by identity, by object, and per volume in the order of eviction. */
export class BlockIndex {
  readonly #newOrder: () => EvictionPolicy<CachedBlock>;
  readonly #volumes = new Map<Volume, VolumeBlocks>();
  readonly #blocks = new Map<string, CachedBlock>();
  readonly #objects = new Map<string, Map<string, CachedVersion>>();
  readonly #headers: HeaderMemory;

  /** `newOrder` creates the eviction order of one volume. */
  constructor(newOrder: () => EvictionPolicy<CachedBlock>, headers: HeaderMemory) {
    this.#newOrder = newOrder;
    this.#headers = headers;
  }

  get size(): number {
    return this.#blocks.size;
  }

  /** The blocks of a volume, in the order of their eviction. */
  on(volume: Volume): VolumeBlocks {
    let blocks = this.#volumes.get(volume);
    if (blocks === undefined) {
      blocks = { order: this.#newOrder(), used: new Set() };
      this.#volumes.set(volume, blocks);
    }
    return blocks;
  }

  get(key: string): CachedBlock | undefined {
    return this.#blocks.get(key);
  }

  blocks(): IterableIterator<CachedBlock> {
    return this.#blocks.values();
  }

  /** Adds a block. Blocks found at the start are added in the order of their last use. */
  add(block: CachedBlock): void {
    this.#blocks.set(block.key, block);
    block.siblings = this.on(block.volume);
    block.siblings.order.add(block);
    const { url, version } = block.id;
    const versions = this.#objects.get(url) ?? new Map<string, CachedVersion>();
    this.#objects.set(url, versions);
    const cached = versions.get(version) ?? { info: this.#headers.keep(block.info), blocks: new Set(), createdAtMs: 0 };
    versions.set(version, cached);
    cached.blocks.add(block);
    // Only the file of an object's first block has the object's headers.
    if (cached.info.lacks === "metadata" && block.info.lacks !== "metadata") this.describe(url, block.info);
    block.info = cached.info;
    cached.createdAtMs = Math.max(cached.createdAtMs, block.createdAtMs);
  }

  remove(block: CachedBlock): void {
    if (this.#blocks.get(block.key) !== block) return;
    this.#blocks.delete(block.key);
    const { order, used } = this.on(block.volume);
    order.remove(block);
    used.delete(block);
    const { url, version } = block.id;
    const versions = this.#objects.get(url);
    const cached = versions?.get(version);
    cached?.blocks.delete(block);
    if (cached?.blocks.size === 0) {
      versions?.delete(version);
      this.#headers.release(cached.info);
    }
    if (versions?.size === 0) this.#objects.delete(url);
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
    const cached = this.#objects.get(url)?.get(info.version);
    if (cached === undefined || cached.info.objectSize !== info.objectSize || isSameInfo(cached.info, info)) return undefined;
    const before = cached.info;
    this.#headers.release(before);
    cached.info = this.#headers.keep(info);
    if (isSameInfo(before, cached.info)) return undefined;
    let first: CachedBlock | undefined;
    for (const block of cached.blocks) {
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
    for (const cached of this.#objects.get(url)?.values() ?? []) {
      if (newest === undefined || cached.createdAtMs > newest.createdAtMs) newest = cached;
    }
    return newest && { version: newest.info.version, info: newest.info, createdAtMs: newest.createdAtMs };
  }

  /** Returns the cached bytes of one version of an object. */
  cachedBytes(url: string, version: string): number {
    let bytes = 0;
    for (const block of this.#objects.get(url)?.get(version)?.blocks ?? []) bytes += block.segments.cachedBytes;
    return bytes;
  }

  /** Yields the blocks of a URL, or of every URL that begins with the prefix; of one version or of all. */
  *select({ url, prefix, version }: EvictSelector): Generator<CachedBlock> {
    const urls = url !== undefined ? [url] : prefix !== undefined ? this.#urlsFrom(prefix) : [];
    for (const name of urls) {
      for (const [cachedVersion, cached] of this.#objects.get(name) ?? []) {
        if (version === undefined || version === cachedVersion) yield* cached.blocks;
      }
    }
  }

  *#urlsFrom(prefix: string): Generator<string> {
    for (const url of this.#objects.keys()) {
      if (url.startsWith(prefix)) yield url;
    }
  }
}
