import {
  blockDigest,
  blockDirectory,
  blockLength,
  blockPath,
  FOOTER_BYTES,
  type Geometry,
  segmentCount,
} from "@frontcache/proto";
import { TransientMap } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import { type BlockDescription, blockKey, type FilledSegment } from "./block.js";
import { BlockFileWriter } from "./block-file-writer.js";
import type { BlockIndex } from "./block-index.js";
import { CachedBlock } from "./cached-block.js";
import type { Disk, DiskFile } from "./disk/disk.js";
import { systemCode } from "./disk/disk.js";
import type { BlockRemover } from "./eviction/block-remover.js";
import type { OpenFiles } from "./open-files.js";
import type { Volume } from "./volume.js";
import type { VolumeReservation } from "./volume-reservation.js";

export interface BlockWriterOptions {
  readonly geometry: Geometry;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly index: BlockIndex;
  readonly files: OpenFiles;
  readonly remover: BlockRemover;
}

/** A running call of `write`. */
interface PendingWrite {
  readonly described: BlockDescription;
  readonly segments: readonly FilledSegment[];
  readonly reservation: VolumeReservation;
  readonly isUrgent: boolean;
  readonly settle: (kept: boolean) => void;
  readonly fail: (error: unknown) => void;
}

/** The segments that a write adds to a block, and its reserved space. */
interface Addition {
  readonly write: PendingWrite;
  readonly segments: readonly FilledSegment[];
  readonly bytes: number;
  /** Undefined: the space was taken from the block's volume directly. */
  readonly room: VolumeReservation | undefined;
}

/**
 * Writes segments into block files: in the order of the calls for one block, concurrently for different blocks.
 * Writes that wait for another write of their block are combined, because the parts of a block arrive at nearly the same time.
 */
export class BlockWriter {
  readonly #options: BlockWriterOptions;

  readonly #tails = new TransientMap<Promise<unknown>>();
  /** Writes of a block that have not begun, while no other operation of the block is queued after them. */
  readonly #waiting = new TransientMap<PendingWrite[]>();
  readonly #directories = new Set<string>();
  readonly #file: BlockFileWriter;

  constructor(options: BlockWriterOptions) {
    this.#options = options;
    this.#file = new BlockFileWriter(options.geometry, options.disk);
  }

  /** As `BlockStore.write`. */
  write(
    described: BlockDescription,
    segments: readonly FilledSegment[],
    { reservation, isUrgent }: Pick<PendingWrite, "reservation" | "isUrgent">,
  ): Promise<boolean> {
    const { id, info } = described;
    const expected = segmentCount(blockLength(id.offset, info.objectSize, this.#options.geometry), this.#options.geometry);
    if (segments.some((segment) => segment.index >= expected)) return Promise.resolve(false);
    return new Promise((settle, fail) =>
      this.#enqueue(blockKey(id), { described, segments, reservation, isUrgent, settle, fail }),
    );
  }

  /** Removes a segment from the file. The table has dropped it already. */
  async forget(block: CachedBlock, segment: number): Promise<void> {
    const key = blockKey(block.id);
    this.#waiting.delete(key);
    await this.#inOrder(key, async () => {
      if (block.retired || block.segments.has(segment)) return;
      await this.#file
        .edit(block, async (file) => {
          await this.#file.writeFooter(block, file, this.#file.footerInPlace(block));
          // From here on, processes that read the file directly use no byte of the segment. The bytes stay in place for slices
          // that are still being sent; the next fill overwrites them.
          if (isLent(block)) return;
          if (!(await this.#file.deallocate(block, file, segment))) this.#options.remover.retire(block);
        })
        .catch(() => this.#options.remover.retire(block));
    });
  }

  /**
   * Rewrites the block's footer, because the headers of the object have changed. The block's next segments may be written with
   * it.
   */
  async describe(block: CachedBlock): Promise<void> {
    if (block.isDescriptionDue) return;
    block.isDescriptionDue = true;
    const key = blockKey(block.id);
    this.#waiting.delete(key);
    await this.#inOrder(key, async () => {
      block.isDescriptionDue = false;
      if (block.retired) return;
      await this.#file
        .edit(block, (file) => this.#writeDescription(block, file))
        .catch((error: unknown) => {
          block.volume.health.failed(error);
          this.#options.remover.retire(block);
        });
    });
  }

  /** Reserves space after the footer first, or frees the space that the new headers do not need. */
  async #writeDescription(block: CachedBlock, file: DiskFile): Promise<void> {
    const footer = this.#file.footer(block)!;
    const moreBytes = footer.length - FOOTER_BYTES - block.behindFooterBytes;
    if (moreBytes > 0) {
      if (!block.space.reserve(moreBytes)) return;
      block.space.commit(moreBytes);
      block.behindFooterBytes += moreBytes;
    }
    await this.#file.writeFooter(block, file, footer);
    if (moreBytes < 0) {
      const { geometry } = this.#options;
      await block.volume.gate.run(() => file.truncate(geometry.blockBytes + footer.length));
      block.behindFooterBytes += moreBytes;
      block.space.freed(-moreBytes);
    }
    // The write is not a use of the block.
    await block.volume.gate.run(() => file.setModified(block.lastUsedMs));
  }

  /** Resolves when no write is running. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all(this.#tails.values());
  }

  #inOrder(key: string, work: () => Promise<void>): Promise<void> {
    const result = this.#tails.get(key)?.then(work) ?? work();
    const ended = (): void => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    };
    const tail: Promise<void> = result.then(ended, ended);
    this.#tails.set(key, tail);
    return result;
  }

  #enqueue(key: string, write: PendingWrite): void {
    if (!this.#tails.has(key)) {
      this.#begin(key, write);
      return;
    }
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) {
      waiting.push(write);
      return;
    }
    const together = [write];
    this.#waiting.set(key, together);
    this.#inOrder(key, async () => {
      if (this.#waiting.get(key) === together) this.#waiting.delete(key);
      await this.#writeTogether(together);
    }).catch((error: unknown) => {
      for (const { fail } of together) fail(error);
    });
  }

  /** Writes at once: nothing else runs for the block. */
  #begin(key: string, write: PendingWrite): void {
    const ended = (): void => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    };
    const tail: Promise<void> = this.#writeTogether([write]).then(ended, (error: unknown) => {
      ended();
      write.fail(error);
    });
    this.#tails.set(key, tail);
  }

  /** Writes one after the other until the block has a file; then all remaining ones together. */
  async #writeTogether(writes: readonly PendingWrite[]): Promise<void> {
    for (let next = 0; next < writes.length; next++) {
      const write = writes[next]!;
      const block = this.#options.index.get(write.described.id);
      if (block !== undefined) return this.#append(block, writes.slice(next));
      write.settle(await this.#create(write));
    }
  }

  /**
   * Writes a new block: its segments, then the footer, then the index. Without its footer, a file is no block: readers on this
   * host ignore it, and the next start removes it.
   */
  async #create({ described, segments, reservation, isUrgent }: PendingWrite): Promise<boolean> {
    const { id, info, createdAtMs } = described;
    const { geometry, clock, index, files, remover } = this.#options;
    const { volume } = reservation;
    const digest = blockDigest(id, geometry.blockBytes);
    const path = blockPath(volume.path, digest);
    const nowMs = clock.nowMs();
    const block = new CachedBlock({ id, info, createdAtMs, firstUsedMs: nowMs, lastUsedMs: nowMs, volume, digest, geometry });
    for (const segment of segments) block.segments.add(segment.index, segment.crc, true);
    const footer = this.#file.footer(block);
    block.behindFooterBytes = (footer?.length ?? FOOTER_BYTES) - FOOTER_BYTES;
    const bytes = block.chargedBytes;
    if (segments.length === 0 || footer === undefined) return false;
    const free = remover.isFree(path);
    if ((free !== true && !(await free)) || !reservation.take(bytes)) return false;
    let file: DiskFile;
    try {
      const directory = blockDirectory(volume.path, digest);
      if (!this.#directories.has(directory)) await this.#makeDirectory(volume, directory);
      file = await this.#file.create(block, path, { segments, footer, isUrgent });
    } catch (error) {
      reservation.putBack(bytes);
      this.#directories.clear();
      // A foreign file: the next write of the block succeeds.
      if (systemCode(error) !== "EEXIST") volume.health.failed(error);
      await remover.removeFile(volume, path);
      return false;
    }
    reservation.spend(bytes);
    volume.fileAdded();
    index.add(block);
    files.adopt(block, file);
    return true;
  }

  /**
   * Adds segments to a block: bytes in place, then the footer, then the table. Before the footer is written, no read uses them.
   */
  async #append(block: CachedBlock, writes: readonly PendingWrite[]): Promise<void> {
    const additions = this.#additions(block, writes);
    if (additions.length === 0) return;
    const added = additions.flatMap(({ segments }) => segments).sort((a, b) => a.index - b.index);
    block.acquire();
    const kept = await this.#appendHeld(block, added);
    if (kept) {
      for (const segment of added) block.segments.add(segment.index, segment.crc, true);
      block.open?.grow();
      this.#options.index.recordUse(block, this.#options.clock.nowMs());
    }
    for (const { bytes, room } of additions) {
      if (kept) block.space.commit(bytes);
      else if (room === undefined) block.space.unreserve(bytes);
      else room.putBack(bytes);
    }
    block.release();
    for (const { write } of additions) write.settle(kept);
  }

  /**
   * Collects the segments that writes add, each once. Settles writes that add nothing, do not belong to the block, or have no
   * space.
   */
  #additions(block: CachedBlock, writes: readonly PendingWrite[]): Addition[] {
    const coming = new Set<number>();
    const additions: Addition[] = [];
    for (const write of writes) {
      const { described, reservation, settle } = write;
      const segments = write.segments.filter(({ index }) => !block.segments.has(index) && !coming.has(index));
      const bytes = segments.reduce((sum, { index }) => sum + block.segmentCharge(index), 0);
      const room = reservation.volume === block.volume ? reservation : undefined;
      if (block.info.objectSize !== described.info.objectSize) settle(false);
      else if (segments.length === 0 && write.segments.every(({ index }) => block.segments.has(index))) settle(true);
      else if (room?.take(bytes) ?? block.space.reserve(bytes)) {
        for (const { index } of segments) coming.add(index);
        additions.push({ write, segments, bytes, room });
      } else settle(false);
    }
    return additions;
  }

  async #appendHeld(block: CachedBlock, added: readonly FilledSegment[]): Promise<boolean> {
    const left = { uncertain: false };
    try {
      await this.#file.edit(block, async (file) => {
        // For processes that read the file directly, a rewritten segment must be removed from the footer first.
        left.uncertain = block.footerDrops !== block.segments.drops;
        if (left.uncertain) await this.#file.writeFooter(block, file, this.#file.footerInPlace(block));
        left.uncertain = false;
        try {
          await this.#file.writeSegments(block, file, added);
        } catch (error) {
          left.uncertain = !(await this.#takeBack(block, file, added));
          throw error;
        }
        left.uncertain = true;
        await this.#file.writeFooter(block, file, this.#file.footerInPlace(block, added));
      });
    } catch (error) {
      block.volume.health.failed(error);
      // A partly written footer, or bytes that could not be freed: only a new file has a certain state.
      if (left.uncertain || systemCode(error) === "ENOENT") this.#options.remover.retire(block);
      return false;
    }
    return !block.retired;
  }

  /** Frees the space of bytes that no footer will contain. Returns false if they may still exist. */
  async #takeBack(block: CachedBlock, file: DiskFile, added: readonly FilledSegment[]): Promise<boolean> {
    // A slice of a segment that was dropped and rewritten may still be in use.
    if (isLent(block)) return false;
    try {
      for (const segment of added) {
        if (!(await this.#file.deallocate(block, file, segment.index))) return false;
      }
      return true;
    } catch {
      return false;
    }
  }

  async #makeDirectory(volume: Volume, path: string): Promise<void> {
    await volume.gate.run(() => this.#options.disk.makeDirectory(path));
    if (!this.#directories.has(path)) volume.directoryAdded();
    this.#directories.add(path);
  }
}

/** Returns whether slices or reads of the block's file are in use. */
function isLent(block: CachedBlock): boolean {
  return (block.open?.users ?? 0) > 0;
}
