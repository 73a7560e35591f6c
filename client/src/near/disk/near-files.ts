import { lstat, open, rename, truncate, utimes } from "node:fs/promises";
import { type PoolDisk, systemDisk } from "../../pool/pool-disk.js";

/** An open file. Every method rejects with the system's error. */
export interface NearFile {
  /** Fills `target` from `position`; resolves with the bytes read, fewer only at the file's end. */
  read(target: Buffer, position: number): Promise<number>;
  /** Writes all `sources` consecutively, starting at `position`. */
  write(sources: readonly Buffer[], position: number): Promise<void>;
  /** Frees the space of all bytes. */
  empty(): Promise<void>;
  close(): Promise<void>;
}

/** What the file system says about a file. */
export interface FileState {
  readonly sizeBytes: number;
  /** Bytes on the disk; less than `sizeBytes` if the file is sparse. */
  readonly allocatedBytes: number;
  readonly modifiedMs: number;
}

/** The file operations of a near cache. Every method rejects with the system's error (`code` ENOSPC, EACCES, ...). */
export interface NearFiles extends Pick<PoolDisk, "createDirectory" | "list" | "remove"> {
  /** Creates a file (EEXIST if there is one), or opens an existing one. */
  open(path: string, mode: "create" | "update"): Promise<NearFile>;
  state(path: string): Promise<FileState>;
  /** Replaces `to` if it exists. */
  rename(from: string, to: string): Promise<void>;
  truncate(path: string, sizeBytes: number): Promise<void>;
  setModified(path: string, modifiedMs: number): Promise<void>;
}

/** Blocks in which POSIX counts the space of a file. */
const STAT_BLOCK_BYTES = 512;

/** The files of this machine. */
export const systemFiles: NearFiles = {
  createDirectory: systemDisk.createDirectory,
  list: systemDisk.list,
  remove: systemDisk.remove,
  async open(path, mode) {
    const file = await open(path, mode === "create" ? "wx+" : "r+", 0o600);
    return {
      async read(target, position) {
        for (let at = 0; ; ) {
          const { bytesRead } = await file.read(target, at, target.length - at, position + at);
          at += bytesRead;
          if (bytesRead === 0 || at === target.length) return at;
        }
      },
      async write(sources, position) {
        const bytes = sources.reduce((sum, { length }) => sum + length, 0);
        const { bytesWritten } = await file.writev(sources, position);
        if (bytesWritten === bytes) return;
        // The disk became full, or a signal came: the rest is written, or the error is found.
        const rest = Buffer.concat(sources).subarray(bytesWritten);
        for (let at = 0; at < rest.length; ) {
          at += (await file.write(rest, at, rest.length - at, position + bytesWritten + at)).bytesWritten;
        }
      },
      empty: () => file.truncate(0),
      close: () => file.close(),
    };
  },
  async state(path) {
    const { size, blocks, mtimeMs } = await lstat(path);
    return { sizeBytes: size, allocatedBytes: blocks * STAT_BLOCK_BYTES, modifiedMs: mtimeMs };
  },
  rename,
  truncate,
  setModified: (path, modifiedMs) => utimes(path, modifiedMs / 1_000, modifiedMs / 1_000),
};
