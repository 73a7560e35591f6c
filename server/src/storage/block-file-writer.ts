import { encodeFooter, FOOTER_BYTES, type Geometry } from "@frontcache/proto";
import type { FilledSegment } from "./block.js";
import type { CachedBlock } from "./cached-block.js";
import type { Disk, DiskFile, FilePiece } from "./disk/disk.js";
import type { Volume } from "./volume.js";

/** Maximum segments of one operation of the gate, because each has a time limit. */
const MAX_RUN = 8;

/** Writes block files through the gates of their volumes. All methods reject with the system's errors. */
export class BlockFileWriter {
  readonly #geometry: Geometry;
  readonly #disk: Disk;

  constructor(geometry: Geometry, disk: Disk) {
    this.#geometry = geometry;
    this.#disk = disk;
  }

  /**
   * Creates a block's file at `path`: its segments, then the footer, which marks the file as complete. After an error, an incomplete file
   * may remain. `isUrgent`: as of `Disk.create`.
   */
  create(
    { volume }: CachedBlock,
    path: string,
    { segments, footer, isUrgent }: { segments: readonly FilledSegment[]; footer: Buffer; isUrgent: boolean },
  ): Promise<DiskFile> {
    const pieces = adjacent(segments).map((run) => this.#piece(run));
    pieces.push({ position: this.#geometry.blockBytes, sources: [footer] });
    if (segments.length > 1) return this.#createByPieces(volume, path, pieces);
    const create = (): Promise<DiskFile> => this.#disk.create(path, pieces, isUrgent);
    const isBatched = this.#disk.createsInThread?.(path, pieces) === true;
    return isBatched ? volume.gate.runBatched(create, close) : volume.gate.run(create, close);
  }

  async #createByPieces(volume: Volume, path: string, pieces: readonly FilePiece[]): Promise<DiskFile> {
    const file = await volume.gate.run(() => this.#disk.create(path, []), close);
    try {
      for (const { position, sources } of pieces) {
        const write = (): Promise<void> => file.write(sources, position);
        await (position < this.#geometry.blockBytes ? volume.gate.writeBulk(write) : volume.gate.run(write));
      }
      return file;
    } catch (error) {
      close(file);
      throw error;
    }
  }

  #open({ volume, path }: CachedBlock): Promise<DiskFile> {
    return volume.gate.run(() => this.#disk.open(path, "update"), close);
  }

  /** Opens a block's file for some work and closes it. */
  async edit(block: CachedBlock, work: (file: DiskFile) => Promise<void>): Promise<void> {
    const file = await this.#open(block);
    try {
      await work(file);
    } finally {
      await file.close().catch(() => undefined);
    }
  }

  /** Writes segments in ascending order, adjacent ones in one operation of the gate. */
  async writeSegments(block: CachedBlock, file: DiskFile, segments: readonly FilledSegment[]): Promise<void> {
    for (const run of adjacent(segments)) {
      const { sources, position } = this.#piece(run);
      await block.volume.gate.writeBulk(() => file.write(sources, position));
    }
  }

  #piece(run: readonly FilledSegment[]): FilePiece {
    return { position: run[0]!.index * this.#geometry.segmentBytes, sources: run.map(({ bytes }) => bytes) };
  }

  /**
   * Encodes the footer with the cached segments and `added`, and the headers of the object that do not fit into it. Undefined if
   * the block's identity does not fit. `mostBytes`: if it would be longer, the headers are omitted.
   */
  footer(block: CachedBlock, added: readonly FilledSegment[] = [], mostBytes = Number.POSITIVE_INFINITY): Buffer | undefined {
    const crcs = block.segments.crcs();
    for (const segment of added) crcs[segment.index] = segment.crc;
    const { id, info, createdAtMs } = block;
    const footer = { id, info, createdAtMs, crcs, drops: block.segments.drops };
    const whole = encodeFooter(footer, this.#geometry);
    if (whole !== undefined && whole.length <= mostBytes) return whole;
    const { version, objectSize } = info;
    return encodeFooter({ ...footer, info: { version, objectSize, lacks: "metadata" } }, this.#geometry);
  }

  /** Encodes the footer of a file that must not grow. */
  footerInPlace(block: CachedBlock, added: readonly FilledSegment[] = []): Buffer {
    return this.footer(block, added, FOOTER_BYTES + block.behindFooterBytes)!;
  }

  async writeFooter(block: CachedBlock, file: DiskFile, footer: Buffer): Promise<void> {
    const { drops } = block.segments;
    await block.volume.gate.run(() => file.write([footer], this.#geometry.blockBytes));
    block.footerDrops = drops;
  }

  /** Frees a segment's space on the disk. Returns false if the disk does not support it. */
  deallocate(block: CachedBlock, file: DiskFile, segment: number): Promise<boolean> {
    const position = segment * this.#geometry.segmentBytes;
    return block.volume.gate.run(() => file.deallocate(position, block.segments.lengthOf(segment)));
  }
}

/** Closes a file whose creation or opening exceeded its time limit, or failed. */
function close(file: DiskFile): void {
  void file.close().catch(() => undefined);
}

/** Groups ascending segments into runs without gaps. */
function adjacent(segments: readonly FilledSegment[]): FilledSegment[][] {
  const runs: FilledSegment[][] = [];
  for (const segment of segments) {
    const run = runs.at(-1);
    const follows = run !== undefined && run.length < MAX_RUN && run.at(-1)!.index + 1 === segment.index;
    if (follows) run.push(segment);
    else runs.push([segment]);
  }
  return runs;
}
