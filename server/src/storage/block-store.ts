import type { Geometry, ObjectInfo } from "@frontcache/proto";
import { forEachConcurrent, sleep } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import type { BlockDescription, BlockId, BlockPin, FilledSegment, Reservation } from "./block.js";
import { BlockIndex, type NewestVersion } from "./block-index.js";
import { BlockReader, StorePin } from "./block-reader.js";
import { BlockWriter } from "./block-writer.js";
import { type BucketShareSetting, type BucketShareStatus, BucketShares } from "./bucket-share.js";
import type { CachedBlock } from "./cached-block.js";
import { Damages } from "./damages.js";
import type { DirectoryClaim, Disk } from "./disk/disk.js";
import { BlockRemover } from "./eviction/block-remover.js";
import type { EvictionPolicy } from "./eviction/eviction-policy.js";
import { type Eviction, evictionPolicy } from "./eviction/policies.js";
import { Purger, RecencyKeeper } from "./eviction/purger.js";
import { HeaderMemory } from "./header-memory.js";
import type { Mapper } from "./mapping/mapping.js";
import { OpenFiles } from "./open-files.js";
import { Placement } from "./placement.js";
import { type Recovered, recover } from "./recovery.js";
import { ReadBuffers, References } from "./references.js";
import type { EvictReport, EvictSelector, PurgeRun, StorageStatus } from "./storage-report.js";
import type { StorageTuning } from "./storage-tuning.js";
import { NOTHING, Volume } from "./volume.js";
import { VolumeReservation } from "./volume-reservation.js";

export type { NewestVersion } from "./block-index.js";
export type { BucketShareSetting, BucketShareStatus, ShareSize } from "./bucket-share.js";
export type {
  EvictReport,
  EvictSelector,
  PurgeReport,
  PurgeRun,
  StorageStatus,
  VolumeState,
  VolumeStatus,
} from "./storage-report.js";
export { ioParallelism, type StorageTuning, storageTuning } from "./storage-tuning.js";

/** A cache directory. Without `limitBytes`, its file system is the limit. */
export interface VolumeSetting {
  readonly path: string;
  readonly limitBytes?: number;
}

export interface BlockStoreOptions {
  readonly volumes: readonly VolumeSetting[];
  readonly geometry: Geometry;
  readonly disk: Disk;
  readonly mapper: Mapper;
  readonly clock: Clock;
  readonly log: Log;
  /** Used share of a volume, 0 to 1, above which the purger evicts. */
  readonly highWatermark: number;
  /** Used share of a volume, 0 to 1, at which the purger stops. */
  readonly lowWatermark: number;
  /** Share of the file system and of its inodes, 0 to 1, that stays free on volumes without a budget. */
  readonly keepFree: number;
  /** Maximum number of cached blocks, because each takes memory. */
  readonly maxBlocks: number;
  readonly eviction: Eviction;
  /** Buckets whose space is counted apart. */
  readonly buckets: readonly BucketShareSetting[];
  /** Maximum number of open and mapped block files. */
  readonly maxMappings: number;
  readonly purgeIntervalMs: number;
  readonly tuning: StorageTuning;
}

/** Maximum time at closing to write the blocks' last uses into their files' times. */
const LAST_REFRESH_MS = 2_000;
/** Concurrent removals of an eviction. */
const REMOVALS = 16;

/** The cached blocks on all volumes: finds, reads, writes and evicts them. No method rejects because of a disk. */
export class BlockStore {
  readonly #options: BlockStoreOptions;
  readonly #claims: DirectoryClaim[] = [];
  readonly #volumes: readonly Volume[];
  readonly #shares: BucketShares;
  readonly #index: BlockIndex;
  readonly #files: OpenFiles;
  readonly #remover: BlockRemover;
  readonly #writer: BlockWriter;
  readonly #damages: Damages;
  readonly #reader: BlockReader;
  readonly #recency: RecencyKeeper;
  readonly #purger: Purger;
  readonly #placement: Placement;
  readonly #references = new References();
  #closed = false;

  private constructor(options: BlockStoreOptions) {
    const { disk, mapper, clock, log, geometry, tuning } = options;
    this.#options = options;
    this.#volumes = options.volumes.map(({ path, limitBytes }) => {
      const { highWatermark, lowWatermark, keepFree } = options;
      const maxBlocks = Math.ceil(options.maxBlocks / options.volumes.length);
      return new Volume({ path, limitBytes, disk, clock, log, tuning, highWatermark, lowWatermark, keepFree, maxBlocks });
    });
    const newOrder = (): EvictionPolicy<CachedBlock> => evictionPolicy<CachedBlock>(options.eviction);
    const shares = new BucketShares(options, this.#volumes, newOrder);
    this.#shares = shares;
    const index = new BlockIndex(newOrder, new HeaderMemory(tuning.headerMemoryBytes), shares);
    this.#index = index;
    const files = new OpenFiles({
      disk,
      mapper,
      residentBytes: tuning.mappedMemoryBytes,
      capacity: options.maxMappings,
      references: this.#references,
      clock,
    });
    const remover = new BlockRemover({ disk, index, files });
    const writer = new BlockWriter({ geometry, disk, clock, index, files, remover });
    this.#damages = new Damages({
      log,
      forget: (block, segment) => void writer.forget(block, segment),
      retire: (block) => void remover.retire(block),
    });
    const buffers = new ReadBuffers(tuning.readMemoryBytes, this.#references);
    this.#reader = new BlockReader({ geometry, files, buffers, damages: this.#damages });
    this.#recency = new RecencyKeeper({ disk, clock, index });
    const volumes = this.#volumes;
    this.#purger = new Purger({
      volumes,
      index,
      shares,
      remover,
      recency: this.#recency,
      clock,
      log,
      intervalMs: options.purgeIntervalMs,
    });
    this.#placement = new Placement({
      volumes,
      index,
      shares,
      purger: this.#purger,
      clock,
      geometry,
      waitMs: tuning.purgeWaitMs,
    });
    this.#files = files;
    this.#remover = remover;
    this.#writer = writer;
  }

  /**
   * Locks the volumes, finds their blocks, and removes other files. A volume that does not answer in time does not delay
   * the start: it joins when it answers. Rejects with a CacheError if a directory cannot be used: it belongs to another process
   * or owner, or is not writable.
   */
  static async open(options: BlockStoreOptions): Promise<BlockStore> {
    const store = new BlockStore(options);
    try {
      const claimed = await Promise.all(store.#volumes.map((volume) => store.#claim(volume)));
      await store.#recover(store.#volumes.filter((_, i) => claimed[i]));
      store.#purger.start();
      // The limits may be lower than before, or other programs may have taken space. The start does not wait for the purge.
      for (const volume of store.#volumes) if (volume.exceeded.length > 0) void store.#purger.purge(volume, NOTHING);
      void store.#purger.tendShares();
      return store;
    } catch (error) {
      store.#closed = true;
      await store.#releaseClaims();
      throw error;
    }
  }

  /** Resolves with whether the volume answered in time. A volume that answers later joins then. */
  async #claim(volume: Volume): Promise<boolean> {
    const { disk, clock, tuning } = this.#options;
    const claiming = disk.claim(volume.path).then((claim) => {
      this.#claims.push(claim);
      if (this.#closed) return this.#releaseClaims();
      return undefined;
    });
    const timeout = new AbortController();
    const timedOut = sleep(clock, tuning.startTimeoutMs, timeout.signal).catch(() => undefined);
    const isClaimed = await Promise.race([claiming.then(() => true), timedOut.then(() => false)]).finally(() => timeout.abort());
    if (isClaimed) return true;
    if (this.#closed) return false;
    this.#joinLate(volume, claiming, tuning.startTimeoutMs);
    return false;
  }

  /** Uses the volume as soon as it has answered. */
  #joinLate(volume: Volume, answered: Promise<void>, timeoutMs: number): void {
    volume.health.awaitAnswer(timeoutMs);
    const join = async (): Promise<void> => {
      await answered;
      if (this.#closed) return;
      const hanging = await this.#recover([volume]);
      if (hanging.length === 0) volume.health.join();
    };
    void join().catch((error: unknown) => volume.health.leaveOut(error));
  }

  /** Returns the volumes that have stopped answering. They join when they answer. */
  async #recover(volumes: readonly Volume[]): Promise<Recovered["hanging"]> {
    const { geometry, disk, clock, tuning, log } = this.#options;
    const began = clock.monotonicMs();
    const [index, remover, damages] = [this.#index, this.#remover, this.#damages];
    const { blocks, incomplete, hanging } = await recover(volumes, { geometry, disk, index, remover, damages, clock, tuning });
    for (const { volume, answered } of hanging) this.#joinLate(volume, answered, tuning.diskTimeoutMs);
    const answering = volumes.filter((volume) => hanging.every((each) => each.volume !== volume));
    await Promise.all(answering.map((volume) => volume.refreshSpace()));
    const report = volumes.map((volume) => {
      const { path, usedBytes } = volume;
      return { path, blocks: index.on(volume).count.blocks, usedBytes };
    });
    const durationMs = Math.round(clock.monotonicMs() - began);
    const found = { blocks, volumes: report, damages: damages.count, incomplete, durationMs };
    log.info({ event: "volumes-recovered", ...found }, "the volumes are recovered");
    return hanging;
  }

  async #releaseClaims(): Promise<void> {
    await Promise.all(this.#claims.splice(0).map((claim) => claim.release()));
  }

  /**
   * Pins a cached block. `isUse`: that counts as a use, for eviction and for the file's time. Returns undefined if the block is not cached.
   */
  pin(id: BlockId, isUse = true): BlockPin | undefined {
    const block = this.#closed ? undefined : this.#index.get(id);
    if (block === undefined) return undefined;
    if (isUse) {
      this.#index.recordUse(block, this.#options.clock.nowMs());
      this.#files.recordUse(block);
    }
    return new StorePin(block, this.#reader, this.#references);
  }

  /** Records a use of a block that was read without this store. Returns false if the block is not cached. */
  recordUse(id: BlockId): boolean {
    const block = this.#closed ? undefined : this.#index.get(id);
    if (block !== undefined) this.#index.recordUse(block, this.#options.clock.nowMs());
    return block !== undefined;
  }

  /**
   * Reserves space for `bytes` of a block's segments, on the volume that has the block or the one with the most space.
   * If they do not fit, the call runs the purger and waits briefly for it. Undefined: nothing can be cached now. Never rejects.
   */
  reserve(id: BlockId, bytes: number): Reservation | Promise<Reservation | undefined> {
    return this.#closed ? Promise.resolve(undefined) : this.#placement.reserve(id, bytes);
  }

  /**
   * Writes segments into the block's file, except those that are cached already. Calls for one block take effect in order.
   * Resolves with true if all are cached now; with false if they are not and nothing else has changed. `isUrgent`: as of `Disk.create`.
   * Never rejects.
   */
  write(
    block: BlockDescription,
    segments: readonly FilledSegment[],
    reservation: Reservation,
    isUrgent = false,
  ): Promise<boolean> {
    if (this.#closed || !(reservation instanceof VolumeReservation)) return Promise.resolve(false);
    return this.#writer.write(block, segments, { reservation, isUrgent }).catch((error: unknown) => {
      const { url, offset } = block.id;
      this.#options.log.error({ event: "write-failed", url, offset, err: error }, "cannot write a block file");
      return false;
    });
  }

  /** Removes blocks immediately. The space of blocks that are being read is freed when these reads are done. */
  async evict(selector: EvictSelector): Promise<EvictReport> {
    let bytes = 0;
    const blocks = [...this.#index.select(selector)].filter((block) => !block.retired);
    await forEachConcurrent(blocks, REMOVALS, async (block) => {
      bytes += block.chargedBytes;
      await this.#remove(block);
    });
    return { blocks: blocks.length, bytes };
  }

  /** Removes one block immediately, as `evict` does. */
  async remove(id: BlockId): Promise<void> {
    const block = this.#index.get(id);
    if (block !== undefined) await this.#remove(block);
  }

  #remove(block: CachedBlock): Promise<void> {
    const { isBusy } = block;
    const removal = this.#remover.retire(block);
    return isBusy ? removal.unlinked : removal.freed;
  }

  /** Returns the cached version of an object whose latest block was created last. */
  newest(url: string): NewestVersion | undefined {
    return this.#index.newest(url);
  }

  /**
   * Replaces the metadata of a cached version, because its headers have changed. The file of its first block is updated,
   * too.
   */
  describe(url: string, info: ObjectInfo): void {
    const first = this.#closed ? undefined : this.#index.describe(url, info);
    if (first !== undefined) void this.#writer.describe(first);
  }

  /** Returns the cached bytes of one version of an object. */
  cachedBytes(url: string, version: string): number {
    return this.#index.cachedBytes(url, version);
  }

  /** Returns whether the first `segments` segments of a block are cached. Not a use of the block. */
  contains(id: BlockId, segments: number): boolean {
    const block = this.#closed ? undefined : this.#index.get(id);
    for (let segment = 0; segment < segments; segment++) if (block?.segments.has(segment) !== true) return false;
    return true;
  }

  /** Drops a segment of a block, which may then be written with other bytes. Never rejects. */
  async drop(id: BlockId, segment: number): Promise<void> {
    const block = this.#closed ? undefined : this.#index.get(id);
    if (block?.segments.has(segment) !== true) return;
    block.drop(segment);
    await this.#writer.forget(block, segment);
  }

  /** Yields the ids of the cached blocks of all URLs that begin with a prefix. */
  *ids(prefix: string): Generator<BlockId> {
    for (const block of this.#index.select({ prefix })) yield block.id;
  }

  /** Returns the usage and health of the volumes. */
  status(): StorageStatus {
    return {
      volumes: this.#volumes.map((volume) => ({
        path: volume.path,
        usedBytes: volume.usedBytes,
        reservedBytes: volume.reservedBytes,
        limitBytes: volume.limitBytes,
        blocks: this.#index.on(volume).count.blocks,
        freeFiles: volume.free.files,
        state: volume.health.state,
      })),
      mappings: this.#files.mappings,
      openFiles: this.#files.openFiles,
      references: this.#references.open,
      damages: this.#damages.count,
      purged: this.#purger.evicted,
      buckets: [...this.#shares].map((share) => share.status()),
    };
  }

  /** Returns the usage of an object's bucket; undefined: its space is not counted apart. */
  bucketOf(url: string): BucketShareStatus | undefined {
    return this.#shares.of(url)?.status();
  }

  /** Calls back after each run of the purger. The returned function ends the subscription. */
  onPurged(listener: (report: PurgeRun) => void): () => void {
    return this.#purger.onPurged(listener);
  }

  /** Resolves when no write or removal is running. The removal of a pinned block runs until its last pin is released. */
  async settled(): Promise<void> {
    await this.#writer.idle();
    await this.#remover.settled();
  }

  /**
   * Stops the purger, writes last uses, unmaps and closes files, unlocks the directories. Files that pins or slices still use are
   * closed with the last of them.
   */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#purger.close();
    await this.#writer.idle();
    await this.#remover.unlinked();
    const untilMs = this.#options.clock.monotonicMs() + LAST_REFRESH_MS;
    await Promise.all(this.#volumes.map((volume) => this.#recency.refresh(volume, untilMs)));
    await this.#files.closeUnused();
    await this.#releaseClaims();
  }
}
