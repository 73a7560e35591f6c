import type { BlockId, Geometry } from "@frontcache/proto";
import type { BufferLanding } from "../members/block-landing.js";
import type { Clock } from "../members/clock.js";
import type { CallLimits } from "../members/ports.js";
import { type LocalFile, suspendUntilSettled, type Verification } from "./local-file.js";
import { LocalFiles } from "./local-files.js";
import { LocalUses } from "./local-uses.js";
import { untilEnd } from "./until-end.js";

/** Counts of the reads from files since the client was created. */
export interface LocalReport {
  /** Reads, each of one block, and their bytes. */
  readonly reads: number;
  readonly bytes: number;
  /** Open block files. */
  readonly openFiles: number;
}

export interface LocalReadsOptions {
  readonly clock: Clock;
  /** Paths of the directories of block files. */
  readonly volumes: readonly string[];
  readonly verification: Verification;
  /** Reports read blocks to whoever evicts them. Settles in bounded time and never rejects. */
  readonly report: (uses: readonly BlockId[]) => Promise<void>;
  /** Called if the file of a block was cut, or has other bytes than its footer says. */
  readonly onDamaged?: ((id: BlockId) => void) | undefined;
}

/** Reads of files fill the available room and never pause. */
const NO_SOURCE = { resume: (): void => undefined };

/** Hot reads up to this size run on the main thread: 3 us, whereas the thread pool's round trip takes 25. */
const MAIN_THREAD_BYTES = 128 << 10;
/** Pages read within this time are assumed to be in memory. */
const HOT_MS = 10_000;
/**
 * A read on the main thread that exceeds the first limit waited either for the disk or for the CPU. It counts as a disk wait if
 * this process has read from a disk meanwhile, or if it exceeds the second limit. Reads then avoid the main thread for a while.
 */
const LONG_MS = 2;
const VERY_LONG_MS = 50;
const SLOW_FOR_MS = 5_000;
/** Size of the pieces of a long read on the thread pool, and the number of concurrent pieces. */
const PIECE_BYTES = 4 << 20;
const PIECES = 4;
/** Interval between reports of uses, short compared to the lifetime of a block. */
const REPORT_INTERVAL_MS = 5_000;
const MOST_REPORTED = 10_000;

/**
 * Reads blocks from files on this host, directly into the caller's buffer. Only reads with a version use files,
 * because only the owner knows the current version. If a file is missing or invalid, the read goes to a member instead.
 */
export class LocalReads {
  readonly #options: LocalReadsOptions;
  readonly #files: LocalFiles;
  readonly #uses: LocalUses;
  /** The process's disk reads when last checked. */
  #diskReads = process.resourceUsage().fsRead;
  #reads = 0;
  #bytes = 0;

  constructor(options: LocalReadsOptions) {
    this.#options = options;
    this.#files = new LocalFiles(options);
    this.#uses = new LocalUses({ ...options, everyMs: REPORT_INTERVAL_MS, mostBlocks: MOST_REPORTED });
  }

  get report(): LocalReport {
    return { reads: this.#reads, bytes: this.#bytes, openFiles: this.#files.openFiles };
  }

  /**
   * Reads a span from a file. Returns whether all bytes were read. If not, some bytes at the start may have been read; the rest
   * must be requested from a member. Rejects only with the error that ended the call.
   */
  read(landing: BufferLanding, geometry: Geometry, limits: CallLimits): boolean | Promise<boolean> {
    const { url, version } = landing.pinned;
    if (version === "" || limits.ended !== undefined) return false;
    const file = this.#files.find({ url, version, offset: landing.span.blockOffset }, geometry);
    if (file === undefined) return false;
    return file instanceof Promise ? this.#readOpened(file, landing, limits) : this.#readFrom(file, landing, limits);
  }

  /** Returns the path of the file of a block that has at least `length` bytes, of which all are cached. Undefined: no such file here. */
  pathOf(id: BlockId, length: number, geometry: Geometry): Promise<string | undefined> {
    return this.#files.pathOf(id, length, geometry);
  }

  /** Looks a block up at its next read: this process has written its file. */
  expect(id: BlockId, geometry: Geometry): void {
    this.#files.expect(id, geometry);
  }

  /** Call after the last read. Reports the remaining uses; resolves when that is done and all files are closed. */
  async close(): Promise<void> {
    await Promise.all([this.#files.close(), this.#uses.close()]);
  }

  async #readOpened(opening: Promise<LocalFile | undefined>, landing: BufferLanding, limits: CallLimits): Promise<boolean> {
    const file = await untilEnd(opening, limits, () => this.#files.abandon(opening));
    return file === undefined || file.isRetired ? false : this.#readFrom(file, landing, limits);
  }

  #readFrom(file: LocalFile, landing: BufferLanding, limits: CallLimits): boolean | Promise<boolean> {
    const { offset, length } = landing.nextRequest();
    const start = offset - file.id.offset;
    const end = Math.min(start + length, file.length);
    // Past the object's end: the member answers with the error.
    if (end <= start || file.volume.abandonedReads > 0) return false;
    if (!file.isCached(start, end)) return this.#readAfterRefresh(file, landing, limits, start, end);
    const nowMs = this.#options.clock.monotonicMs();
    const isHot = end - start <= MAIN_THREAD_BYTES && nowMs >= file.volume.slowUntilMs && file.isHot(start, end, nowMs - HOT_MS);
    return isHot ? this.#readNow(file, landing, start, end, nowMs) : this.#readPieces(file, landing, limits, start, end);
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
      if (!(await untilEnd(refreshing, limits, () => suspendUntilSettled(file.volume, refreshing)))) this.#files.drop(file);
      else if (file.isCached(start, end)) return await this.#readPieces(file, landing, limits, start, end);
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
      this.#dropDamaged(file);
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

  /** Reads several pieces concurrently on the thread pool; they are delivered in order. */
  async #readPieces(file: LocalFile, landing: BufferLanding, limits: CallLimits, start: number, end: number): Promise<boolean> {
    const target = this.#targetOf(file, landing);
    if (target === undefined) return false;
    const running: { readonly end: number; readonly isRead: Promise<boolean> }[] = [];
    // The kernel writes into the result. If that is the caller's buffer, the read cannot end before the kernel is done.
    const waitFor = <Result>(work: Promise<Result>): Promise<Result> =>
      landing.mayBeLeft ? untilEnd(work, limits, () => suspendUntilSettled(file.volume, rest())) : work;
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
        const isRead = await waitFor(next.isRead);
        running.shift();
        if (limits.ended !== undefined) throw limits.ended;
        if (!isRead) {
          this.#dropDamaged(file);
          return false;
        }
        landing.landed(next.end - start - landed);
        landed = next.end - start;
      }
      this.#note(file, end - start);
      return true;
    } finally {
      // The buffer must not be used before the remaining reads are done.
      if (running.length === 0) file.release();
      else await waitFor(rest().finally(() => file.release()));
    }
  }

  /** Opens the target. Returns undefined if the file's object differs from the one in other responses of this read. */
  #targetOf(file: LocalFile, landing: BufferLanding): Buffer | undefined {
    try {
      landing.open({ version: file.id.version, objectSize: file.objectSize }, NO_SOURCE);
      return landing.rest;
    } catch {
      return undefined;
    }
  }

  #dropDamaged(file: LocalFile): void {
    // A file that was removed is no damage.
    if (file.hasName()) this.#options.onDamaged?.(file.id);
    this.#files.drop(file);
  }

  #note(file: LocalFile, bytes: number): void {
    this.#reads++;
    this.#bytes += bytes;
    this.#uses.note(file.id);
  }
}
