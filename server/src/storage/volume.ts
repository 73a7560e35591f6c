import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import type { Reservation } from "./block.js";
import type { Disk } from "./disk/disk.js";
import { systemCode } from "./disk/disk.js";
import { DiskGate } from "./disk/disk-gate.js";
import { FileSystemShare } from "./file-system-share.js";
import type { VolumeState } from "./storage-report.js";
import type { StorageTuning } from "./storage-tuning.js";

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

/** Errors that mean "no space", not "broken". */
const NO_ROOM = new Set(["ENOSPC", "EDQUOT"]);
/** Errors of this process, not of the disk. */
const NO_DESCRIPTORS = new Set(["EMFILE", "ENFILE"]);

const CROWDED_OUT =
  "other programs use too much of this file system, so nothing is cached here: free space, or set a size (path:size); short of";

/**
 * One cache directory: its space and its health. Only it counts its bytes: a fill reserves bytes before it fetches them, a write
 * turns reserved bytes into used ones (`commit`), a removal frees used bytes.
 */
export class Volume {
  readonly path: string;
  readonly gate: DiskGate;
  readonly #options: VolumeOptions;
  readonly #bytes = new FileSystemShare();
  readonly #inodes = new FileSystemShare();
  #reservedBytes = 0;
  #reservedFiles = 0;
  #wasCrowdedOut = false;
  #failingUntilMs = -Infinity;
  #isLeftOut = false;
  #fullUntilMs = -Infinity;

  constructor(options: VolumeOptions) {
    this.#options = options;
    this.path = options.path;
    this.gate = new DiskGate(options.clock, options.tuning, (error) => this.failed(error));
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

  get state(): VolumeState {
    const now = this.#options.clock.monotonicMs();
    if (this.gate.isHanging || now < this.#failingUntilMs) return "failing";
    return this.isCrowdedOut || now < this.#fullUntilMs ? "full" : "ok";
  }

  /** Whether new bytes may be cached here now. */
  get isWritable(): boolean {
    return this.state === "ok";
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
    if (!this.isWritable || bytes > free.bytes || files > free.files) return false;
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
      this.failed(error);
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

  /** Records an operation's error: the volume is not used for a while. Logs once for each such period. */
  failed(error: unknown): void {
    const code = systemCode(error);
    if (NO_DESCRIPTORS.has(code)) return;
    const { clock, log, tuning } = this.#options;
    const untilMs = clock.monotonicMs() + tuning.retryAfterMs;
    const before = this.state;
    if (NO_ROOM.has(code)) this.#fullUntilMs = untilMs;
    else this.#failingUntilMs = Math.max(untilMs, this.#failingUntilMs);
    if (this.state === before) return;
    const full = NO_ROOM.has(code) ? { resource: this.#inodes.free < 1 ? "inodes" : "bytes" } : {};
    log.warn(
      { event: "volume-failed", volume: this.path, state: this.state, ...full, retryAfterMs: tuning.retryAfterMs, err: error },
      "an operation on the volume failed; it is not used for a while",
    );
  }

  /** Whether the volume is in use: it answered at the start, and its blocks were recovered. */
  get isInUse(): boolean {
    return this.#failingUntilMs !== Infinity;
  }

  /** Excludes the volume until the next start, because its blocks could not be read. */
  leaveOut(error: unknown): void {
    this.#failingUntilMs = Infinity;
    this.#isLeftOut = true;
    this.#options.log.error(
      { event: "volume-left-out", volume: this.path, err: error },
      "cannot read the volume's blocks; it is not used before the next start",
    );
  }

  /** Excludes the volume until `join`, because it does not answer at the start. */
  awaitAnswer(timeoutMs: number): void {
    this.#failingUntilMs = Infinity;
    this.#options.log.error(
      { event: "volume-missing", volume: this.path, timeoutMs },
      "the volume does not answer; the member starts without it and uses it as soon as it answers: check the disk or its mount",
    );
  }

  /** Includes the volume after `awaitAnswer`: it has answered, and its blocks were recovered, unless it was excluded. */
  join(): void {
    if (!this.#isLeftOut) this.#failingUntilMs = -Infinity;
  }

  /** Records free space: a full volume is used again immediately. */
  roomFreed(): void {
    this.#fullUntilMs = -Infinity;
  }
}

/**
 * Space on one volume for the segments of one part. A write takes some of it and reports the outcome:
 * `spend` or `putBack`.
 */
export class VolumeReservation implements Reservation {
  readonly volume: Volume;
  /** Bytes of the segments. Their space may be larger. */
  readonly bytes: number;
  #leftBytes: number;
  readonly #files: number;
  #isReleased = false;

  /**
   * Created from reserved space. `chargedBytes`: maximum space of `bytes` of segments on the volume; `files`: number of new
   * files.
   */
  constructor(volume: Volume, bytes: number, chargedBytes: number, files: number) {
    this.volume = volume;
    this.bytes = bytes;
    this.#leftBytes = chargedBytes;
    this.#files = files;
  }

  /** Takes space for a write, even more than is left if the volume has it. Returns false if there is not enough. */
  take(bytes: number): boolean {
    const missing = bytes - this.#leftBytes;
    if (missing > 0) {
      if (!this.volume.reserve(missing)) return false;
      this.#leftBytes += missing;
    }
    this.#leftBytes -= bytes;
    return true;
  }

  /** Records that the taken bytes were written. */
  spend(bytes: number): void {
    this.volume.commit(bytes);
  }

  /** Returns taken bytes that were not needed. */
  putBack(bytes: number): void {
    if (this.#isReleased) this.volume.unreserve(bytes);
    else this.#leftBytes += bytes;
  }

  /** Releases the space that no write has taken. May be called repeatedly. */
  release(): void {
    if (!this.#isReleased) this.volume.unreserve(0, this.#files);
    this.#isReleased = true;
    this.volume.unreserve(this.#leftBytes);
    this.#leftBytes = 0;
  }
}
