import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import type { Disk } from "./disk/disk.js";
import { DiskGate } from "./disk/disk-gate.js";
import { FileSystemShare } from "./file-system-share.js";
import type { Space } from "./space.js";
import type { StorageTuning } from "./storage-tuning.js";
import { VolumeHealth } from "./volume-health.js";

export interface VolumeOptions {
  readonly path: string;
  /** The size limit, bytes; undefined: the file system. */
  readonly limitBytes: number | undefined;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Log;
  readonly tuning: StorageTuning;
  /** Used share, 0 to 1, above which blocks are evicted. */
  readonly highWatermark: number;
  /** Used share, 0 to 1, at which eviction stops. */
  readonly lowWatermark: number;
  /** Without a size limit: share of the file system and of its inodes, 0 to 1, that stays free. */
  readonly keepFree: number;
  /** Maximum number of blocks, limited by memory. */
  readonly maxBlocks: number;
}

/** The limited resources of a volume: bytes, inodes of its file system, or entries of the index in memory. */
export type Resource = "bytes" | "inodes" | "entries";

/** An amount to evict, or to take. */
export interface Extent {
  readonly bytes: number;
  readonly files: number;
}

export const NOTHING: Extent = Object.freeze({ bytes: 0, files: 0 });

const CROWDED_OUT =
  "other programs use too much of this file system, so nothing is cached here: free space, or set a size (path:size); short of";

/**
 * One cache directory: its space, and its health. Only it counts its bytes: a fill reserves bytes before it fetches them, a write
 * turns reserved bytes into used ones (`commit`), a removal frees used bytes.
 */
export class Volume implements Space {
  readonly path: string;
  readonly gate: DiskGate;
  readonly health: VolumeHealth;
  readonly #options: VolumeOptions;
  readonly #bytes = new FileSystemShare();
  readonly #inodes = new FileSystemShare();
  #reservedBytes = 0;
  #reservedFiles = 0;
  #wasCrowdedOut = false;

  constructor(options: VolumeOptions) {
    this.#options = options;
    this.path = options.path;
    this.gate = new DiskGate(options.clock, options.tuning, (error) => this.health.failed(error));
    this.health = new VolumeHealth(options, {
      isHanging: () => this.gate.isHanging,
      isCrowdedOut: () => this.isCrowdedOut,
      hasInodes: () => this.#inodes.free >= 1,
    });
  }

  /** Maximum number of blocks. */
  get maxBlocks(): number {
    return this.#options.maxBlocks;
  }

  /** Bytes of all block files, including those that are being removed. */
  get usedBytes(): number {
    return this.#bytes.used;
  }

  /** Block files, including those that are being removed. */
  get usedFiles(): number {
    return this.#inodes.used;
  }

  /** Bytes reserved for running fills. */
  get reservedBytes(): number {
    return this.#reservedBytes;
  }

  /** The size limit, or the limit of the file system; 0 while unknown. */
  get limitBytes(): number {
    return this.#options.limitBytes ?? this.#bytes.total;
  }

  /** The amount that can be reserved. */
  get free(): Extent {
    const { limitBytes = Infinity, maxBlocks } = this.#options;
    const bytes = Math.min(limitBytes - this.usedBytes, this.#bytes.free) - this.#reservedBytes;
    const files = Math.min(maxBlocks - this.usedFiles, this.#inodes.free) - this.#reservedFiles;
    return { bytes: Math.max(0, bytes), files: Math.max(0, files) };
  }

  /**
   * Whether other programs alone exceed the high watermark. Then nothing is cached: evicting everything would be
   * too little, and new blocks would be evicted by the next run of the purger.
   */
  get isCrowdedOut(): boolean {
    return this.#crowdedResource !== undefined;
  }

  get #crowdedResource(): Resource | undefined {
    const { highWatermark } = this.#options;
    if (this.#mostBytes(highWatermark) <= 0) return "bytes";
    return this.#inodes.mostAt(highWatermark) <= 0 ? "inodes" : undefined;
  }

  /** The resource of which the volume uses more than the high watermark allows. */
  get exceeded(): readonly Resource[] {
    const { highWatermark, maxBlocks } = this.#options;
    const exceeded: Resource[] = [];
    if (this.#excessBytes(this.#mostBytes(highWatermark), highWatermark) > 0) exceeded.push("bytes");
    if (this.usedFiles > this.#inodes.mostAt(highWatermark)) exceeded.push("inodes");
    if (this.usedFiles > maxBlocks * highWatermark) exceeded.push("entries");
    return exceeded;
  }

  /** Returns the resource that exceeds its high watermark, or that is insufficient for a request. */
  shortOf(requested: Extent): readonly Resource[] {
    const { free } = this;
    const short = new Set(this.exceeded);
    if (requested.bytes > free.bytes) short.add("bytes");
    const isByMemory = this.maxBlocks - this.usedFiles < this.#inodes.free;
    if (requested.files > free.files) short.add(isByMemory ? "entries" : "inodes");
    return [...short];
  }

  /**
   * Returns the amount to evict: down to the low watermark, but at most half of the allowed usage. Otherwise a
   * disk that other programs fill above the low watermark would be emptied repeatedly.
   */
  get excess(): Extent {
    const { highWatermark, lowWatermark, maxBlocks } = this.#options;
    const target = (most: (share: number) => number): number => Math.max(most(lowWatermark), most(highWatermark) / 2);
    const bytes = this.#excessBytes(
      target((share) => this.#mostBytes(share)),
      lowWatermark,
    );
    const mostFiles = Math.min(
      target((share) => this.#inodes.mostAt(share)),
      maxBlocks * lowWatermark,
    );
    return { bytes, files: Math.min(this.usedFiles, Math.ceil(this.usedFiles - mostFiles)) };
  }

  /** Returns the allowed usage at a used share: of the size limit, or of the disk without the bytes of other programs. */
  #mostBytes(share: number): number {
    const { limitBytes } = this.#options;
    return limitBytes === undefined ? this.#bytes.mostAt(share) : share * limitBytes;
  }

  #excessBytes(mostBytes: number, share: number): number {
    const { limitBytes, tuning } = this.#options;
    if (!this.#bytes.isKnown) return 0;
    let excess = this.usedBytes - mostBytes;
    if (limitBytes !== undefined) {
      // With a size limit on a disk that other programs fill, only the space for the next blocks is evicted.
      const reserveBytes = Math.min(tuning.diskReserveBytes, (1 - share) * this.#bytes.total);
      excess = Math.max(excess, reserveBytes - this.#bytes.free);
    }
    return Math.min(this.usedBytes, excess);
  }

  /** Reserves bytes and new files. Returns false if they do not fit. */
  reserve(bytes: number, files = 0): boolean {
    const { free } = this;
    if (!this.health.isWritable || bytes > free.bytes || files > free.files) return false;
    this.#reservedBytes += bytes;
    this.#reservedFiles += files;
    return true;
  }

  /** Releases reserved space. */
  unreserve(bytes: number, files = 0): void {
    this.#reservedBytes -= bytes;
    this.#reservedFiles -= files;
  }

  /** Turns reserved bytes into used ones, because they were written. */
  commit(bytes: number): void {
    this.#reservedBytes -= bytes;
    this.#bytes.add(bytes);
  }

  /** Counts a new block file. */
  fileAdded(): void {
    this.#inodes.add(1);
  }

  /** Counts a new directory, which uses an inode permanently. */
  directoryAdded(): void {
    this.#inodes.lose(1);
  }

  /** Counts a block file that was found at the start. */
  recovered(bytes: number): void {
    this.#bytes.add(bytes);
    this.#inodes.add(1);
  }

  /** Frees used bytes, because files or a segment were removed. */
  freed(bytes: number, files = 0): void {
    this.#bytes.add(-bytes);
    this.#inodes.add(-files);
  }

  /** Measures the file system. Never rejects: a disk that does not answer is marked. */
  async refreshSpace(): Promise<void> {
    try {
      const { disk, limitBytes } = this.#options;
      const keepFree = limitBytes === undefined ? this.#options.keepFree : 0;
      const space = await this.gate.run(() => disk.space(this.path));
      const { totalBytes: total, freeBytes: free, sizeBytes, totalInodes, freeInodes } = space;
      this.#bytes.observe({ total, free, kept: keepFree * sizeBytes });
      this.#inodes.observe({ total: totalInodes, free: freeInodes, kept: totalInodes === Infinity ? 0 : keepFree * totalInodes });
      this.#noteCrowd();
    } catch (error) {
      this.health.failed(error);
    }
  }

  /** Logs once when other programs have filled the disk, and once when they have freed it. */
  #noteCrowd(): void {
    const { path, limitBytes } = this;
    const resource = this.#crowdedResource;
    const isCrowdedOut = resource !== undefined;
    if (isCrowdedOut === this.#wasCrowdedOut) return;
    this.#wasCrowdedOut = isCrowdedOut;
    const event = { event: isCrowdedOut ? "volume-crowded-out" : "volume-has-room", volume: path, limitBytes };
    if (isCrowdedOut) this.#options.log.warn({ ...event, resource }, `${CROWDED_OUT} ${resource}`);
    else this.#options.log.info(event, "the file system has room again");
  }
}
