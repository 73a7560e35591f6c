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
  /** The byte budget; undefined: what the file system gives. */
  readonly limitBytes: number | undefined;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Log;
  readonly tuning: StorageTuning;
  /** Used share, 0 to 1, over which blocks have to go. */
  readonly highWatermark: number;
  /** Used share, 0 to 1, down to which they go. */
  readonly lowWatermark: number;
  /** Without a budget: share of the file system and of its inodes, 0 to 1, that stays free. */
  readonly keepFree: number;
  /** Blocks that memory suffices for. */
  readonly maxBlocks: number;
}

/** What a volume can be short of: bytes, inodes of its file system, or entries of the index in memory. */
export type Resource = "bytes" | "inodes" | "entries";

/** What has to be evicted, or may still be taken. */
export interface Extent {
  readonly bytes: number;
  readonly files: number;
}

export const NOTHING: Extent = Object.freeze({ bytes: 0, files: 0 });

/** Errors that say "no room", not "broken". */
const NO_ROOM = new Set(["ENOSPC", "EDQUOT"]);
/** Errors of this process, not of the disk. */
const NO_DESCRIPTORS = new Set(["EMFILE", "ENFILE"]);

const CROWDED_OUT =
  "other programs use too much of this file system, so nothing is cached here: free space, or set a size (path:size); short of";

/**
 * One cache directory: its space and its health. It alone counts its bytes: a fill reserves bytes before they come, a write turns
 * reserved bytes into used ones (`commit`), a removal frees used bytes.
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

  /** The largest number of blocks. */
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

  /** Bytes set aside for running fills. */
  get reservedBytes(): number {
    return this.#reservedBytes;
  }

  get state(): VolumeState {
    const now = this.#options.clock.monotonicMs();
    if (this.gate.isHanging || now < this.#failingUntilMs) return "failing";
    return this.isCrowdedOut || now < this.#fullUntilMs ? "full" : "ok";
  }

  /** Whether new bytes may be put here now. */
  get isWritable(): boolean {
    return this.state === "ok";
  }

  /** The budget, or what the file system gives; 0 while that is unknown. */
  get limitBytes(): number {
    return this.#options.limitBytes ?? this.#bytes.total;
  }

  /** What can still be reserved. */
  get free(): Extent {
    const { limitBytes = Infinity, maxBlocks } = this.#options;
    const bytes = Math.min(limitBytes - this.usedBytes, this.#bytes.free) - this.#reservedBytes;
    const files = Math.min(maxBlocks - this.usedFiles, this.#inodes.free) - this.#reservedFiles;
    return { bytes: Math.max(0, bytes), files: Math.max(0, files) };
  }

  /**
   * Whether others alone fill the disk over the high watermark. Nothing is kept then: whatever the purger took away would be
   * too little, and what came meanwhile would go at its next tick.
   */
  get isCrowdedOut(): boolean {
    return this.#crowdedResource !== undefined;
  }

  get #crowdedResource(): Resource | undefined {
    const { highWatermark } = this.#options;
    if (this.#mostBytes(highWatermark) <= 0) return "bytes";
    return this.#inodes.mostAt(highWatermark) <= 0 ? "inodes" : undefined;
  }

  /** What the volume uses more of than the high watermark allows. */
  get exceeded(): readonly Resource[] {
    const { highWatermark, maxBlocks } = this.#options;
    const exceeded: Resource[] = [];
    if (this.#excessBytes(this.#mostBytes(highWatermark), highWatermark) > 0) exceeded.push("bytes");
    if (this.usedFiles > this.#inodes.mostAt(highWatermark)) exceeded.push("inodes");
    if (this.usedFiles > maxBlocks * highWatermark) exceeded.push("entries");
    return exceeded;
  }

  /** What the volume exceeds its high watermark of, or has too little of for what is requested. */
  shortOf(requested: Extent): readonly Resource[] {
    const { free } = this;
    const short = new Set(this.exceeded);
    if (requested.bytes > free.bytes) short.add("bytes");
    const isByMemory = this.maxBlocks - this.usedFiles < this.#inodes.free;
    if (requested.files > free.files) short.add(isByMemory ? "entries" : "inodes");
    return [...short];
  }

  /**
   * What to evict when the purger runs: until the low watermark, but no more than half of what may be here at all, or a
   * disk that others fill above the low watermark would be emptied again and again.
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

  /** What this volume may hold at a used share: of its budget, or of the disk without what others have there. */
  #mostBytes(share: number): number {
    const { limitBytes } = this.#options;
    return limitBytes === undefined ? this.#bytes.mostAt(share) : share * limitBytes;
  }

  #excessBytes(mostBytes: number, share: number): number {
    const { limitBytes, tuning } = this.#options;
    if (!this.#bytes.isKnown) return 0;
    let excess = this.usedBytes - mostBytes;
    if (limitBytes !== undefined) {
      // A budget on a disk that others fill gives way only as far as its own next blocks need room.
      const reserveBytes = Math.min(tuning.diskReserveBytes, (1 - share) * this.#bytes.total);
      excess = Math.max(excess, reserveBytes - this.#bytes.free);
    }
    return Math.min(this.usedBytes, excess);
  }

  /** Sets bytes aside, and room for new files. False: they do not fit. */
  reserve(bytes: number, files = 0): boolean {
    const { free } = this;
    if (!this.isWritable || bytes > free.bytes || files > free.files) return false;
    this.#reservedBytes += bytes;
    this.#reservedFiles += files;
    return true;
  }

  /** What was reserved is not needed any more. */
  unreserve(bytes: number, files = 0): void {
    this.#reservedBytes -= bytes;
    this.#reservedFiles -= files;
  }

  /** Reserved bytes are in a file now. */
  commit(bytes: number): void {
    this.#reservedBytes -= bytes;
    this.#bytes.add(bytes);
  }

  /** There is one block file more. */
  fileAdded(): void {
    this.#inodes.add(1);
  }

  /** A directory was made, which takes an inode for good. */
  directoryAdded(): void {
    this.#inodes.lose(1);
  }

  /** A block file that takes these bytes was found at the start. */
  recovered(bytes: number): void {
    this.#bytes.add(bytes);
    this.#inodes.add(1);
  }

  /** Used bytes are free again: files are gone, or a segment of one. */
  freed(bytes: number, files = 0): void {
    this.#bytes.add(-bytes);
    this.#inodes.add(-files);
  }

  /** Looks at the file system again. Never rejects: a disk that does not answer is marked. */
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

  /** Logs once when others have taken the disk, and once when they have given it back. */
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

  /** Takes note of an operation's error: the volume is left alone for a while. Logs once for each such while. */
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

  /** The volume's blocks could not be read at the start: it is not used before the next start. */
  leaveOut(error: unknown): void {
    this.#failingUntilMs = Infinity;
    this.#isLeftOut = true;
    this.#options.log.error(
      { event: "volume-left-out", volume: this.path, err: error },
      "cannot read the volume's blocks; it is not used before the next start",
    );
  }

  /** The volume does not answer at the start: it is not used before `join`. */
  awaitAnswer(timeoutMs: number): void {
    this.#failingUntilMs = Infinity;
    this.#options.log.error(
      { event: "volume-missing", volume: this.path, timeoutMs },
      "the volume does not answer; the member starts without it and uses it as soon as it answers: check the disk or its mount",
    );
  }

  /** The volume has answered after `awaitAnswer`, and its blocks were recovered, unless it was left out. */
  join(): void {
    if (!this.#isLeftOut) this.#failingUntilMs = -Infinity;
  }

  /** There is room: a full volume is tried again at once. */
  roomFreed(): void {
    this.#fullUntilMs = -Infinity;
  }
}

/**
 * Room on one volume for the segments of one part. What a write takes of it belongs to that write, which says how it ended:
 * `spend` or `putBack`.
 */
export class VolumeReservation implements Reservation {
  readonly volume: Volume;
  /** Bytes of the segments. Their room may be larger. */
  readonly bytes: number;
  #leftBytes: number;
  readonly #files: number;
  #isReleased = false;

  /** Of what the volume has set aside. `chargedBytes`: the most that `bytes` of segments take on the volume; `files`: new ones. */
  constructor(volume: Volume, bytes: number, chargedBytes: number, files: number) {
    this.volume = volume;
    this.bytes = bytes;
    this.#leftBytes = chargedBytes;
    this.#files = files;
  }

  /** Takes room for a write; more than is left, if the volume has it. False: there is not enough. */
  take(bytes: number): boolean {
    const missing = bytes - this.#leftBytes;
    if (missing > 0) {
      if (!this.volume.reserve(missing)) return false;
      this.#leftBytes += missing;
    }
    this.#leftBytes -= bytes;
    return true;
  }

  /** The bytes taken are in a file now. */
  spend(bytes: number): void {
    this.volume.commit(bytes);
  }

  /** The bytes taken were not needed. */
  putBack(bytes: number): void {
    if (this.#isReleased) this.volume.unreserve(bytes);
    else this.#leftBytes += bytes;
  }

  /** Gives back what no write has taken. Harmless when repeated. */
  release(): void {
    if (!this.#isReleased) this.volume.unreserve(0, this.#files);
    this.#isReleased = true;
    this.volume.unreserve(this.#leftBytes);
    this.#leftBytes = 0;
  }
}
