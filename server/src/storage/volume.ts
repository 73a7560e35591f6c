import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import type { Reservation } from "./block.js";
import type { Disk, DiskSpace } from "./disk/disk.js";
import { systemCode } from "./disk/disk.js";
import { DiskGate } from "./disk/disk-gate.js";
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
}

/** Errors that say "no room", not "broken". */
const NO_ROOM = new Set(["ENOSPC", "EDQUOT"]);
/** Errors of this process, not of the disk. */
const NO_DESCRIPTORS = new Set(["EMFILE", "ENFILE"]);

const CROWDED_OUT =
  "other programs fill this file system above --high-watermark, so nothing is cached here: free space, or set a size (path:size)";

/**
 * One cache directory: its space and its health. It alone counts its bytes: a fill reserves bytes before they come, a write turns
 * reserved bytes into used ones (`commit`), a removal frees used bytes.
 */
export class Volume {
  readonly path: string;
  readonly gate: DiskGate;
  readonly #options: VolumeOptions;
  #usedBytes = 0;
  #reservedBytes = 0;
  #space: DiskSpace | undefined;
  #usedAtSpaceBytes = 0;
  #wasCrowdedOut = false;
  #failingUntilMs = -Infinity;
  #isLeftOut = false;
  #fullUntilMs = -Infinity;

  constructor(options: VolumeOptions) {
    this.#options = options;
    this.path = options.path;
    this.gate = new DiskGate(options.clock, options.tuning, (error) => this.failed(error));
  }

  /** Bytes of all block files, including those that are being removed. */
  get usedBytes(): number {
    return this.#usedBytes;
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

  /** The budget, or all that the file system has; 0 while that is unknown. */
  get limitBytes(): number {
    return this.#options.limitBytes ?? this.#space?.totalBytes ?? 0;
  }

  /** Bytes that can still be reserved. Between two looks at the file system, what was written since is counted off. */
  get freeBytes(): number {
    const budget = (this.#options.limitBytes ?? Infinity) - this.usedBytes;
    return Math.max(0, Math.min(budget, this.#fileSystemFreeBytes) - this.reservedBytes);
  }

  get #fileSystemFreeBytes(): number {
    return this.#space === undefined ? 0 : this.#space.freeBytes - (this.usedBytes - this.#usedAtSpaceBytes);
  }

  /**
   * Whether others alone fill the disk over the high watermark. Nothing is kept then: whatever the purger took away would be
   * too little, and what came meanwhile would go at its next tick.
   */
  get isCrowdedOut(): boolean {
    return this.#limitOf(this.#options.highWatermark) <= 0;
  }

  /** Bytes over the high watermark; 0 or less: none. */
  get overflowBytes(): number {
    const { highWatermark } = this.#options;
    return this.#excessBytes(this.#limitOf(highWatermark), highWatermark);
  }

  /**
   * Bytes to evict when the purger runs: until the low watermark, but no more than half of what may be here at all, or a
   * disk that others fill above the low watermark would be emptied again and again.
   */
  get excessBytes(): number {
    const { highWatermark, lowWatermark } = this.#options;
    return this.#excessBytes(Math.max(this.#limitOf(lowWatermark), this.#limitOf(highWatermark) / 2), lowWatermark);
  }

  /** What this volume may hold at a used share: of its budget, or of the disk without what others have there. */
  #limitOf(share: number): number {
    const { limitBytes } = this.#options;
    if (limitBytes !== undefined) return share * limitBytes;
    if (this.#space === undefined) return Infinity;
    const otherBytes = this.#space.totalBytes - this.#fileSystemFreeBytes - this.usedBytes;
    return share * this.#space.totalBytes - otherBytes;
  }

  #excessBytes(mostBytes: number, share: number): number {
    const { limitBytes, tuning } = this.#options;
    if (this.#space === undefined) return 0;
    let excess = this.usedBytes - mostBytes;
    if (limitBytes !== undefined) {
      // A budget on a disk that others fill gives way only as far as its own next blocks need room.
      const reserveBytes = Math.min(tuning.diskReserveBytes, (1 - share) * this.#space.totalBytes);
      excess = Math.max(excess, reserveBytes - this.#fileSystemFreeBytes);
    }
    return Math.min(this.usedBytes, excess);
  }

  /** Sets bytes aside. False: they do not fit. */
  reserve(bytes: number): boolean {
    if (!this.isWritable || bytes > this.freeBytes) return false;
    this.#reservedBytes += bytes;
    return true;
  }

  /** Reserved bytes are not needed any more. */
  unreserve(bytes: number): void {
    this.#reservedBytes -= bytes;
  }

  /** Reserved bytes are in a file now. */
  commit(bytes: number): void {
    this.#reservedBytes -= bytes;
    this.#usedBytes += bytes;
  }

  /** A block file that takes these bytes was found at the start. */
  recovered(bytes: number): void {
    this.#usedBytes += bytes;
  }

  /** Used bytes are free again: a file is gone, or a segment of it. */
  freed(bytes: number): void {
    this.#usedBytes -= bytes;
  }

  /** Looks at the file system again. Never rejects: a disk that does not answer is marked. */
  async refreshSpace(): Promise<void> {
    try {
      const space = await this.gate.run(() => this.#options.disk.space(this.path));
      this.#space = space;
      this.#usedAtSpaceBytes = this.#usedBytes;
      this.#noteCrowd();
    } catch (error) {
      this.failed(error);
    }
  }

  /** Logs once when others have taken the disk, and once when they have given it back. */
  #noteCrowd(): void {
    const { isCrowdedOut, path, limitBytes } = this;
    if (isCrowdedOut === this.#wasCrowdedOut) return;
    this.#wasCrowdedOut = isCrowdedOut;
    const event = { event: isCrowdedOut ? "volume-crowded-out" : "volume-has-room", volume: path, limitBytes };
    if (isCrowdedOut) this.#options.log.warn(event, CROWDED_OUT);
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
    log.warn(
      { event: "volume-failed", volume: this.path, state: this.state, retryAfterMs: tuning.retryAfterMs, err: error },
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
  #isReleased = false;

  /** Of bytes that the volume has set aside. `chargedBytes`: the most that `bytes` of segments take on the volume. */
  constructor(volume: Volume, bytes: number, chargedBytes: number) {
    this.volume = volume;
    this.bytes = bytes;
    this.#leftBytes = chargedBytes;
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
    this.#isReleased = true;
    this.volume.unreserve(this.#leftBytes);
    this.#leftBytes = 0;
  }
}
