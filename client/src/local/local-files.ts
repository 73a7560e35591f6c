import { type BlockId, blockDigest, blockPath, type Geometry } from "@frontcache/proto";
import type { Clock } from "../members/clock.js";
import { LocalFile, type LocalVolume, leaveAlone } from "./local-file.js";

export interface LocalFilesOptions {
  readonly clock: Clock;
  /** The members' cache directories, as this process sees them. */
  readonly volumes: readonly string[];
}

/** Files kept open. Their evicted blocks keep their space until the next sweep finds them: 4 GiB at the very most. */
const MOST_FILES = 256;
/** Files that are looked for at a time: on a disk that hangs, all that is asked for stays here. */
const MOST_OPENING = 1_000;
/** Blocks remembered to have no file here, and for how long: looking takes a moment that each cold read would pay. */
const MOST_MISSING = 10_000;
const MISSING_MS = 1_000;
/** A file's name is looked at when it is used, at most this often, and by the sweep: so long may an evicted block be read on. */
const SEEN_MS = 1_000;
const SWEEP_MS = 2_000;
/** How long a file is kept open that nobody reads. */
const IDLE_MS = 30_000;

/** A file that is looked for, volume by volume. */
interface Opening {
  readonly file: Promise<LocalFile | undefined>;
  readonly at: { volume: LocalVolume | undefined };
}

/** The block files that this process reads itself: open, the least recently used first. */
export class LocalFiles {
  readonly #clock: Clock;
  readonly #volumes: readonly LocalVolume[];
  readonly #open = new Map<string, LocalFile>();
  readonly #opening = new Map<string, Opening>();
  readonly #missing = new Map<string, number>();
  readonly #closing = new Set<Promise<void>>();
  #cancelSweep: (() => void) | undefined;
  #closed = false;

  constructor({ clock, volumes }: LocalFilesOptions) {
    this.#clock = clock;
    this.#volumes = volumes.map((path) => ({ path, slowUntilMs: 0, left: 0 }));
  }

  /** Files that are open, those included that are being closed. */
  get openFiles(): number {
    return this.#open.size + this.#closing.size;
  }

  /** The block's open file; undefined where there is none, a promise while it isn't known. */
  find(id: BlockId, geometry: Geometry): LocalFile | undefined | Promise<LocalFile | undefined> {
    const key = `${geometry.blockBytes}\n${id.offset}\n${id.version}\n${id.url}`;
    const file = this.#open.get(key);
    if (file === undefined) return this.#isMissing(key) ? undefined : this.#openOnce(key, id, geometry);
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - file.seenMs > SEEN_MS && !this.#see(key, file, nowMs)) return undefined;
    file.usedMs = nowMs;
    this.#open.delete(key);
    this.#open.set(key, file);
    return file;
  }

  /** Nobody waits any more for a file that `find` looks for: the volume where it is looked for is left alone until that is known. */
  leave(opening: Promise<LocalFile | undefined>): void {
    for (const { file, at } of this.#opening.values()) {
      if (file === opening && at.volume !== undefined) leaveAlone(at.volume, opening);
    }
  }

  /** Closes a file that is not what it was; it is looked for again in a moment, as one that was missing. */
  drop(file: LocalFile): void {
    for (const [key, open] of this.#open) {
      if (open !== file) continue;
      this.#retire(key, file);
      this.#miss(key);
    }
  }

  /** Closes all files; resolves when none is open. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelSweep?.();
    await Promise.all([...this.#opening.values()].map(({ file }) => file));
    for (const [key, file] of this.#open) this.#retire(key, file);
    await Promise.all(this.#closing);
  }

  #isMissing(key: string): boolean {
    if (this.#closed) return true;
    const untilMs = this.#missing.get(key);
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
      if (volume.left > 0) continue;
      at.volume = volume;
      const nowMs = this.#clock.monotonicMs();
      const file = await LocalFile.open(blockPath(volume.path, digest), id, volume, geometry, nowMs);
      if (file === undefined) continue;
      this.#open.set(key, file);
      for (const [oldest, open] of this.#open) {
        if (this.#open.size <= MOST_FILES) break;
        this.#retire(oldest, open);
      }
      this.#cancelSweep ??= this.#closed ? undefined : this.#clock.after(SWEEP_MS, this.#sweep);
      return file;
    }
    this.#miss(key);
    return undefined;
  }

  #miss(key: string): void {
    this.#missing.set(key, this.#clock.monotonicMs() + MISSING_MS);
    for (const oldest of this.#missing.keys()) {
      if (this.#missing.size <= MOST_MISSING) break;
      this.#missing.delete(oldest);
    }
  }

  /** Whether the file is there still; one that was evicted is closed, so that its space comes back. */
  #see(key: string, file: LocalFile, nowMs: number): boolean {
    file.seenMs = nowMs;
    if (file.hasName()) return true;
    this.#retire(key, file);
    return false;
  }

  #retire(key: string, file: LocalFile): void {
    this.#open.delete(key);
    const closing = file.retire().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  readonly #sweep = (): void => {
    this.#cancelSweep = undefined;
    const nowMs = this.#clock.monotonicMs();
    for (const [key, file] of this.#open) {
      if (nowMs - file.usedMs > IDLE_MS) this.#retire(key, file);
      else if (nowMs - file.seenMs > SEEN_MS) this.#see(key, file, nowMs);
    }
    if (this.#open.size > 0) this.#cancelSweep = this.#clock.after(SWEEP_MS, this.#sweep);
  };
}
