import fs from "node:fs";
import { crc32 } from "node:zlib";
import {
  type BlockFooter,
  type BlockId,
  blockLength,
  decodeFooter,
  FOOTER_BYTES,
  FOOTER_TAIL_BYTES,
  type Geometry,
  segmentLength,
  segmentOf,
} from "@frontcache/proto";

/** A directory of block files: a cache directory of a member on this host, or the near cache's own. */
export interface LocalVolume {
  readonly path: string;
  /**
   * When a segment's CRC is verified. With `every-read`, reads must consist of whole segments: then no change of the file by anybody
   * yields a wrong byte.
   */
  readonly verification: Verification;
  /** Time (monotonic) until which its files are not read on the main thread, because a read there was slow. */
  slowUntilMs: number;
  /** Running operations whose callers have given up. While there are any, the disk counts as hanging and is not used. */
  abandonedReads: number;
}

export type Verification = "first-read" | "every-read";

/** Stops using a volume until an abandoned operation settles. The operation must never reject. */
export function suspendUntilSettled(volume: LocalVolume, work: Promise<unknown>): void {
  volume.abandonedReads++;
  void work.finally(() => volume.abandonedReads--);
}

/** Bytes that are verified at a time if every read is verified: 0.4 ms of the main thread. */
const VERIFIED_BYTES = 1 << 20;

/** Receives a footer's last bytes for reads on the main thread, which use them synchronously. */
const tail = Buffer.allocUnsafeSlow(FOOTER_TAIL_BYTES);

/**
 * A block file on this host, open for reading. Its member may append segments and drop damaged ones; it records a
 * drop in the footer before it overwrites the bytes. Bytes are therefore valid if the footer, read after them, records no new
 * drop. The file of an evicted block stays readable, and uses its space, until it is closed.
 */
export class LocalFile {
  readonly #fd: number;
  readonly volume: LocalVolume;
  readonly #geometry: Geometry;

  /** Running reads. */
  #users = 0;
  #state: "open" | "retired" | "closed" = "open";
  #footer: BlockFooter;
  /** For each segment, the time (monotonic) of the last read after its CRC was verified; undefined: not verified yet. */
  #readMs: (number | undefined)[] = [];
  readonly #checks = new Map<number, Promise<boolean>>();
  readonly #closed: Promise<void>;
  #close!: () => void;
  /** Monotonic times of the last use, and of the last check that the file existed. */
  usedMs: number;
  checkedMs: number;

  private constructor(fd: number, footer: BlockFooter, volume: LocalVolume, geometry: Geometry, nowMs: number) {
    this.#fd = fd;
    this.volume = volume;
    this.#geometry = geometry;
    this.#footer = footer;
    this.usedMs = nowMs;
    this.checkedMs = nowMs;
    this.#closed = new Promise((resolve) => {
      this.#close = resolve;
    });
  }

  /** Opens a block's file. Returns undefined if the file is missing, unreadable, or of another block. */
  static async open(
    path: string,
    id: BlockId,
    volume: LocalVolume,
    geometry: Geometry,
    nowMs: number,
  ): Promise<LocalFile | undefined> {
    const fd = await opened(path);
    if (fd === undefined) return undefined;
    const footer = await footerOf(fd, geometry);
    const matches = footer?.id.url === id.url && footer.id.version === id.version && footer.id.offset === id.offset;
    if (matches) return new LocalFile(fd, footer, volume, geometry, nowMs);
    await closed(fd);
    return undefined;
  }

  get id(): BlockId {
    return this.#footer.id;
  }

  get objectSize(): number {
    return this.#footer.info.objectSize;
  }

  /** Size of the block, bytes. */
  get length(): number {
    return blockLength(this.id.offset, this.objectSize, this.#geometry);
  }

  /** Whether every byte of the range is cached, according to the footer as last read. */
  isCached(start: number, end: number): boolean {
    const last = segmentOf(end - 1, this.#geometry);
    for (let segment = segmentOf(start, this.#geometry); segment <= last; segment++) {
      if (this.#footer.crcs[segment] === undefined) return false;
    }
    return true;
  }

  /** Whether each segment of the range is verified and was read since `sinceMs`, so that its pages are probably in memory. */
  isHot(start: number, end: number, sinceMs: number): boolean {
    const last = segmentOf(end - 1, this.#geometry);
    for (let segment = segmentOf(start, this.#geometry); segment <= last; segment++) {
      const readMs = this.#readMs[segment];
      if (readMs === undefined || readMs < sinceMs) return false;
    }
    return true;
  }

  /** Whether the file still has its name. If not, the block was evicted. */
  hasName(): boolean {
    try {
      return fs.fstatSync(this.#fd).nlink > 0;
    } catch {
      return false;
    }
  }

  /** Reads the footer again. Returns false if a segment was dropped; then nothing known about the file is valid any more. */
  async refresh(): Promise<boolean> {
    const footer = await footerOf(this.#fd, this.#geometry);
    if (footer === undefined || footer.drops !== this.#footer.drops) return false;
    this.#footer = footer;
    return true;
  }

  /** Reads hot bytes synchronously. Returns false if they are not available; the target's contents are then undefined. */
  readNow(target: Buffer, start: number, nowMs: number): boolean {
    try {
      if (fs.readSync(this.#fd, target, 0, target.length, start) !== target.length) return false;
      if (this.#verifiesAll) return this.#isVerified(target, start, nowMs);
      if (fs.readSync(this.#fd, tail, 0, FOOTER_TAIL_BYTES, this.#tailAt) !== FOOTER_TAIL_BYTES) return false;
      if (!this.#recordsNoDrop(tail)) return false;
    } catch {
      return false;
    }
    this.#noteRead(start, start + target.length, nowMs);
    return true;
  }

  /**
   * Reads cached bytes on the thread pool, and verifies the CRC of unverified segments. `[start, start + target.length)` must lie
   * in one segment, or in verified segments. Returns false as `readNow` does. Never rejects.
   */
  async read(target: Buffer, start: number, nowMs: number): Promise<boolean> {
    if (this.#verifiesAll) return (await filled(this.#fd, target, start)) && this.#isVerified(target, start, nowMs);
    const segment = segmentOf(start, this.#geometry);
    const isWhole = start === segment * this.#geometry.segmentBytes && target.length === this.#lengthOf(segment);
    const isKnown = this.#readMs[segment] !== undefined;
    if (!isKnown && !isWhole && !(await this.#checkOnce(segment, nowMs))) return false;
    if (!(await filled(this.#fd, target, start))) return false;
    if (!isKnown && isWhole && crc32(target) !== this.#footer.crcs[segment]) return false;
    // On the thread pool too, because the footer's page may no longer be in memory.
    const lastBytes = Buffer.allocUnsafe(FOOTER_TAIL_BYTES);
    if (!(await filled(this.#fd, lastBytes, this.#tailAt)) || !this.#recordsNoDrop(lastBytes)) return false;
    this.#noteRead(start, start + target.length, nowMs);
    return true;
  }

  /**
   * Returns the end of a piece of a long read from `start`: its segment's end, or through verified segments at most `mostBytes`.
   */
  pieceEnd(start: number, end: number, mostBytes: number): number {
    const { segmentBytes } = this.#geometry;
    if (this.#verifiesAll) return Math.min(end, start + Math.min(mostBytes, VERIFIED_BYTES));
    const first = segmentOf(start, this.#geometry);
    let next = first + 1;
    if (this.#readMs[first] !== undefined) {
      while (this.#readMs[next] !== undefined && next * segmentBytes < start + mostBytes) next++;
    }
    return Math.min(end, start + mostBytes, next * segmentBytes);
  }

  acquire(): void {
    this.#users++;
  }

  release(): void {
    this.#users--;
    this.#closeUnused();
  }

  /** Closes the file after its last read; resolves when it is closed. */
  retire(): Promise<void> {
    if (this.#state === "open") this.#state = "retired";
    this.#closeUnused();
    return this.#closed;
  }

  /** Whether new reads are refused. */
  get isRetired(): boolean {
    return this.#state !== "open";
  }

  #closeUnused(): void {
    if (this.#state !== "retired" || this.#users > 0) return;
    this.#state = "closed";
    void closed(this.#fd).then(this.#close);
  }

  /** Position of the footer's last bytes. */
  get #tailAt(): number {
    return this.#geometry.blockBytes + FOOTER_BYTES - FOOTER_TAIL_BYTES;
  }

  /** Whether the footer's last bytes record no drop since the footer was read. */
  #recordsNoDrop(lastBytes: Buffer): boolean {
    return lastBytes.readUInt32LE(0) === this.#footer.drops;
  }

  #lengthOf(segment: number): number {
    return segmentLength(segment, this.length, this.#geometry);
  }

  get #verifiesAll(): boolean {
    return this.volume.verification === "every-read";
  }

  /** Verifies bytes that were read: whole segments from `start`. */
  #isVerified(bytes: Buffer, start: number, nowMs: number): boolean {
    const end = start + bytes.length;
    for (let at = start; at < end; ) {
      const segment = segmentOf(at, this.#geometry);
      const next = at + this.#lengthOf(segment);
      const isWhole = at === segment * this.#geometry.segmentBytes && next <= end;
      if (!isWhole || crc32(bytes.subarray(at - start, next - start)) !== this.#footer.crcs[segment]) return false;
      at = next;
    }
    this.#noteRead(start, end, nowMs);
    return true;
  }

  /** Records the read of verified segments, or of one segment that was just verified. */
  #noteRead(start: number, end: number, nowMs: number): void {
    const last = segmentOf(end - 1, this.#geometry);
    for (let segment = segmentOf(start, this.#geometry); segment <= last; segment++) this.#readMs[segment] = nowMs;
  }

  /** Verifies a segment's CRC. Concurrent callers share one check. */
  #checkOnce(segment: number, nowMs: number): Promise<boolean> {
    let check = this.#checks.get(segment);
    if (check === undefined) {
      const start = segment * this.#geometry.segmentBytes;
      const own = Buffer.allocUnsafeSlow(this.#lengthOf(segment));
      check = this.read(own, start, nowMs).finally(() => this.#checks.delete(segment));
      this.#checks.set(segment, check);
    }
    return check;
  }
}

function opened(path: string): Promise<number | undefined> {
  return new Promise((resolve) => fs.open(path, "r", (error, fd) => resolve(error === null ? fd : undefined)));
}

function closed(fd: number): Promise<void> {
  return new Promise((resolve) => fs.close(fd, () => resolve()));
}

async function footerOf(fd: number, geometry: Geometry): Promise<BlockFooter | undefined> {
  const bytes = Buffer.allocUnsafe(FOOTER_BYTES);
  return (await filled(fd, bytes, geometry.blockBytes)) ? decodeFooter(bytes, geometry) : undefined;
}

/** Fills the target from a position. Returns false if the file is too short or cannot be read. */
function filled(fd: number, target: Buffer, position: number): Promise<boolean> {
  return new Promise((resolve) => {
    const readOn = (at: number): void => {
      fs.read(fd, target, at, target.length - at, position + at, (error, count) => {
        if (error !== null || count === 0) resolve(false);
        else if (at + count === target.length) resolve(true);
        else readOn(at + count);
      });
    };
    readOn(0);
  });
}
