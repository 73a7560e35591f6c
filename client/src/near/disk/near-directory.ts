import { randomBytes } from "node:crypto";
import { chmod, lstat } from "node:fs/promises";
import { join } from "node:path";
import {
  type BlockId,
  blockDigest,
  blockDirectory,
  blockPath,
  blocksDirectory,
  CacheError,
  type Geometry,
} from "@frontcache/proto";
import { forEachConcurrent } from "@frontcache/proto/runtime";
import { systemCode } from "../../pool/pool-disk.js";
import type { NearFiles } from "./near-files.js";

/** Block files of a near cache: blocks as the members', and segments of a page. Pages are read and written one by one. */
export const NEAR_GEOMETRY: Geometry = { blockBytes: 16 << 20, segmentBytes: 64 << 10 };

export interface NearDirectoryOptions {
  /** The directory that the user named. Everything is in a directory of this one. */
  readonly path: string;
  readonly files: NearFiles;
}

const OWN_DIRECTORY = "frontcache-near";
const FOLDER = /^[0-9a-f]{2}$/;
const BLOCK_FILE = /^[0-9a-f]{32}\.blk$/;
/** Files in `tmp` and `writers`. */
const OTHER_FILE = /^[0-9a-f]{32}(-\d+)?$/;
const GROUP_AND_OTHERS_WRITE = 0o022;
/** Concurrent operations of a walk: half of the threads that Node has for files and names. */
const CONCURRENT = 2;

/** A file of this near cache. */
export interface FoundFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly allocatedBytes: number;
  readonly modifiedMs: number;
}

/**
 * The directory of a near cache, which several processes may share:
 *
 * - `frontcache-near/v1/ab/<digest>.blk`: block files. They appear by rename, complete. Pages are added in place: their bytes, then
 *   the footer. A page that the footer has is written again with the same bytes only. Each read verifies its CRC.
 * - `frontcache-near/tmp`: block files that are being written.
 * - `frontcache-near/writers`: a file for each process that writes; its size is what the process may write. See `SharedSpace`.
 *
 * Files with other names are somebody else's: they are neither counted nor removed.
 */
export class NearDirectory {
  readonly files: NearFiles;
  /** Where `v1`, `tmp` and `writers` are. */
  readonly path: string;
  readonly #writer = randomBytes(16).toString("hex");
  #temporaries = 0;

  private constructor({ path, files }: NearDirectoryOptions) {
    this.files = files;
    this.path = join(path, OWN_DIRECTORY);
  }

  /** Creates what is missing. Rejects with one clear error if the directory cannot be used. */
  static async open(options: NearDirectoryOptions): Promise<NearDirectory> {
    const directory = new NearDirectory(options);
    try {
      await directory.createDirectories();
      await checkOwner(directory.path);
      await directory.#checkWritable();
      return directory;
    } catch (error) {
      if (error instanceof CacheError) throw error;
      const cause = systemCode(error) || "unexpected failure";
      const message = `near.disk: ${options.path} can't be used (${cause}): it must be a writable directory`;
      throw new CacheError("PERMISSION_DENIED", message, { cause: error });
    }
  }

  /** The file of this process among the writers. */
  get writerFile(): string {
    return join(this.path, "writers", this.#writer);
  }

  /** Creates the directories, also again if somebody has removed them. */
  async createDirectories(): Promise<void> {
    for (const path of [this.path, blocksDirectory(this.path), join(this.path, "tmp"), join(this.path, "writers")]) {
      await this.files.createDirectory(path);
    }
  }

  /** Creates the folder of a block's file. */
  createFolder(id: BlockId): Promise<void> {
    return this.files.createDirectory(blockDirectory(this.path, blockDigest(id, NEAR_GEOMETRY.blockBytes)));
  }

  pathOf(id: BlockId): string {
    return blockPath(this.path, blockDigest(id, NEAR_GEOMETRY.blockBytes));
  }

  /** A path for a file that is being written. */
  newTemporary(): string {
    return join(this.path, "tmp", `${this.#writer}-${++this.#temporaries}`);
  }

  /**
   * Removes a block's file. Its space is free at once, although other processes may have it open: their reads fail, and ask the cluster.
   * A missing file is fine.
   */
  async removeBlock(path: string): Promise<void> {
    const file = await missingIsUndefined(this.files.open(path, "update"));
    if (file === undefined) return;
    try {
      await this.files.remove(path);
      await file.empty();
    } finally {
      await file.close();
    }
  }

  writers(): Promise<FoundFile[]> {
    return this.#found([join(this.path, "writers")], OTHER_FILE);
  }

  temporaries(): Promise<FoundFile[]> {
    return this.#found([join(this.path, "tmp")], OTHER_FILE);
  }

  async blocks(): Promise<FoundFile[]> {
    const top = blocksDirectory(this.path);
    const folders = (await this.#list(top)).filter((name) => FOLDER.test(name));
    return await this.#found(
      folders.map((name) => join(top, name)),
      BLOCK_FILE,
    );
  }

  async #found(directories: readonly string[], pattern: RegExp): Promise<FoundFile[]> {
    const found: FoundFile[] = [];
    await forEachConcurrent(directories, CONCURRENT, async (directory) => {
      for (const name of await this.#list(directory)) {
        if (!pattern.test(name)) continue;
        const path = join(directory, name);
        const state = await missingIsUndefined(this.files.state(path));
        if (state !== undefined) found.push({ path, ...state });
      }
    });
    return found;
  }

  async #list(directory: string): Promise<string[]> {
    return (await missingIsUndefined(this.files.list(directory))) ?? [];
  }

  /** A full disk is no error: what it has can be read. */
  async #checkWritable(): Promise<void> {
    const path = this.newTemporary();
    try {
      const file = await this.files.open(path, "create");
      await file.close();
      await this.files.remove(path);
    } catch (error) {
      if (!isFull(error)) throw error;
    }
  }
}

/** Undefined if a file or directory is missing. */
export async function missingIsUndefined<Result>(operation: Promise<Result>): Promise<Result | undefined> {
  try {
    return await operation;
  } catch (error) {
    if (systemCode(error) === "ENOENT" || systemCode(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

/** Returns whether the disk or the user's quota is full. */
export function isFull(error: unknown): boolean {
  return systemCode(error) === "ENOSPC" || systemCode(error) === "EDQUOT";
}

/** Checks that only this user may write in the directory, because its files determine the bytes that reads return. */
async function checkOwner(path: string): Promise<void> {
  const { uid, mode } = await lstat(path);
  const own = process.getuid?.();
  if (own !== undefined && uid !== own) {
    const message = `near.disk: ${path} belongs to user ${uid}, not to ${own}: remove it or choose another directory`;
    throw new CacheError("PERMISSION_DENIED", message);
  }
  if ((mode & GROUP_AND_OTHERS_WRITE) !== 0) await chmod(path, 0o700);
}
