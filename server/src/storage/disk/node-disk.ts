import fs, { readFileSync } from "node:fs";
import { blocksDirectory } from "@frontcache/proto";
import { claimDirectory } from "../directory-lock.js";
import { type Libc, loadLibc } from "../mapping/libc.js";
import type { DirectoryClaim, Disk, DiskFile, DiskSpace, DiskStat, FilePiece, FileSurvey } from "./disk.js";
import { FileCreator, unlinked } from "./file-creator.js";
import { surveyByFiles, ThreadSurvey, toDiskStat } from "./file-survey.js";
import { spreadDirectories } from "./spread-directories.js";

const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL } = fs.constants;
/**
 * Absent on some systems. A foreign file in place of a block file must not block a thread (a pipe) or lead elsewhere (a link).
 */
const { O_NONBLOCK = 0, O_NOFOLLOW = 0 } = fs.constants as Partial<typeof fs.constants>;

const flags = {
  read: O_RDONLY | O_NONBLOCK | O_NOFOLLOW,
  update: O_RDWR | O_NONBLOCK | O_NOFOLLOW,
  create: O_RDWR | O_CREAT | O_EXCL,
};

/**
 * Maximum bytes of one write. On a machine whose cores are all busy, a large write keeps the event loop waiting while the kernel makes
 * pages for it and copies. Measured while 8 connections read cold blocks on one core: with writes of 4 to 8 MiB, the longest hundredth of
 * the event loop's delays took 24 to 34 ms, with 256 KiB 5 to 11 ms; the reads took half of the time, and CPU time was the same or less.
 */
const WRITE_BYTES = 256 << 10;

const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;

/** Inode count of file systems that allocate inodes dynamically (btrfs) or do not report them (some network file systems). */
const NO_INODES = { totalInodes: Number.POSITIVE_INFINITY, freeInodes: Number.POSITIVE_INFINITY };

/** The file system of this machine. */
export async function openNodeDisk(): Promise<Disk> {
  return new NodeDisk(await loadLibc());
}

/** Returns the maximum open files of this process; undefined if the system does not report it. */
export function descriptorLimit(): number | undefined {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}

/** Returns the size of the thread pool of file operations: from the environment, or libuv's default. */
export function poolThreads(): number {
  const threads = Number.parseInt(process.env.UV_THREADPOOL_SIZE ?? "", 10);
  return threads > 0 ? Math.min(threads, 1024) : 4;
}

// Callbacks and descriptors take a third of the main thread's time of promises and file handles, which matters with
// 65,536 files at the start and 4 KiB reads.
class NodeDisk implements Disk {
  readonly #libc: Libc | undefined;
  /** One for each claimed directory, with a slash at its end: a disk that hangs does not stop the others. */
  readonly #creators = new Map<string, FileCreator>();

  constructor(libc: Libc | undefined) {
    this.#libc = libc;
  }

  open(path: string, mode: "read" | "update"): Promise<DiskFile> {
    return this.#open(path, flags[mode]);
  }

  create(path: string, pieces: readonly FilePiece[], isUrgent = false): Promise<DiskFile> {
    return this.#creatorOf(path)?.create(path, pieces, isUrgent) ?? this.#create(path, pieces);
  }

  createsInThread(path: string, pieces: readonly FilePiece[]): boolean {
    return this.#creatorOf(path)?.usesThread(pieces) === true;
  }

  #creatorOf(path: string): FileCreator | undefined {
    for (const [directory, creator] of this.#creators) if (path.startsWith(directory)) return creator;
    return undefined;
  }

  async #create(path: string, pieces: readonly FilePiece[]): Promise<DiskFile> {
    const file = await this.#open(path, flags.create);
    try {
      for (const { position, sources } of pieces) await file.write(sources, position);
      return file;
    } catch (error) {
      await file.close().catch(() => undefined);
      throw error;
    }
  }

  async #open(path: string, flag: number): Promise<DiskFile> {
    const fd = await called<number>((done) => fs.open(path, flag, 0o600, done));
    return new NodeFile(fd, this.#libc);
  }

  remove(path: string, isSmall = false): Promise<void> {
    return (isSmall ? this.#creatorOf(path)?.remove(path) : undefined) ?? unlinked(path);
  }

  removesInThread(path: string): boolean {
    return this.#creatorOf(path)?.usesThread() === true;
  }

  async list(directory: string): Promise<string[]> {
    const names = await called<string[]>((done) => fs.readdir(directory, done));
    return names.sort();
  }

  async makeDirectory(path: string): Promise<void> {
    await called<string | undefined>((done) => fs.mkdir(path, { recursive: true, mode: 0o700 }, done));
  }

  survey(): FileSurvey {
    return new ThreadSurvey(surveyByFiles(this));
  }

  async space(directory: string): Promise<DiskSpace> {
    const { blocks, bfree, bavail, bsize, files, ffree } = await called<fs.StatsFs>((done) => fs.statfs(directory, done));
    const inodes = files > 0 ? { totalInodes: files, freeInodes: ffree } : NO_INODES;
    return { totalBytes: (blocks - bfree + bavail) * bsize, freeBytes: bavail * bsize, sizeBytes: blocks * bsize, ...inodes };
  }

  async claim(directory: string): Promise<DirectoryClaim> {
    const claim = await claimDirectory(directory, this.#libc);
    if (this.#libc !== undefined) await spreadDirectories(blocksDirectory(directory), this.#libc);
    const name = directory.endsWith("/") ? directory : `${directory}/`;
    const creator = new FileCreator({
      otherwise: (path, pieces) => this.#create(path, pieces),
      opened: (fd, close) => new NodeFile(fd, this.#libc, close),
    });
    this.#creators.set(name, creator);
    return {
      release: () => {
        if (this.#creators.get(name) === creator) this.#creators.delete(name);
        creator.close();
        return claim.release();
      },
    };
  }
}

class NodeFile implements DiskFile {
  readonly fd: number;
  readonly #libc: Libc | undefined;
  readonly #closeBy: ((fd: number) => Promise<void>) | undefined;

  /** `closeBy` closes a descriptor; absent: the thread pool does. */
  constructor(fd: number, libc: Libc | undefined, closeBy?: (fd: number) => Promise<void>) {
    this.fd = fd;
    this.#libc = libc;
    this.#closeBy = closeBy;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    for (let at = 0; ; ) {
      const count = await called<number>((done) => fs.read(this.fd, target, at, target.length - at, position + at, done));
      at += count;
      if (count === 0 || at === target.length) return at;
    }
  }

  async write(sources: readonly Uint8Array[], position: number): Promise<void> {
    let [left, at] = [sources, position];
    while (left.length > 0) {
      const count = await called<number>((done) => fs.writev(this.fd, beginning(left, WRITE_BYTES), at, done));
      at += count;
      left = behind(left, count);
    }
  }

  deallocate(position: number, lengthBytes: number): Promise<boolean> {
    const libc = this.#libc;
    if (libc === undefined) return Promise.resolve(false);
    return new Promise((resolve) => {
      const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
      libc.fallocate.async(this.fd, mode, position, lengthBytes, (_error, result) => resolve(result === 0));
    });
  }

  async stat(): Promise<DiskStat> {
    return toDiskStat(await called<fs.Stats>((done) => fs.fstat(this.fd, done)));
  }

  truncate(sizeBytes: number): Promise<void> {
    return called((done) => fs.ftruncate(this.fd, sizeBytes, done));
  }

  setModified(modifiedMs: number): Promise<void> {
    return called((done) => fs.futimes(this.fd, modifiedMs / 1000, modifiedMs / 1000, done));
  }

  close(): Promise<void> {
    return this.#closeBy?.(this.fd) ?? called((done) => fs.close(this.fd, done));
  }
}

/** Returns the first bytes of the sources: at most `mostBytes`. */
function beginning(sources: readonly Uint8Array[], mostBytes: number): readonly Uint8Array[] {
  let leftBytes = mostBytes;
  for (const [index, source] of sources.entries()) {
    if (source.length > leftBytes) return [...sources.slice(0, index), source.subarray(0, leftBytes)];
    leftBytes -= source.length;
  }
  return sources;
}

/** Returns the rest of the sources after their first `count` bytes. */
function behind(sources: readonly Uint8Array[], count: number): Uint8Array[] {
  const left: Uint8Array[] = [];
  let skipped = count;
  for (const source of sources) {
    if (source.length > skipped) left.push(source.subarray(skipped));
    skipped = Math.max(0, skipped - source.length);
  }
  return left;
}

/** Converts the result of a callback function to a promise. */
function called<T = void>(start: (done: (error: Error | null, value?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => (error === null || error === undefined ? resolve(value as T) : reject(error)));
  });
}
