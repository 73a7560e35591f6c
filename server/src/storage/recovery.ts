import { join, sep } from "node:path";
import {
  type BlockFooter,
  blockDigest,
  blocksDirectory,
  bytesBehindFooter,
  CacheError,
  decodeFooter,
  FOOTER_BYTES,
  type Geometry,
  type ObjectInfo,
} from "@frontcache/proto";
import { forEachConcurrent } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import type { BlockIndex } from "./block-index.js";
import { CachedBlock } from "./cached-block.js";
import type { Damages } from "./damages.js";
import type { Disk, DiskStat, FileLook } from "./disk/disk.js";
import { systemCode } from "./disk/disk.js";
import { DiskGate } from "./disk/disk-gate.js";
import type { BlockRemover } from "./eviction/block-remover.js";
import { KnownVersions } from "./known-versions.js";
import type { StorageTuning } from "./storage-tuning.js";
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

interface Recovering extends RecoveryOptions {
  readonly known: KnownVersions;
  readonly found: Map<Volume, CachedBlock[]>;
  /** Files without a footer. */
  readonly incomplete: { files: number };
}

/** The result of a recovery. */
export interface Recovered {
  /** Number of blocks in the index. */
  readonly blocks: number;
  /** Number of removed files that the previous process had not completed. */
  readonly incomplete: number;
  /** Volumes that stopped answering; `answered` resolves when they answer again. */
  readonly hanging: readonly { readonly volume: Volume; readonly answered: Promise<void> }[];
}

/** Metadata of the file system per file, at most. If a file uses more space than its footer explains, a write was interrupted. */
const FILE_SYSTEM_BYTES = 64 << 10;

/** Few enough for a slow disk to answer within the time limit of one operation. */
const FILES_A_LOOK = 16;

/** Paths that are listed before their files are read: enough to keep all surveys busy. */
const PATHS_AT_A_TIME = 4_096;

/** Blocks above a volume's limit that are read before the least recently used ones are removed. */
const SURPLUS = 0.25;

/** Errors of this process, not of a file. */
const NO_DESCRIPTORS = new Set(["EMFILE", "ENFILE"]);

/**
 * Finds the blocks of the volumes, and removes other files: incomplete and invalid files, blocks of another size or
 * format, and what earlier releases left in tmp/. If a volume has too many blocks, the most recently used ones stay. Adds the blocks to
 * the index in the order of their files' times. A volume whose disk fails meanwhile is not used. Rejects with a CacheError if the
 * process has too few descriptors.
 */
export async function recover(volumes: readonly Volume[], options: RecoveryOptions): Promise<Recovered> {
  const known = new KnownVersions(options.tuning.headerMemoryBytes);
  const recovering: Recovering = { ...options, known, found: new Map(), incomplete: { files: 0 } };
  const recoveries = await Promise.all(volumes.map((volume) => recoverVolume(volume, recovering)));
  const found = [...recovering.found.values()].flat();
  describeAlike(found, known);
  found.sort((a, b) => a.lastUsedMs - b.lastUsedMs);
  for (const block of found) {
    block.siblings = options.index.among(block.volume, block.id.url);
    block.space.recovered(block.chargedBytes);
    await addBlock(block, options);
  }
  const { index } = options;
  const hanging = recoveries.filter((each) => each !== undefined);
  return { blocks: index.size, incomplete: recovering.incomplete.files, hanging };
}

/**
 * Adds a block to the index. If another volume has the block too, the one with more segments stays, or the one that is in use.
 */
async function addBlock(block: CachedBlock, { index, remover }: RecoveryOptions): Promise<void> {
  for (let twin = index.get(block.id); twin !== undefined; twin = index.get(block.id)) {
    if (twin.isBusy || twin.chargedBytes >= block.chargedBytes) return remover.retire(block).freed;
    await remover.retire(twin).freed;
  }
  index.add(block);
}

/** Returns the volume if it stopped answering. */
async function recoverVolume(volume: Volume, options: Recovering): Promise<Recovered["hanging"][number] | undefined> {
  const { disk, remover, clock, tuning } = options;
  const temporaries = join(volume.path, "tmp");
  const limits = {
    ioParallelism: tuning.recoveryParallelism,
    bulkWrites: tuning.bulkWrites,
    diskTimeoutMs: tuning.diskTimeoutMs,
  };
  const gate = new DiskGate(clock, limits, () => undefined);
  try {
    await gate.run(() => disk.makeDirectory(blocksDirectory(volume.path)));
    for (const name of (await gate.run(() => listDirectory(disk, temporaries))) ?? []) {
      await remover.removeFile(volume, join(temporaries, name));
    }
    await readBlocks(volume, gate, options);
    return undefined;
  } catch (error) {
    options.found.delete(volume);
    if (NO_DESCRIPTORS.has(systemCode(error))) {
      const message = `${volume.path}: too few file descriptors to read its blocks, raise the limit (ulimit -n)`;
      throw new CacheError("RESOURCE_EXHAUSTED", message, { cause: error });
    }
    if (gate.isHanging) return { volume, answered: gate.answered() };
    volume.health.leaveOut(error);
    return undefined;
  }
}

/** Finds the volume's blocks. Other files are removed and counted as damage. */
async function readBlocks(volume: Volume, gate: DiskGate, options: Recovering): Promise<void> {
  const { disk, geometry, tuning, found, remover } = options;
  const rejects = new Rejects(volume, options);
  const incomplete: string[] = [];
  const survey = disk.survey();
  found.set(volume, []);
  try {
    for await (const paths of listBlocks(volume, gate, disk, rejects)) {
      await forEachConcurrent(batches(paths), tuning.recoveryParallelism, async (batch) => {
        const looks = await gate.run(() => survey.look(batch, geometry.blockBytes, FOOTER_BYTES));
        for (const [i, look] of looks.entries()) {
          const block = await readBlock(volume, batch[i]!, look, gate, options);
          if (typeof block === "string") await rejects.remove(batch[i]!, block);
          else if (block === undefined) incomplete.push(batch[i]!);
          else found.get(volume)!.push(block);
        }
      });
      if (found.get(volume)!.length > volume.maxBlocks * (1 + SURPLUS)) await removeSurplus(volume, options);
    }
    await removeSurplus(volume, options);
  } finally {
    survey.close();
  }
  options.incomplete.files += incomplete.length;
  await forEachConcurrent(incomplete, REMOVALS, async (path) => void (await remover.removeFile(volume, path)));
  rejects.report();
}

/**
 * Removes the least recently used blocks above the volume's limit, so that memory suffices for any number of files. Blocks of pinned
 * buckets come last.
 */
async function removeSurplus(volume: Volume, { found, known, remover, index }: Recovering): Promise<void> {
  const blocks = found.get(volume)!;
  if (blocks.length <= volume.maxBlocks) return;
  const isPinned = ({ id }: CachedBlock): number => (index.isPinned(id.url) ? 1 : 0);
  blocks.sort((a, b) => isPinned(b) - isPinned(a) || b.lastUsedMs - a.lastUsedMs);
  const surplus = blocks.splice(volume.maxBlocks);
  known.clear();
  for (const { id, info } of [...found.values()].flat()) known.share(id, info);
  await forEachConcurrent(surplus, REMOVALS, async ({ path }) => void (await remover.removeFile(volume, path)));
}

/** Concurrent removals of files. */
const REMOVALS = 8;

/** Files that are not blocks of this store, by the reason. */
class Rejects {
  readonly #volume: Volume;
  readonly #options: Pick<RecoveryOptions, "damages" | "remover">;

  readonly #paths = new Map<string, string[]>();

  constructor(volume: Volume, options: Pick<RecoveryOptions, "damages" | "remover">) {
    this.#volume = volume;
    this.#options = options;
  }

  async remove(path: string, reason: string): Promise<void> {
    const paths = this.#paths.get(reason) ?? [];
    this.#paths.set(reason, paths);
    paths.push(path);
    await this.#options.remover.removeFile(this.#volume, path);
  }

  report(): void {
    for (const [reason, paths] of this.#paths) this.#options.damages.badFiles(this.#volume.path, reason, paths);
  }
}

/** Yields the paths of all files with a block file's name, some thousands at a time. */
async function* listBlocks(volume: Volume, gate: DiskGate, disk: Disk, rejects: Rejects): AsyncGenerator<string[]> {
  const top = blocksDirectory(volume.path);
  let paths: string[] = [];
  for (const directory of await gate.run(() => disk.list(top))) {
    const names = await gate.run(() => listDirectory(disk, join(top, directory)));
    if (names === undefined) await rejects.remove(join(top, directory), "not a directory");
    for (const name of names ?? []) {
      // A single string in memory; `join` would keep the pieces.
      const path = [top, directory, name].join(sep);
      if (isBlockFileName(directory, name)) paths.push(path);
      else await rejects.remove(path, "not a block file's name");
    }
    if (paths.length < PATHS_AT_A_TIME) continue;
    yield paths;
    paths = [];
  }
  yield paths;
}

/** Returns undefined if there is no such directory. */
async function listDirectory(disk: Disk, path: string): Promise<string[] | undefined> {
  try {
    return await disk.list(path);
  } catch (error) {
    if (systemCode(error) === "ENOTDIR" || systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

function* batches(paths: readonly string[]): Generator<string[]> {
  for (let at = 0; at < paths.length; at += FILES_A_LOOK) yield paths.slice(at, at + FILES_A_LOOK);
}

/**
 * Returns the block of a file, or the file's fault. Undefined if the file ends before its footer does: the process died while it
 * wrote the block.
 */
async function readBlock(
  volume: Volume,
  path: string,
  look: FileLook | NodeJS.ErrnoException,
  gate: DiskGate,
  options: Recovering,
): Promise<CachedBlock | string | undefined> {
  const { geometry } = options;
  if (look instanceof Error) {
    if (NO_DESCRIPTORS.has(systemCode(look))) throw look;
    return `unreadable: ${systemCode(look)}`;
  }
  const { bytes, stat } = look;
  if (bytes.length < FOOTER_BYTES) return undefined;
  const footer = decodeFooter(bytes, geometry);
  if (footer === undefined) return "no footer of this format and block size";
  const behindFooterBytes = bytesBehindFooter(bytes);
  const info = behindFooterBytes === 0 ? footer.info : await completeInfo(path, behindFooterBytes, gate, options);
  const digest = blockDigest(footer.id, geometry.blockBytes);
  if (!path.endsWith(`${digest}.blk`)) return "the footer of another block";
  const block = cachedBlock(volume, digest, { ...footer, info: info ?? footer.info }, stat, options);
  block.behindFooterBytes = behindFooterBytes;
  const leftOverBytes = stat.allocatedBytes - block.chargedBytes;
  if (leftOverBytes < Math.min(FILE_SYSTEM_BYTES, geometry.segmentBytes)) return block;
  return (await takeBack(block, gate, options)) ? block : "left-overs of a write that was cut off";
}

/** Reads the object's metadata from a footer with headers after it. Undefined if they cannot be read. */
async function completeInfo(
  path: string,
  behindFooterBytes: number,
  gate: DiskGate,
  { disk, geometry }: RecoveryOptions,
): Promise<ObjectInfo | undefined> {
  const bytes = Buffer.alloc(FOOTER_BYTES + behindFooterBytes);
  const read = async (): Promise<void> => {
    const file = await disk.open(path, "read");
    try {
      await file.read(bytes, geometry.blockBytes);
    } finally {
      await file.close().catch(() => undefined);
    }
  };
  try {
    await gate.run(read);
    return decodeFooter(bytes, geometry)?.info;
  } catch (error) {
    if (NO_DESCRIPTORS.has(systemCode(error)) || gate.isHanging) throw error;
    return undefined;
  }
}

function cachedBlock(volume: Volume, digest: string, footer: BlockFooter, stat: DiskStat, options: Recovering): CachedBlock {
  const { id, info, createdAtMs, crcs, drops } = footer;
  const { geometry, known } = options;
  const { modifiedMs: lastUsedMs, createdMs } = stat;
  const firstUsedMs = createdMs > 0 ? createdMs : lastUsedMs;
  const block = new CachedBlock({ ...known.share(id, info), createdAtMs, firstUsedMs, lastUsedMs, volume, digest, geometry });
  block.segments.drops = drops;
  block.footerDrops = drops;
  crcs.forEach((crc, segment) => {
    if (crc !== undefined) block.segments.add(segment, crc, false);
  });
  return block;
}

/** Sets the metadata of all blocks of a version from the best file. */
function describeAlike(blocks: readonly CachedBlock[], known: KnownVersions): void {
  for (const block of blocks) {
    const info = known.infoOf(block.id);
    if (info?.objectSize === block.info.objectSize) block.info = info;
  }
}

/** Frees the space of segments that the footer does not contain. Returns false if that is impossible. */
async function takeBack(block: CachedBlock, gate: DiskGate, { disk, geometry }: RecoveryOptions): Promise<boolean> {
  const take = async (): Promise<boolean> => {
    const file = await disk.open(block.path, "update");
    try {
      for (let segment = 0; segment < block.segments.count; segment++) {
        if (block.segments.has(segment)) continue;
        const freed = await file.deallocate(segment * geometry.segmentBytes, block.segments.lengthOf(segment));
        if (!freed) return false;
      }
      await file.setModified(block.lastUsedMs);
      return true;
    } finally {
      await file.close().catch(() => undefined);
    }
  };
  try {
    return await gate.run(take);
  } catch (error) {
    if (NO_DESCRIPTORS.has(systemCode(error)) || gate.isHanging) throw error;
    return false;
  }
}

/** Names of block files, without their directory. */
const BLOCK_FILE = /^[0-9a-f]{32}\.blk$/;

/** Returns whether a name in directory `aa` can be a block file's. */
function isBlockFileName(directory: string, name: string): boolean {
  return BLOCK_FILE.test(name) && name.startsWith(directory) && directory.length === 2;
}
