import type { BlockId, Geometry } from "@frontcache/proto";
import type { BufferLanding } from "../members/block-landing.js";
import type { Clock } from "../members/clock.js";
import type { CallLimits } from "../members/ports.js";
import { type LocalFile, leaveAlone } from "./local-file.js";
import { LocalFiles } from "./local-files.js";
import { LocalUses } from "./local-uses.js";
import { untilEnd } from "./until-end.js";

/** What was read without a socket since the client was made. */
export interface LocalReport {
  /** Reads of one block each, and their bytes. */
  readonly reads: number;
  readonly bytes: number;
  /** Block files that are open. */
  readonly openFiles: number;
}

export interface LocalReadsOptions {
  readonly clock: Clock;
  /** The members' cache directories, as this process sees them. */
  readonly volumes: readonly string[];
  /** Tells the members of blocks that were read; settles in bounded time and never rejects. */
  readonly tell: (uses: readonly BlockId[]) => Promise<void>;
}

/** A file is read as far as there is room: nothing pauses it. */
const NO_SOURCE = { resume: (): void => undefined };

/** Hot reads up to this long are made on the main thread: 3 us, where the thread pool's round trip takes 25. */
const AT_ONCE_BYTES = 128 << 10;
/** Pages read within this time are taken to be in memory still. */
const HOT_MS = 10_000;
/**
 * A read on the main thread that took so long may have waited for the disk, or only for its turn on the processor: it did the
 * former where this process has read from a disk meanwhile, or where it took very long. For a while, none is made there then.
 */
const LONG_MS = 2;
const VERY_LONG_MS = 50;
const SLOW_FOR_MS = 5_000;
/** What the thread pool reads at a time of a long read, and how many of these side by side. */
const PIECE_BYTES = 4 << 20;
const PIECES = 4;
/** How long uses are gathered before members hear of them: a moment, in the life of a block. */
const TELL_EVERY_MS = 5_000;
const MOST_TOLD = 10_000;

/**
 * Reads blocks of members on this host from their files, straight into the caller's memory. Reads of a version alone: the
 * current version is for the owner to tell. Whatever is not as it should be is no error: the read goes to a member instead.
 */
export class LocalReads {
  readonly #options: LocalReadsOptions;
  readonly #files: LocalFiles;
  readonly #uses: LocalUses;
  /** Of this process, when that was last looked at. */
  #diskReads = process.resourceUsage().fsRead;
  #reads = 0;
  #bytes = 0;

  constructor(options: LocalReadsOptions) {
    this.#options = options;
    this.#files = new LocalFiles(options);
    this.#uses = new LocalUses({ ...options, everyMs: TELL_EVERY_MS, mostBlocks: MOST_TOLD });
  }

  get report(): LocalReport {
    return { reads: this.#reads, bytes: this.#bytes, openFiles: this.#files.openFiles };
  }

  /**
   * Whether all of the part has landed. Where not, some bytes at its beginning may have, and the rest is to be asked for.
   * Rejects only with what ended the call.
   */
  read(landing: BufferLanding, geometry: Geometry, limits: CallLimits): boolean | Promise<boolean> {
    const { url, version } = landing.pinned;
    if (version === "" || limits.ended !== undefined) return false;
    const file = this.#files.find({ url, version, offset: landing.span.blockOffset }, geometry);
    if (file === undefined) return false;
    return file instanceof Promise ? this.#readOpened(file, landing, limits) : this.#readFrom(file, landing, limits);
  }

  /** When the last read is over: tells of the last uses; resolves when that is done and no file is open. */
  async close(): Promise<void> {
    await Promise.all([this.#files.close(), this.#uses.close()]);
  }

  async #readOpened(opening: Promise<LocalFile | undefined>, landing: BufferLanding, limits: CallLimits): Promise<boolean> {
    const file = await untilEnd(opening, limits, () => this.#files.leave(opening));
    return file === undefined || file.isRetired ? false : this.#readFrom(file, landing, limits);
  }

  #readFrom(file: LocalFile, landing: BufferLanding, limits: CallLimits): boolean | Promise<boolean> {
    const { offset, length } = landing.nextRequest();
    const start = offset - file.id.offset;
    const end = Math.min(start + length, file.length);
    // Behind the object's end: the member says so in its own words.
    if (end <= start || file.volume.left > 0) return false;
    if (!file.holds(start, end)) return this.#readAfterRefresh(file, landing, limits, start, end);
    const nowMs = this.#options.clock.monotonicMs();
    const atOnce = end - start <= AT_ONCE_BYTES && nowMs >= file.volume.slowUntilMs && file.isHot(start, end, nowMs - HOT_MS);
    return atOnce ? this.#readNow(file, landing, start, end, nowMs) : this.#readPieces(file, landing, limits, start, end);
  }

  async #readAfterRefresh(
    file: LocalFile,
    landing: BufferLanding,
    limits: CallLimits,
    start: number,
    end: number,
  ): Promise<boolean> {
    file.acquire();
    const refreshing = file.refresh();
    try {
      if (!(await untilEnd(refreshing, limits, () => leaveAlone(file.volume, refreshing)))) this.#files.drop(file);
      else if (file.holds(start, end)) return await this.#readPieces(file, landing, limits, start, end);
      return false;
    } finally {
      void refreshing.then(() => file.release());
    }
  }

  #readNow(file: LocalFile, landing: BufferLanding, start: number, end: number, beganMs: number): boolean {
    const target = this.#targetOf(file, landing);
    if (target === undefined) return false;
    const isRead = file.readNow(target, start, beganMs);
    const { clock } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs - beganMs > LONG_MS && this.#hasWaited(nowMs - beganMs)) file.volume.slowUntilMs = nowMs + SLOW_FOR_MS;
    if (!isRead) {
      this.#files.drop(file);
      return false;
    }
    landing.landed(end - start);
    this.#note(file, end - start);
    return true;
  }

  #hasWaited(tookMs: number): boolean {
    const before = this.#diskReads;
    this.#diskReads = process.resourceUsage().fsRead;
    return this.#diskReads > before || tookMs > VERY_LONG_MS;
  }

  /** Several pieces at a time on the thread pool; they land in order. */
  async #readPieces(file: LocalFile, landing: BufferLanding, limits: CallLimits, start: number, end: number): Promise<boolean> {
    const target = this.#targetOf(file, landing);
    if (target === undefined) return false;
    const running: { readonly end: number; readonly isRead: Promise<boolean> }[] = [];
    // The kernel writes into the result: where that is the caller's memory, the read is over no sooner than the kernel.
    const over = <Result>(work: Promise<Result>): Promise<Result> =>
      landing.mayBeLeft ? untilEnd(work, limits, () => leaveAlone(file.volume, rest())) : work;
    const rest = (): Promise<unknown> => Promise.all(running.map(({ isRead }) => isRead));
    file.acquire();
    try {
      for (let [at, landed] = [start, 0]; landed < end - start; ) {
        while (at < end && running.length < PIECES) {
          const pieceEnd = file.pieceEnd(at, end, PIECE_BYTES);
          const piece = target.subarray(at - start, pieceEnd - start);
          running.push({ end: pieceEnd, isRead: file.read(piece, at, this.#options.clock.monotonicMs()) });
          at = pieceEnd;
        }
        const next = running[0]!;
        const isRead = await over(next.isRead);
        running.shift();
        if (limits.ended !== undefined) throw limits.ended;
        if (!isRead) {
          this.#files.drop(file);
          return false;
        }
        landing.landed(next.end - start - landed);
        landed = next.end - start;
      }
      this.#note(file, end - start);
      return true;
    } finally {
      // Nothing else may write there before they are done.
      if (running.length === 0) file.release();
      else await over(rest().finally(() => file.release()));
    }
  }

  /** Undefined where the file's object is not the one that other answers of this read spoke of. */
  #targetOf(file: LocalFile, landing: BufferLanding): Buffer | undefined {
    try {
      landing.open({ version: file.id.version, objectSize: file.objectSize }, NO_SOURCE);
      return landing.rest;
    } catch {
      return undefined;
    }
  }

  #note(file: LocalFile, bytes: number): void {
    this.#reads++;
    this.#bytes += bytes;
    this.#uses.note(file.id);
  }
}
