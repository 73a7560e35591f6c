import { join } from "node:path";
import { CacheError, type Geometry } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import type { BlockIndex } from "./block-index.js";
import { blockDigest, blocksDirectory, isBlockFileName, temporaryDirectory } from "./block-path.js";
import type { BlockRemover } from "./block-remover.js";
import type { Damages } from "./damages.js";
import type { Disk, DiskFile } from "./disk.js";
import { DiskGate } from "./disk-gate.js";
import { type BlockFooter, decodeFooter, FOOTER_BYTES } from "./footer.js";
import { HeldBlock } from "./held-block.js";
import type { StorageTuning } from "./storage-tuning.js";
import { systemCode } from "./system-error.js";
import type { Volume } from "./volume.js";

export interface RecoveryOptions {
  readonly geometry: Geometry;
  readonly disk: Disk;
  readonly index: BlockIndex;
  readonly remover: BlockRemover;
  readonly damages: Damages;
  readonly clock: Clock;
  readonly tuning: StorageTuning;
}

/** A file takes more than its footer speaks of, beyond what file systems take for themselves: a write was cut off. */
const LEFT_OVER_BYTES = 64 << 10;

/** Errors of this process, not of a file. */
const NO_DESCRIPTORS = new Set(["EMFILE", "ENFILE"]);

/**
 * Finds the blocks of all volumes, and removes what is none: strays in tmp/, files that don't parse, blocks of another
 * size or format. Enters the blocks into the index in the order of their files' times; resolves to their number. A volume
 * whose disk fails meanwhile is left out. Rejects with a CacheError where the process has too few descriptors for it.
 */
export async function recover(volumes: readonly Volume[], options: RecoveryOptions): Promise<number> {
  const found = (await Promise.all(volumes.map((volume) => recoverVolume(volume, options)))).flat();
  found.sort((a, b) => a.lastUsedMs - b.lastUsedMs);
  for (const block of found) {
    const twin = options.index.get(block.key);
    block.volume.usedBytes += block.chargedBytes;
    if (twin === undefined) options.index.add(block);
    else if (twin.chargedBytes >= block.chargedBytes) await options.remover.retire(block).freed;
    else {
      await options.remover.retire(twin).freed;
      options.index.add(block);
    }
  }
  return options.index.size;
}

async function recoverVolume(volume: Volume, options: RecoveryOptions): Promise<HeldBlock[]> {
  const { disk, remover, clock, tuning } = options;
  const temporaries = temporaryDirectory(volume.path);
  const limits = { ioParallelism: tuning.recoveryParallelism, diskTimeoutMs: tuning.diskTimeoutMs };
  const gate = new DiskGate(clock, limits, () => undefined);
  try {
    await gate.run(() => disk.makeDirectory(temporaries));
    await gate.run(() => disk.makeDirectory(blocksDirectory(volume.path)));
    for (const name of await gate.run(() => disk.list(temporaries))) await remover.removeFile(volume, join(temporaries, name));
    const files = await listFiles(volume, disk, gate);
    return await readBlocks(volume, files, gate, options);
  } catch (error) {
    if (NO_DESCRIPTORS.has(systemCode(error))) {
      const message = `${volume.path}: too few file descriptors to read its blocks, raise the limit (ulimit -n)`;
      throw new CacheError("RESOURCE_EXHAUSTED", message, { cause: error });
    }
    volume.leaveOut(error);
    return [];
  }
}

interface FoundFile {
  readonly path: string;
  readonly isNamedWell: boolean;
}

async function listFiles(volume: Volume, disk: Disk, gate: DiskGate): Promise<FoundFile[]> {
  const top = blocksDirectory(volume.path);
  const files: FoundFile[] = [];
  for (const directory of await gate.run(() => disk.list(top))) {
    const path = join(top, directory);
    try {
      for (const name of await gate.run(() => disk.list(path))) {
        files.push({ path: join(path, name), isNamedWell: isBlockFileName(directory, name) });
      }
    } catch (error) {
      if (systemCode(error) !== "ENOTDIR") throw error;
      files.push({ path, isNamedWell: false });
    }
  }
  return files;
}

async function readBlocks(
  volume: Volume,
  files: readonly FoundFile[],
  gate: DiskGate,
  options: RecoveryOptions,
): Promise<HeldBlock[]> {
  const blocks: HeldBlock[] = [];
  const remaining = files.values();
  const readSome = async (): Promise<void> => {
    const buffer = Buffer.allocUnsafeSlow(FOOTER_BYTES);
    for (const { path, isNamedWell } of remaining) {
      const read = (): Promise<HeldBlock | string> => readBlock(volume, path, buffer, options);
      const block = isNamedWell ? await gate.run(read) : "not a block file's name";
      if (typeof block !== "string") {
        blocks.push(block);
        continue;
      }
      options.damages.badFile(path, block);
      await options.remover.removeFile(volume, path);
    }
  };
  await Promise.all(Array.from({ length: options.tuning.recoveryParallelism }, readSome));
  return blocks;
}

/** The block of a file, or what is wrong with the file. */
async function readBlock(volume: Volume, path: string, buffer: Buffer, options: RecoveryOptions): Promise<HeldBlock | string> {
  let file: DiskFile | undefined;
  try {
    file = await options.disk.open(path, "read");
    if ((await file.read(buffer, options.geometry.blockBytes)) < FOOTER_BYTES) return "cut short";
    const footer = decodeFooter(buffer, options.geometry);
    if (footer === undefined) return "no footer of this format and block size";
    if (!path.endsWith(`${blockDigest(footer.id, options.geometry.blockBytes)}.blk`)) return "the footer of another block";
    const { allocatedBytes, modifiedMs } = await file.stat();
    const block = heldBlock(volume, path, footer, options.geometry);
    block.lastUsedMs = modifiedMs;
    if (allocatedBytes > block.chargedBytes + LEFT_OVER_BYTES && !(await takeBack(block, options))) {
      return "left-overs of a write that was cut off";
    }
    return block;
  } catch (error) {
    if (NO_DESCRIPTORS.has(systemCode(error))) throw error;
    return `unreadable: ${systemCode(error)}`;
  } finally {
    await file?.close().catch(() => undefined);
  }
}

function heldBlock(volume: Volume, path: string, footer: BlockFooter, geometry: Geometry): HeldBlock {
  const { id, info, createdAtMs, crcs } = footer;
  const block = new HeldBlock({ id, info, createdAtMs, volume, path, geometry });
  crcs.forEach((crc, segment) => {
    if (crc !== undefined) block.segments.add(segment, crc, false);
  });
  return block;
}

/** Frees the space of segments that the footer does not speak of. */
async function takeBack(block: HeldBlock, { disk, geometry }: RecoveryOptions): Promise<boolean> {
  const file = await disk.open(block.path, "update");
  try {
    for (let segment = 0; segment < block.segments.count; segment++) {
      if (block.segments.holds(segment)) continue;
      const freed = await file.deallocate(segment * geometry.segmentBytes, block.segments.lengthOf(segment));
      if (!freed) return false;
    }
    await file.setModified(block.lastUsedMs);
    return true;
  } finally {
    await file.close().catch(() => undefined);
  }
}
