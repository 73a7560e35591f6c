import { crc32 } from "node:zlib";
import type { ObjectInfo } from "@frontcache/proto";
import { type Geometry, segmentOf } from "@frontcache/proto";
import { SingleFlight } from "@frontcache/proto/runtime";
import type { Slice } from "../runtime/slice.js";
import type { BlockId, BlockPin } from "./block.js";
import type { CachedBlock } from "./cached-block.js";
import type { Damages } from "./damages.js";
import { systemCode, systemError } from "./disk/disk.js";
import { mappedRead } from "./mapping/mapped-read.js";
import type { OpenFile } from "./open-file.js";
import type { OpenFiles } from "./open-files.js";
import type { References } from "./references.js";
import { READ_BYTES, type ReadBuffers } from "./references.js";

/** Plain reads end at multiples of this, so that the next one begins on a page. */
const READ_ALIGNMENT = 256 << 10;

/** Our error code for a file that is shorter than its data. */
const CUT_SHORT = "ECUTSHORT";

/** Errors of a changed file, not of the disk. */
const OF_THE_FILE = new Set([CUT_SHORT, "ENOENT"]);
/** Errors of the process or the whole disk: the file may be intact. */
const NOT_OF_THE_FILE = new Set(["EMFILE", "ENFILE", "ETIMEDOUT"]);

export interface BlockReaderOptions {
  readonly geometry: Geometry;
  readonly files: OpenFiles;
  readonly buffers: ReadBuffers;
  readonly damages: Damages;
}

/**
 * Reads cached blocks: from the mapping if the bytes are in memory, otherwise from the file on the thread pool. Bytes that do not
 * match the footer are dropped, and the read that finds them is a miss.
 */
export class BlockReader {
  readonly #options: BlockReaderOptions;

  constructor(options: BlockReaderOptions) {
    this.#options = options;
  }

  /** As `BlockLease.read`. */
  read(block: CachedBlock, start: number, end: number): Slice | Promise<Slice | undefined> | undefined {
    const heldEnd = Math.min(end, block.segments.cachedEnd(start));
    if (heldEnd <= start) return undefined;
    const mapped = block.open && this.#mappedRead(block, block.open, start, heldEnd);
    return mapped ?? this.#readFile(block, start, heldEnd);
  }

  #mappedRead(block: CachedBlock, open: OpenFile, start: number, end: number): Slice | undefined {
    return mappedRead(open, block.segments, start, end, (from, to) => this.#readOpen(block, open, from, to));
  }

  async #readFile(block: CachedBlock, start: number, end: number): Promise<Slice | undefined> {
    let open: OpenFile;
    try {
      open = await this.#options.files.use(block);
    } catch (error) {
      this.#unreadable(block, error);
      return undefined;
    }
    try {
      return await this.#readOpen(block, open, start, end);
    } finally {
      open.unpin();
    }
  }

  /** Reads from an open file, which is pinned. */
  async #readOpen(block: CachedBlock, open: OpenFile, start: number, end: number): Promise<Slice | undefined> {
    try {
      const segment = segmentOf(start, this.#options.geometry);
      if (!block.segments.isChecked(segment) && !(await this.#checkOnce(block, open, segment))) return undefined;
      const checkedEnd = Math.min(end, block.segments.checkedEnd(start));
      if (checkedEnd <= start) return undefined;
      return this.#mappedRead(block, open, start, checkedEnd) ?? (await this.#plainRead(block, open, start, checkedEnd));
    } catch (error) {
      this.#unreadable(block, error, segmentOf(start, this.#options.geometry));
      return undefined;
    }
  }

  async #plainRead(block: CachedBlock, open: OpenFile, start: number, end: number): Promise<Slice | undefined> {
    const aligned = Math.floor((start + READ_BYTES) / READ_ALIGNMENT) * READ_ALIGNMENT;
    const slice = this.#options.buffers.take(Math.min(end, aligned) - start);
    const readEnd = start + slice.bytes.length;
    const dropped = block.segments.lastDrop(start, readEnd);
    await this.#fill(block, open, slice, start);
    if (block.segments.lastDrop(start, readEnd) === dropped) return slice;
    // One of the segments was dropped, and perhaps rewritten, during the read: these bytes may be neither the old nor the new ones.
    slice.release();
    return undefined;
  }

  /**
   * Fills the slice from the file. If that fails, it rejects and releases the slice: immediately, or for a read that exceeds
   * its time limit, when the read ends, because until then the disk may still write into this memory.
   */
  async #fill(block: CachedBlock, open: OpenFile, slice: Slice, position: number): Promise<void> {
    const { bytes } = slice;
    const state = { isReading: false, isGivenUp: false };
    const read = async (): Promise<number> => {
      const arrived = this.#arriving(open, position, position + bytes.length);
      state.isReading = true;
      open.pin();
      try {
        return await open.file.read(bytes, position);
      } finally {
        arrived?.();
        open.unpin();
        state.isReading = false;
        if (state.isGivenUp) slice.release();
      }
    };
    try {
      const count = await block.volume.gate.run(read);
      if (count < bytes.length) throw systemError(CUT_SHORT, `${block.path} ends at ${position + count}`);
    } catch (error) {
      if (state.isReading) state.isGivenUp = true;
      else slice.release();
      throw error;
    }
  }

  /** Records that cold pages are being read, so that no read waits for them in the mapping. */
  #arriving(open: OpenFile, start: number, end: number): (() => void) | undefined {
    const mapping = open.mapped?.mapping;
    const isCold = mapping !== undefined && !mapping.isResident(start, end);
    return isCold ? open.arrive(start, end) : undefined;
  }

  /**
   * Verifies a segment's CRC. Concurrent checks of one segment share the work. Returns false if it was damaged and is dropped.
   */
  #checkOnce(block: CachedBlock, open: OpenFile, segment: number): Promise<boolean> {
    block.checks ??= new SingleFlight();
    return block.checks.run(segment, () => this.#check(block, open, segment));
  }

  async #check(block: CachedBlock, open: OpenFile, segment: number): Promise<boolean> {
    const { segments } = block;
    const start = segment * segments.geometry.segmentBytes;
    const end = start + segments.lengthOf(segment);
    let crc = 0;
    for (let at = start; at < end; ) {
      const slice = this.#options.buffers.take(end - at);
      await this.#fill(block, open, slice, at);
      crc = crc32(slice.bytes, crc);
      at += slice.bytes.length;
      slice.release();
    }
    if (crc === segments.crc(segment)) segments.check(segment);
    else this.#options.damages.badSegment(block, segment, new Error(`CRC-32 of segment ${segment} differs`));
    return segments.isChecked(segment);
  }

  /** Handles a file that cannot be opened (no segment given), or a segment that cannot be read. */
  #unreadable(block: CachedBlock, error: unknown, segment?: number): void {
    const code = systemCode(error);
    if (!OF_THE_FILE.has(code)) block.volume.health.failed(error);
    if (NOT_OF_THE_FILE.has(code)) return;
    if (segment === undefined || OF_THE_FILE.has(code)) this.#options.damages.badBlock(block, error);
    else this.#options.damages.badSegment(block, segment, error);
  }
}

/** A pin of a block file. */
export class StorePin implements BlockPin {
  readonly #block: CachedBlock;
  readonly #reader: BlockReader;
  readonly #references: References;

  readonly id: BlockId;
  readonly info: ObjectInfo;
  #released = false;

  constructor(block: CachedBlock, reader: BlockReader, references: References) {
    this.#block = block;
    this.#reader = reader;
    this.#references = references;
    this.id = block.id;
    this.info = block.info;
    block.acquire();
    references.acquire();
  }

  has(segment: number): boolean {
    return this.#block.segments.has(segment);
  }

  read(start: number, end: number): Slice | Promise<Slice | undefined> | undefined {
    return this.#released ? undefined : this.#reader.read(this.#block, start, end);
  }

  /** May be called repeatedly. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#references.remove();
    this.#block.release();
  }
}
