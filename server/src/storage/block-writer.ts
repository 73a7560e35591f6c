import { join } from "node:path";
import {
  blockDigest,
  blockDirectory,
  blockLength,
  blockPath,
  encodeFooter,
  type Geometry,
  segmentCount,
} from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import { type BlockDescription, blockKey, type FilledSegment } from "./block.js";
import type { BlockIndex } from "./block-index.js";
import { temporaryDirectory } from "./block-path.js";
import type { Disk, DiskFile } from "./disk/disk.js";
import type { BlockRemover } from "./eviction/block-remover.js";
import { HeldBlock } from "./held-block.js";
import type { OpenFiles } from "./open-files.js";
import type { VolumeReservation } from "./reservation.js";
import { systemCode } from "./system-error.js";
import type { Volume } from "./volume.js";

export interface BlockWriterOptions {
  readonly geometry: Geometry;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly index: BlockIndex;
  readonly files: OpenFiles;
  readonly remover: BlockRemover;
}

/** Segments written at once, at most: each write has a time limit. */
const MAX_RUN = 8;

/** Puts segments into block files. Works on one block at a time in the order of the calls, on different blocks side by side. */
export class BlockWriter {
  readonly #tails = new Map<string, Promise<unknown>>();
  readonly #directories = new Set<string>();
  #temporaries = 0;

  constructor(private readonly options: BlockWriterOptions) {}

  /** As `BlockStore.write`. */
  write(described: BlockDescription, segments: readonly FilledSegment[], reservation: VolumeReservation): Promise<boolean> {
    const { id, info } = described;
    const expected = segmentCount(blockLength(id.offset, info.objectSize, this.options.geometry), this.options.geometry);
    if (segments.some((segment) => segment.index >= expected)) return Promise.resolve(false);
    return this.#inOrder(blockKey(id), async () => {
      const block = this.options.index.get(blockKey(id));
      if (block === undefined) return this.#create(described, segments, reservation);
      if (block.info.objectSize !== info.objectSize) return false;
      return this.#append(block, segments, reservation);
    });
  }

  /** Takes a segment that the table has lost already out of the file too. */
  async forget(block: HeldBlock, segment: number): Promise<void> {
    await this.#inOrder(block.key, async () => {
      if (block.retired || block.segments.holds(segment)) return;
      await this.#edit(block, async (file) => {
        await this.#writeFooter(block, file, this.#footer(block)!);
        // From here on, who reads the file beside us takes no byte of the segment. Slices of it that are still on their way to
        // readers keep the bytes where they are; the next fill writes over them.
        if (isLent(block)) return;
        if (!(await this.#deallocate(block, file, segment))) this.options.remover.retire(block);
      }).catch(() => this.options.remover.retire(block));
    });
  }

  /** Resolves when no write is under way. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all(this.#tails.values());
  }

  #inOrder<T>(key: string, work: () => Promise<T>): Promise<T> {
    const result = (this.#tails.get(key) ?? Promise.resolve()).then(work);
    const tail = result
      .catch(() => undefined)
      .then(() => {
        if (this.#tails.get(key) === tail) this.#tails.delete(key);
      });
    this.#tails.set(key, tail);
    return result;
  }

  /** A new block: everything into a temporary file, then its name, then the index. Before the rename nobody knows of it. */
  async #create(
    described: BlockDescription,
    segments: readonly FilledSegment[],
    reservation: VolumeReservation,
  ): Promise<boolean> {
    const { id } = described;
    const { geometry, clock, index, files, remover, disk } = this.options;
    const { volume } = reservation;
    const digest = blockDigest(id, geometry.blockBytes);
    const path = blockPath(volume.path, digest);
    const nowMs = clock.nowMs();
    const block = new HeldBlock({ ...described, firstUsedMs: nowMs, lastUsedMs: nowMs, volume, path, geometry });
    for (const segment of segments) block.segments.add(segment.index, segment.crc, true);
    const bytes = block.chargedBytes;
    const footer = this.#footer(block);
    if (segments.length === 0 || footer === undefined || !(await remover.isFree(path)) || !reservation.take(bytes)) return false;
    const temporary = join(temporaryDirectory(volume.path), `${digest}.${++this.#temporaries}`);
    let file: DiskFile | undefined;
    try {
      await this.#directory(volume, temporaryDirectory(volume.path));
      await this.#directory(volume, blockDirectory(volume.path, digest));
      file = await this.#open(volume, temporary, "create");
      await this.#writeSegments(block, file, segments);
      await this.#writeFooter(block, file, footer);
      await volume.gate.run(() => disk.rename(temporary, path));
    } catch (error) {
      reservation.putBack(bytes);
      this.#directories.clear();
      volume.failed(error);
      await file?.close().catch(() => undefined);
      await Promise.all([remover.removeFile(volume, temporary), remover.removeFile(volume, path)]);
      return false;
    }
    reservation.spend(bytes);
    index.add(block);
    files.adopt(block, file);
    return true;
  }

  /** More segments of a block: bytes in place, then the footer, then the table. Before the footer nobody counts on them. */
  async #append(block: HeldBlock, segments: readonly FilledSegment[], reservation: VolumeReservation): Promise<boolean> {
    const added = segments.filter((segment) => !block.segments.holds(segment.index));
    if (added.length === 0) return true;
    const room = reservation.volume === block.volume ? reservation : undefined;
    const bytes = added.reduce((sum, segment) => sum + block.segmentCharge(segment.index), 0);
    if (!(room?.take(bytes) ?? block.volume.reserve(bytes))) return false;
    block.acquire();
    const kept = await this.#appendHeld(block, added);
    if (kept) {
      block.volume.reservedBytes -= bytes;
      block.volume.usedBytes += bytes;
      for (const segment of added) block.segments.add(segment.index, segment.crc, true);
      block.open?.regions?.grow();
      this.options.index.touch(block, this.options.clock.nowMs());
    } else if (room !== undefined) room.putBack(bytes);
    else block.volume.reservedBytes -= bytes;
    block.release();
    return kept;
  }

  async #appendHeld(block: HeldBlock, added: readonly FilledSegment[]): Promise<boolean> {
    const left = { uncertain: false };
    try {
      await this.#edit(block, async (file) => {
        // A segment that was dropped and comes again is still held for those who read the file beside us: first they are told.
        left.uncertain = block.footerDrops !== block.segments.drops;
        if (left.uncertain) await this.#writeFooter(block, file, this.#footer(block)!);
        left.uncertain = false;
        try {
          await this.#writeSegments(block, file, added);
        } catch (error) {
          left.uncertain = !(await this.#takeBack(block, file, added));
          throw error;
        }
        left.uncertain = true;
        await this.#writeFooter(block, file, this.#footer(block, added)!);
      });
    } catch (error) {
      block.volume.failed(error);
      // Half a footer, or bytes that could not be taken back: only a new file is certain again.
      if (left.uncertain || systemCode(error) === "ENOENT") this.options.remover.retire(block);
      return false;
    }
    return !block.retired;
  }

  /** Gives back the space of bytes that no footer will speak of. False: they may still be there. */
  async #takeBack(block: HeldBlock, file: DiskFile, added: readonly FilledSegment[]): Promise<boolean> {
    // A slice of a segment that was dropped and came again may still be on its way to a reader.
    if (isLent(block)) return false;
    try {
      for (const segment of added) {
        if (!(await this.#deallocate(block, file, segment.index))) return false;
      }
      return true;
    } catch {
      return false;
    }
  }

  #deallocate(block: HeldBlock, file: DiskFile, segment: number): Promise<boolean> {
    const position = segment * this.options.geometry.segmentBytes;
    return block.volume.gate.run(() => file.deallocate(position, block.segments.lengthOf(segment)));
  }

  async #edit(block: HeldBlock, work: (file: DiskFile) => Promise<void>): Promise<void> {
    const file = await this.#open(block.volume, block.path, "update");
    try {
      await work(file);
    } finally {
      await file.close().catch(() => undefined);
    }
  }

  #open(volume: Volume, path: string, mode: "create" | "update"): Promise<DiskFile> {
    return volume.gate.run(
      () => this.options.disk.open(path, mode),
      (late) => void late.close().catch(() => undefined),
    );
  }

  /**
   * Adjacent segments in one write: from 2 MiB on Linux keeps them in huge pages, which cost a fraction to write and to map
   * (measured: populating a mapping of 16 MiB takes 0.03 ms instead of 0.6).
   */
  async #writeSegments(block: HeldBlock, file: DiskFile, segments: readonly FilledSegment[]): Promise<void> {
    for (const run of adjacent(segments)) {
      const sources = run.map(({ bytes }) => bytes);
      await block.volume.gate.run(() => file.write(sources, run[0]!.index * this.options.geometry.segmentBytes));
    }
  }

  /** Its length depends on the identity alone: once it has fitted, it always does. */
  #footer(block: HeldBlock, added: readonly FilledSegment[] = []): Buffer | undefined {
    const crcs = block.segments.crcs();
    for (const segment of added) crcs[segment.index] = segment.crc;
    const { id, info, createdAtMs } = block;
    return encodeFooter({ id, info, createdAtMs, crcs, drops: block.segments.drops }, this.options.geometry);
  }

  async #writeFooter(block: HeldBlock, file: DiskFile, footer: Buffer): Promise<void> {
    const { drops } = block.segments;
    await block.volume.gate.run(() => file.write([footer], this.options.geometry.blockBytes));
    block.footerDrops = drops;
  }

  async #directory(volume: Volume, path: string): Promise<void> {
    if (this.#directories.has(path)) return;
    await volume.gate.run(() => this.options.disk.makeDirectory(path));
    this.#directories.add(path);
  }
}

/** Ascending segments as runs without gaps. */
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

/** Whether slices or reads of the block's file are under way. */
function isLent(block: HeldBlock): boolean {
  return (block.open?.users ?? 0) > 0;
}
