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

/** Where block files are looked for. */
export interface LocalVolume {
  readonly path: string;
  /** Until then (monotonic) its files are not read on the main thread, because a read there took long. */
  slowUntilMs: number;
  /** Reads under way whose callers could not wait for them: while there are any, the disk is taken to hang and left alone. */
  left: number;
}

/** Leaves a volume alone until work on it is done that nobody waits for any more, and that never rejects. */
export function leaveAlone(volume: LocalVolume, work: Promise<unknown>): void {
  volume.left++;
  void work.finally(() => volume.left--);
}

/** Receives a footer's last bytes where they are read on the main thread, and used before anything else happens. */
const tail = Buffer.allocUnsafeSlow(FOOTER_TAIL_BYTES);

/**
 * A block file of a member on this host, open for reading. Its member may append segments and give damaged ones up, but says
 * so in the footer before it touches their bytes: bytes count once the footer, looked at after them, tells of no drop. An
 * evicted file stays readable, and keeps its space, until it is closed.
 */
export class LocalFile {
  readonly #fd: number;
  readonly volume: LocalVolume;
  readonly #geometry: Geometry;

  /** Reads under way. */
  #users = 0;
  #state: "open" | "retired" | "closed" = "open";
  #footer: BlockFooter;
  /** Of each segment: when (monotonic) it was last read, since it was found to be what its CRC says; undefined: not yet. */
  #readMs: (number | undefined)[] = [];
  readonly #checks = new Map<number, Promise<boolean>>();
  readonly #closed: Promise<void>;
  #close!: () => void;
  /** When it was last used, and when its name was last known to be there; monotonic. */
  usedMs: number;
  seenMs: number;

  private constructor(fd: number, footer: BlockFooter, volume: LocalVolume, geometry: Geometry, nowMs: number) {
    this.#fd = fd;
    this.volume = volume;
    this.#geometry = geometry;
    this.#footer = footer;
    this.usedMs = nowMs;
    this.seenMs = nowMs;
    this.#closed = new Promise((resolve) => {
      this.#close = resolve;
    });
  }

  /** Undefined where there is no file that can be read, or not of that block. */
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
    const isIt = footer?.id.url === id.url && footer.id.version === id.version && footer.id.offset === id.offset;
    if (isIt) return new LocalFile(fd, footer, volume, geometry, nowMs);
    await closed(fd);
    return undefined;
  }

  get id(): BlockId {
    return this.#footer.id;
  }

  get objectSize(): number {
    return this.#footer.info.objectSize;
  }

  /** Bytes of the block. */
  get length(): number {
    return blockLength(this.id.offset, this.objectSize, this.#geometry);
  }

  /** Whether the footer, as last read, tells that every byte of the range is held. */
  holds(start: number, end: number): boolean {
    const last = segmentOf(end - 1, this.#geometry);
    for (let segment = segmentOf(start, this.#geometry); segment <= last; segment++) {
      if (this.#footer.crcs[segment] === undefined) return false;
    }
    return true;
  }

  /** Whether each segment of the range is known to be true, and was read since `sinceMs`: then its pages are in memory still. */
  isHot(start: number, end: number, sinceMs: number): boolean {
    const last = segmentOf(end - 1, this.#geometry);
    for (let segment = segmentOf(start, this.#geometry); segment <= last; segment++) {
      const readMs = this.#readMs[segment];
      if (readMs === undefined || readMs < sinceMs) return false;
    }
    return true;
  }

  /** Whether the file has still its name; without it, it has been evicted. */
  hasName(): boolean {
    try {
      return fs.fstatSync(this.#fd).nlink > 0;
    } catch {
      return false;
    }
  }

  /** Reads the footer anew where it has changed. False: a segment was given up meanwhile, nothing known of the file holds. */
  async refresh(): Promise<boolean> {
    const footer = await footerOf(this.#fd, this.#geometry);
    if (footer === undefined || footer.drops !== this.#footer.drops) return false;
    this.#footer = footer;
    return true;
  }

  /** Reads hot bytes at once. False: they are not to be had, whatever stands in the target now. */
  readNow(target: Buffer, start: number, nowMs: number): boolean {
    try {
      if (fs.readSync(this.#fd, target, 0, target.length, start) !== target.length) return false;
      if (fs.readSync(this.#fd, tail, 0, FOOTER_TAIL_BYTES, this.#tailAt) !== FOOTER_TAIL_BYTES) return false;
      if (!this.#tellsOfNoDrop(tail)) return false;
    } catch {
      return false;
    }
    this.#noteRead(start, start + target.length, nowMs);
    return true;
  }

  /**
   * Reads held bytes on the thread pool, those of unknown segments against their CRC: `[start, start + target.length)` lies in
   * one segment, or in segments that are known to be true. False as for `readNow`. Never rejects.
   */
  async read(target: Buffer, start: number, nowMs: number): Promise<boolean> {
    const segment = segmentOf(start, this.#geometry);
    const isWhole = start === segment * this.#geometry.segmentBytes && target.length === this.#lengthOf(segment);
    const isKnown = this.#readMs[segment] !== undefined;
    if (!isKnown && !isWhole && !(await this.#checkOnce(segment, nowMs))) return false;
    if (!(await filled(this.#fd, target, start))) return false;
    if (!isKnown && isWhole && crc32(target) !== this.#footer.crcs[segment]) return false;
    // Not on the main thread either: the footer's page may have left the memory with all others.
    const lastBytes = Buffer.allocUnsafe(FOOTER_TAIL_BYTES);
    if (!(await filled(this.#fd, lastBytes, this.#tailAt)) || !this.#tellsOfNoDrop(lastBytes)) return false;
    this.#noteRead(start, start + target.length, nowMs);
    return true;
  }

  /** Where a piece of a long read ends that begins at `start`: with its segment, or, through known ones, after `mostBytes`. */
  pieceEnd(start: number, end: number, mostBytes: number): number {
    const { segmentBytes } = this.#geometry;
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

  /** Closes the file once its last read is over; resolves then. */
  retire(): Promise<void> {
    if (this.#state === "open") this.#state = "retired";
    this.#closeUnused();
    return this.#closed;
  }

  /** Whether no new read may begin. */
  get isRetired(): boolean {
    return this.#state !== "open";
  }

  #closeUnused(): void {
    if (this.#state !== "retired" || this.#users > 0) return;
    this.#state = "closed";
    void closed(this.#fd).then(this.#close);
  }

  /** Where the footer's last bytes stand. */
  get #tailAt(): number {
    return this.#geometry.blockBytes + FOOTER_BYTES - FOOTER_TAIL_BYTES;
  }

  /** Whether, by the footer's last bytes, no segment that the known footer speaks of was given up. */
  #tellsOfNoDrop(lastBytes: Buffer): boolean {
    return lastBytes.readUInt32LE(0) === this.#footer.drops;
  }

  #lengthOf(segment: number): number {
    return segmentLength(segment, this.length, this.#geometry);
  }

  /** Reads of known segments alone, or of one whole segment that was just checked. */
  #noteRead(start: number, end: number, nowMs: number): void {
    const last = segmentOf(end - 1, this.#geometry);
    for (let segment = segmentOf(start, this.#geometry); segment <= last; segment++) this.#readMs[segment] = nowMs;
  }

  /** Checks a segment against its CRC, once for all who ask meanwhile. */
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

/** Fills the target from a position; false where the file ends before, or can't be read. */
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
