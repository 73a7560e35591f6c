import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import type { Disk, DiskSpace } from "./disk.js";
import { DiskGate } from "./disk-gate.js";
import type { EvictionPolicy } from "./eviction-policy.js";
import type { HeldBlock } from "./held-block.js";
import type { VolumeState } from "./storage-report.js";
import type { StorageTuning } from "./storage-tuning.js";
import { systemCode } from "./system-error.js";

export interface VolumeOptions {
  readonly path: string;
  /** The byte budget; undefined: what the file system gives. */
  readonly limitBytes: number | undefined;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Log;
  readonly tuning: StorageTuning;
  /** Of this volume alone. */
  readonly order: EvictionPolicy<HeldBlock>;
}

/** Errors that say "no room", not "broken". */
const NO_ROOM = new Set(["ENOSPC", "EDQUOT"]);
/** Errors of this process, not of the disk. */
const NO_DESCRIPTORS = new Set(["EMFILE", "ENFILE"]);

/** One cache directory: its space, its health, and its blocks in the order of their eviction. */
export class Volume {
  readonly path: string;
  readonly gate: DiskGate;
  /** Bytes of all block files, those included that are being removed. */
  usedBytes = 0;
  reservedBytes = 0;
  /** The blocks that it holds. */
  readonly order: EvictionPolicy<HeldBlock>;
  /** Blocks used since their files' times were last refreshed. */
  touched = new Set<HeldBlock>();
  readonly #options: VolumeOptions;
  #space: DiskSpace | undefined;
  #usedAtSpaceBytes = 0;
  #failingUntilMs = -Infinity;
  #fullUntilMs = -Infinity;

  constructor(options: VolumeOptions) {
    this.#options = options;
    this.path = options.path;
    this.order = options.order;
    this.gate = new DiskGate(options.clock, options.tuning, (error) => this.failed(error));
  }

  get state(): VolumeState {
    const now = this.#options.clock.monotonicMs();
    if (this.gate.isHanging || now < this.#failingUntilMs) return "failing";
    return now < this.#fullUntilMs ? "full" : "ok";
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

  /** Bytes to evict until the used share is `share`; 0 or less: none. */
  excessBytes(share: number): number {
    const { limitBytes } = this.#options;
    if (this.#space === undefined) return 0;
    const beyondFileSystem = (1 - share) * this.#space.totalBytes - this.#fileSystemFreeBytes;
    if (limitBytes === undefined) return Math.min(this.usedBytes, beyondFileSystem);
    // A budget on a disk that others fill gives way only as far as its own next blocks need room.
    const reserveBytes = Math.min(this.#options.tuning.diskReserveBytes, (1 - share) * this.#space.totalBytes);
    const beyondDisk = reserveBytes - this.#fileSystemFreeBytes;
    return Math.min(this.usedBytes, Math.max(this.usedBytes - share * limitBytes, beyondDisk));
  }

  /** Sets bytes aside; false where they don't fit. */
  reserve(bytes: number): boolean {
    if (!this.isWritable || bytes > this.freeBytes) return false;
    this.reservedBytes += bytes;
    return true;
  }

  /** Looks at the file system again. Never rejects: a disk that does not answer is marked. */
  async refreshSpace(): Promise<void> {
    try {
      const space = await this.gate.run(() => this.#options.disk.space(this.path));
      this.#space = space;
      this.#usedAtSpaceBytes = this.usedBytes;
    } catch (error) {
      this.failed(error);
    }
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
    log.warn({ event: "volume-failed", volume: this.path, state: this.state, retryAfterMs: tuning.retryAfterMs, err: error });
  }

  /** A volume whose blocks could not be read at the start is not used until the next one. */
  leaveOut(error: unknown): void {
    this.#failingUntilMs = Infinity;
    this.#options.log.error({ event: "volume-left-out", volume: this.path, err: error });
  }

  /** There is room: a full volume is tried again at once. */
  roomFreed(): void {
    this.#fullUntilMs = -Infinity;
  }
}
