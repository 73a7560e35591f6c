import { type BlockId, blockDigest, blockPath, type Geometry } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import type { Clock } from "../members/clock.js";
import { LocalFile, type LocalVolume, suspendUntilSettled, type Verification } from "./local-file.js";

export interface LocalFilesOptions {
  readonly clock: Clock;
  /** Paths of the directories of block files. */
  readonly volumes: readonly string[];
  readonly verification: Verification;
}

/** Maximum open files. Evicted ones use disk space until the next sweep: at most 4 GiB. */
const MOST_FILES = 256;
/** Maximum concurrent lookups. If a disk hangs, its lookups accumulate up to this bound. */
const MOST_OPENING = 1_000;
/** Maximum blocks remembered as missing, and for how long. This saves cold reads a lookup. */
const MOST_MISSING = 10_000;
const MISSING_MS = 1_000;
/** Minimum interval between checks that a file still exists. An evicted block may be read for this long. */
const CHECKED_MS = 1_000;
const SWEEP_MS = 2_000;
/** Time after its last use until a file is closed. */
const IDLE_MS = 30_000;

/** A running lookup of a file, volume by volume. */
interface Opening {
  readonly file: Promise<LocalFile | undefined>;
  readonly at: { volume: LocalVolume | undefined };
}

/** The open block files that this process reads. */
export class LocalFiles {
  readonly #clock: Clock;
  readonly #volumes: readonly LocalVolume[];
  readonly #open = new BoundedMap<string, LocalFile>(MOST_FILES, (_, file) => this.#close(file));
  readonly #opening = new Map<string, Opening>();
  /** Blocks without a file, and until when they count as missing. */
  readonly #missing = new BoundedMap<string, number>(MOST_MISSING);
  readonly #closing = new Set<Promise<void>>();
  #cancelSweep: (() => void) | undefined;
  #closed = false;

  constructor({ clock, volumes, verification }: LocalFilesOptions) {
    this.#clock = clock;
    this.#volumes = volumes.map((path) => ({ path, verification, slowUntilMs: 0, abandonedReads: 0 }));
  }

  /** Number of open files, including files that are being closed. */
  get openFiles(): number {
    return this.#open.size + this.#closing.size;
  }

  /** Returns the block's open file, undefined if there is none, or a promise while the lookup runs. */
  find(id: BlockId, geometry: Geometry): LocalFile | undefined | Promise<LocalFile | undefined> {
    const key = keyOf(id, geometry);
    const file = this.#open.peek(key);
    if (file === undefined) return this.#isMissing(key) ? undefined : this.#openOnce(key, id, geometry);
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - file.checkedMs > CHECKED_MS && !this.#stillExists(key, file, nowMs)) return undefined;
    file.usedMs = nowMs;
    return this.#open.get(key);
  }

  /** Returns the path of a block's file whose first `length` bytes are cached and match the footer. Undefined: no volume has it. */
  async pathOf(id: BlockId, length: number, geometry: Geometry): Promise<string | undefined> {
    const digest = blockDigest(id, geometry.blockBytes);
    for (const volume of this.#volumes) {
      if (this.#closed || volume.abandonedReads > 0) continue;
      const path = blockPath(volume.path, digest);
      const file = await LocalFile.open(path, id, volume, geometry, this.#clock.monotonicMs());
      if (file === undefined) continue;
      const isWhole = length <= file.length && file.isCached(0, length);
      this.#close(file);
      if (isWhole) return path;
    }
    return undefined;
  }

  /** Abandons a lookup of `find`. Its volume is not used until the lookup settles. */
  abandon(opening: Promise<LocalFile | undefined>): void {
    for (const { file, at } of this.#opening.values()) {
      if (file === opening && at.volume !== undefined) suspendUntilSettled(at.volume, opening);
    }
  }

  /** Closes a file that has changed. The block is remembered as missing, and looked up again later. */
  drop(file: LocalFile): void {
    for (const [key, open] of this.#open) {
      if (open !== file) continue;
      this.#retire(key, file);
      this.#miss(key);
    }
  }

  /** Looks a block up at its next read, although it was missing a moment ago: this process has written its file. */
  expect(id: BlockId, geometry: Geometry): void {
    this.#missing.delete(keyOf(id, geometry));
  }

  /** Closes all files; resolves when all are closed. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelSweep?.();
    await Promise.all([...this.#opening.values()].map(({ file }) => file));
    for (const [key, file] of this.#open) this.#retire(key, file);
    await Promise.all(this.#closing);
  }

  #isMissing(key: string): boolean {
    if (this.#closed) return true;
    const untilMs = this.#missing.peek(key);
    if (untilMs === undefined) return false;
    if (this.#clock.monotonicMs() < untilMs) return true;
    this.#missing.delete(key);
    return false;
  }

  #openOnce(key: string, id: BlockId, geometry: Geometry): Promise<LocalFile | undefined> | undefined {
    let opening = this.#opening.get(key);
    if (opening === undefined) {
      if (this.#opening.size === MOST_OPENING) return undefined;
      const at: Opening["at"] = { volume: undefined };
      opening = { file: this.#openFirst(key, id, geometry, at).finally(() => this.#opening.delete(key)), at };
      this.#opening.set(key, opening);
    }
    return opening.file;
  }

  async #openFirst(key: string, id: BlockId, geometry: Geometry, at: Opening["at"]): Promise<LocalFile | undefined> {
    const digest = blockDigest(id, geometry.blockBytes);
    for (const volume of this.#volumes) {
      if (volume.abandonedReads > 0) continue;
      at.volume = volume;
      const nowMs = this.#clock.monotonicMs();
      const file = await LocalFile.open(blockPath(volume.path, digest), id, volume, geometry, nowMs);
      if (file === undefined) continue;
      this.#open.set(key, file);
      this.#cancelSweep ??= this.#closed ? undefined : this.#clock.after(SWEEP_MS, this.#sweep);
      return file;
    }
    this.#miss(key);
    return undefined;
  }

  #miss(key: string): void {
    this.#missing.set(key, this.#clock.monotonicMs() + MISSING_MS);
  }

  /** Checks that the file still exists. Closes the file of an evicted block to free its space. */
  #stillExists(key: string, file: LocalFile, nowMs: number): boolean {
    file.checkedMs = nowMs;
    if (file.hasName()) return true;
    this.#retire(key, file);
    return false;
  }

  #retire(key: string, file: LocalFile): void {
    this.#open.delete(key);
    this.#close(file);
  }

  #close(file: LocalFile): void {
    const closing = file.retire().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  readonly #sweep = (): void => {
    this.#cancelSweep = undefined;
    const nowMs = this.#clock.monotonicMs();
    for (const [key, file] of this.#open) {
      if (nowMs - file.usedMs > IDLE_MS) this.#retire(key, file);
      else if (nowMs - file.checkedMs > CHECKED_MS) this.#stillExists(key, file, nowMs);
    }
    if (this.#open.size > 0) this.#cancelSweep = this.#clock.after(SWEEP_MS, this.#sweep);
  };
}

function keyOf(id: BlockId, geometry: Geometry): string {
  return `${geometry.blockBytes}\n${id.offset}\n${id.version}\n${id.url}`;
}
