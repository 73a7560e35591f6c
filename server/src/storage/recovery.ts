import { join } from "node:path";
import {
  type BlockFooter,
  blockDigest,
  blocksDirectory,
  CacheError,
  decodeFooter,
  FOOTER_BYTES,
  type Geometry,
  type ObjectInfo,
} from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import { sideBySide } from "../runtime/side-by-side.js";
import type { BlockId } from "./block.js";
import type { BlockIndex } from "./block-index.js";
import { isBlockFileName, temporaryDirectory } from "./block-path.js";
import type { BlockRemover } from "./block-remover.js";
import type { Damages } from "./damages.js";
import type { Disk, DiskFile, DiskStat } from "./disk.js";
import { DiskGate } from "./disk-gate.js";
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

/** What all blocks of a version have alike. */
interface VersionNames {
  readonly url: string;
  readonly info: ObjectInfo;
}

interface Recovering extends RecoveryOptions {
  /** By URL and version. */
  readonly known: Map<string, Map<string, VersionNames>>;
}

/** File systems may take up to this much of a file's space for themselves. More than a footer speaks of: a write was cut off. */
const FILE_SYSTEM_BYTES = 64 << 10;

/** Errors of this process, not of a file. */
const NO_DESCRIPTORS = new Set(["EMFILE", "ENFILE"]);

/**
 * Finds the blocks of all volumes, and removes what is none: strays in tmp/, files that don't parse, blocks of another
 * size or format. Enters the blocks into the index in the order of their files' times; resolves to their number. A volume
 * whose disk fails meanwhile is left out. Rejects with a CacheError where the process has too few descriptors for it.
 */
export async function recover(volumes: readonly Volume[], options: RecoveryOptions): Promise<number> {
  const recovering = { ...options, known: new Map<string, Map<string, VersionNames>>() };
  const found = (await Promise.all(volumes.map((volume) => recoverVolume(volume, recovering)))).flat();
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

async function recoverVolume(volume: Volume, options: Recovering): Promise<HeldBlock[]> {
  const { disk, remover, clock, tuning } = options;
  const temporaries = temporaryDirectory(volume.path);
  const limits = { ioParallelism: tuning.recoveryParallelism, diskTimeoutMs: tuning.diskTimeoutMs };
  const gate = new DiskGate(clock, limits, () => undefined);
  try {
    await gate.run(() => disk.makeDirectory(temporaries));
    await gate.run(() => disk.makeDirectory(blocksDirectory(volume.path)));
    for (const name of await gate.run(() => disk.list(temporaries))) await remover.removeFile(volume, join(temporaries, name));
    return await readBlocks(volume, gate, options);
  } catch (error) {
    if (NO_DESCRIPTORS.has(systemCode(error))) {
      const message = `${volume.path}: too few file descriptors to read its blocks, raise the limit (ulimit -n)`;
      throw new CacheError("RESOURCE_EXHAUSTED", message, { cause: error });
    }
    volume.leaveOut(error);
    return [];
  }
}

async function readBlocks(volume: Volume, gate: DiskGate, options: Recovering): Promise<HeldBlock[]> {
  const { disk, damages, remover, tuning } = options;
  const top = blocksDirectory(volume.path);
  const blocks: HeldBlock[] = [];
  const buffers = Array.from({ length: tuning.recoveryParallelism }, () => Buffer.allocUnsafeSlow(FOOTER_BYTES));
  const bad = new Map<string, string[]>();
  const giveUp = async (path: string, reason: string): Promise<void> => {
    const paths = bad.get(reason) ?? [];
    bad.set(reason, paths);
    paths.push(path);
    await remover.removeFile(volume, path);
  };
  for (const directory of await gate.run(() => disk.list(top))) {
    const names = await gate.run(() => listDirectory(disk, join(top, directory)));
    if (names === undefined) await giveUp(join(top, directory), "not a directory");
    await sideBySide(names ?? [], buffers.length, async (name) => {
      const path = join(top, directory, name);
      if (!isBlockFileName(directory, name)) return giveUp(path, "not a block file's name");
      const block = await gate.run(() => readBlock(volume, path, buffers, options));
      if (typeof block === "string") await giveUp(path, block);
      else blocks.push(block);
    });
  }
  for (const [reason, paths] of bad) damages.badFiles(volume.path, reason, paths);
  return blocks;
}

/** Undefined where it is no directory. */
async function listDirectory(disk: Disk, path: string): Promise<string[] | undefined> {
  try {
    return await disk.list(path);
  } catch (error) {
    if (systemCode(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

/** The block of a file, or what is wrong with the file. */
async function readBlock(volume: Volume, path: string, buffers: Buffer[], options: Recovering): Promise<HeldBlock | string> {
  const buffer = buffers.pop()!;
  let file: DiskFile | undefined;
  try {
    file = await options.disk.open(path, "read");
    if ((await file.read(buffer, options.geometry.blockBytes)) < FOOTER_BYTES) return "cut short";
    const footer = decodeFooter(buffer, options.geometry);
    if (footer === undefined) return "no footer of this format and block size";
    if (!path.endsWith(`${blockDigest(footer.id, options.geometry.blockBytes)}.blk`)) return "the footer of another block";
    const stat = await file.stat();
    const block = heldBlock(volume, path, footer, stat, options);
    const leftOverBytes = stat.allocatedBytes - block.chargedBytes;
    const isLeftOver = leftOverBytes >= Math.min(FILE_SYSTEM_BYTES, options.geometry.segmentBytes);
    return !isLeftOver || (await takeBack(block, options)) ? block : "left-overs of a write that was cut off";
  } catch (error) {
    if (NO_DESCRIPTORS.has(systemCode(error))) throw error;
    return `unreadable: ${systemCode(error)}`;
  } finally {
    buffers.push(buffer);
    await file?.close().catch(() => undefined);
  }
}

function heldBlock(volume: Volume, path: string, footer: BlockFooter, stat: DiskStat, options: Recovering): HeldBlock {
  const { id, info, createdAtMs, crcs, drops } = footer;
  const { geometry, known } = options;
  const { modifiedMs: lastUsedMs, createdMs } = stat;
  const firstUsedMs = createdMs > 0 ? createdMs : lastUsedMs;
  const block = new HeldBlock({ ...shared(id, info, known), createdAtMs, firstUsedMs, lastUsedMs, volume, path, geometry });
  block.segments.drops = drops;
  block.footerDrops = drops;
  crcs.forEach((crc, segment) => {
    if (crc !== undefined) block.segments.add(segment, crc, false);
  });
  return block;
}

/** One copy of URL, version and info for all blocks of a version: half of what 65,536 blocks would take otherwise. */
function shared(id: BlockId, info: ObjectInfo, known: Map<string, Map<string, VersionNames>>): { id: BlockId; info: ObjectInfo } {
  const versions = known.get(id.url) ?? new Map<string, VersionNames>();
  known.set(id.url, versions);
  const names = versions.get(id.version) ?? { url: id.url, info };
  versions.set(id.version, names);
  const isSame = names.info.objectSize === info.objectSize;
  return { id: { url: names.url, version: names.info.version, offset: id.offset }, info: isSame ? names.info : info };
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
