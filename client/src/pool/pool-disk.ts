import { link, mkdir, open, readdir, readFile, rm } from "node:fs/promises";

/** The file operations of a pool. Every method rejects with the system's error (`code` ENOSPC, EEXIST, ...). */
export interface PoolDisk {
  /** Creates a directory and its parents. Existing ones are fine. */
  createDirectory(path: string): Promise<void>;
  /** Names in a directory. ENOENT if it is missing. */
  list(path: string): Promise<string[]>;
  /** Creates a file with this content. EEXIST if it exists. A failure may leave a part of it. */
  create(path: string, content: readonly Uint8Array[]): Promise<void>;
  read(path: string): Promise<Buffer>;
  /** Makes a hard link. EEXIST if `to` exists. */
  link(from: string, to: string): Promise<void>;
  /** A missing file is fine. */
  remove(path: string): Promise<void>;
  /** Waits until the content of a file, or the names in a directory, survive a loss of power. */
  sync(path: string): Promise<void>;
}

/** The disk of this machine. */
export const systemDisk: PoolDisk = {
  async createDirectory(path) {
    await mkdir(path, { recursive: true, mode: 0o700 });
  },
  list: (path) => readdir(path),
  async create(path, content) {
    const file = await open(path, "wx", 0o600);
    try {
      for (const bytes of content) await file.writeFile(bytes);
    } finally {
      await file.close();
    }
  },
  read: (path) => readFile(path),
  link,
  remove: (path) => rm(path, { force: true }),
  async sync(path) {
    const handle = await open(path, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
};

/** The system's code of an error, such as ENOENT; empty for other errors. */
export function systemCode(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === "string" ? code : "";
}
