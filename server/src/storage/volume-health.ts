import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import { systemCode } from "./disk/disk.js";
import type { VolumeState } from "./storage-report.js";
import type { StorageTuning } from "./storage-tuning.js";

export interface VolumeHealthOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly tuning: Pick<StorageTuning, "retryAfterMs">;
}

/** The signs of a volume's health that others know. */
export interface VolumeSigns {
  /** Whether an operation has exceeded its time limit, and the disk has not answered since. */
  isHanging(): boolean;
  /** Whether other programs use too much of the file system. */
  isCrowdedOut(): boolean;
  /** Whether another file can be created. */
  hasInodes(): boolean;
}

/** Errors that mean "no space", not "broken". */
const NO_ROOM = new Set(["ENOSPC", "EDQUOT"]);
/** Errors of this process, not of the disk. */
const NO_DESCRIPTORS = new Set(["EMFILE", "ENFILE"]);

/** Whether a volume can be used: after an error it is not used for a while, and one that does not answer is left out. */
export class VolumeHealth {
  readonly #options: VolumeHealthOptions;
  readonly #signs: VolumeSigns;
  #failingUntilMs = -Infinity;
  #isLeftOut = false;
  #fullUntilMs = -Infinity;

  constructor(options: VolumeHealthOptions, signs: VolumeSigns) {
    this.#options = options;
    this.#signs = signs;
  }

  get state(): VolumeState {
    const now = this.#options.clock.monotonicMs();
    if (this.#signs.isHanging() || now < this.#failingUntilMs) return "failing";
    return this.#signs.isCrowdedOut() || now < this.#fullUntilMs ? "full" : "ok";
  }

  /** Whether new bytes may be cached here now. */
  get isWritable(): boolean {
    return this.state === "ok";
  }

  /** Records an operation's error: the volume is not used for a while. Logs once for each such period. */
  failed(error: unknown): void {
    const code = systemCode(error);
    if (NO_DESCRIPTORS.has(code)) return;
    const { clock, log, tuning, path: volume } = this.#options;
    const untilMs = clock.monotonicMs() + tuning.retryAfterMs;
    const before = this.state;
    if (NO_ROOM.has(code)) this.#fullUntilMs = untilMs;
    else this.#failingUntilMs = Math.max(untilMs, this.#failingUntilMs);
    if (this.state === before) return;
    const full = NO_ROOM.has(code) ? { resource: this.#signs.hasInodes() ? "bytes" : "inodes" } : {};
    log.warn(
      { event: "volume-failed", volume, state: this.state, ...full, retryAfterMs: tuning.retryAfterMs, err: error },
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
      { event: "volume-left-out", volume: this.#options.path, err: error },
      "cannot read the volume's blocks; it is not used before the next start",
    );
  }

  /** Excludes the volume until `join`, because it does not answer at the start. */
  awaitAnswer(timeoutMs: number): void {
    this.#failingUntilMs = Infinity;
    this.#options.log.error(
      { event: "volume-missing", volume: this.#options.path, timeoutMs },
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
