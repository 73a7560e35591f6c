import { CacheError } from "@frontcache/proto";
import type { DirectoryClaim, Disk, DiskFile, DiskSpace, DiskStat, FilePiece, FileSurvey } from "../storage/disk/disk.js";
import { systemError } from "../storage/disk/disk.js";
import { surveyByFiles } from "../storage/disk/file-survey.js";
import { MemoryFile, PAGE_BYTES } from "./memory-file.js";

/** The operations of a disk: the methods of Disk and DiskFile. */
export type DiskOperation = Exclude<keyof Disk, "survey"> | Exclude<keyof DiskFile, "fd">;

/**
 * Injects faults: called before every operation. It may throw a system error, wait (a hung disk), or return
 * a number to limit a write or read to that many bytes: the write then fails with EIO, the read is short.
 */
export type FaultPlacement = (operation: DiskOperation, path: string) => undefined | number | Promise<undefined | number>;

export interface MemoryDiskOptions {
  readonly totalBytes: number;
  /** Files and directories; absent: any number. */
  readonly totalInodes?: number | undefined;
  /** Returns wall time for file times, milliseconds. */
  readonly nowMs: () => number;
  readonly before?: FaultPlacement;
}

/** The fake of Disk: a file system in memory with sparse files, a size, and injected faults. */
export class MemoryDisk implements Disk {
  readonly #files = new Map<string, MemoryFile>();
  readonly #directories = new Set<string>(["/"]);
  readonly #claimed = new Set<string>();
  readonly #open = new Set<OpenMemoryFile>();
  readonly #options: MemoryDiskOptions;
  #crashed = false;
  #usedPages = 0;
  readonly #account = (pages: number): void => {
    this.#usedPages += pages;
  };
  /** Bytes used by other programs. */
  foreignBytes = 0;
  /** The fault injection; may be replaced at any time. */
  before: FaultPlacement | undefined;

  constructor(options: MemoryDiskOptions) {
    this.#options = options;
    this.before = options.before;
  }

  /** Simulates the death of the process: its running operations have no effect and never end; the disk keeps its contents. */
  crash(): MemoryDisk {
    this.#crashed = true;
    const { totalBytes, totalInodes, nowMs } = this.#options;
    const next = new MemoryDisk({ totalBytes, totalInodes, nowMs });
    next.foreignBytes = this.foreignBytes;
    for (const [path, file] of this.#files) next.#name(path, file.copy(next.#account));
    for (const directory of this.#directories) next.#directories.add(directory);
    return next;
  }

  /** Bytes used by files, including unlinked open files. */
  get usedBytes(): number {
    return this.#usedPages * PAGE_BYTES;
  }

  get openFiles(): number {
    return this.#open.size;
  }

  /** Returns the sorted paths of all files. */
  paths(): string[] {
    return [...this.#files.keys()].sort();
  }

  /** Returns a file's content, to inspect or damage. Throws ENOENT. */
  file(path: string): MemoryFile {
    const file = this.#files.get(path);
    if (file === undefined) throw systemError("ENOENT", path);
    return file;
  }

  /** Creates a file and its directories. */
  putFile(path: string, bytes: Uint8Array): void {
    const file = this.#newFile();
    file.write(bytes, 0, Infinity, this.#options.nowMs());
    this.#addDirectories(parent(path));
    this.#name(path, file);
  }

  /** Removes a directory recursively, like another program. */
  removeDirectory(path: string): void {
    const isBelow = (name: string): boolean => name === path || name.startsWith(`${path}/`);
    for (const name of [...this.#files.keys()].filter(isBelow)) this.#unname(name);
    for (const name of [...this.#directories].filter(isBelow)) this.#directories.delete(name);
  }

  async open(path: string): Promise<DiskFile> {
    await this.enter("open", path);
    return this.#opened(path);
  }

  async create(path: string, pieces: readonly FilePiece[]): Promise<DiskFile> {
    await this.enter("create", path);
    this.#needDirectory(parent(path));
    if (this.#files.has(path)) throw systemError("EEXIST", path);
    if (this.freeInodes === 0) throw systemError("ENOSPC", path);
    this.#name(path, this.#newFile());
    const file = this.#opened(path);
    try {
      for (const { position, sources } of pieces) await file.write(sources, position);
      return file;
    } catch (error) {
      this.closed(file);
      throw error;
    }
  }

  #opened(path: string): OpenMemoryFile {
    const open = new OpenMemoryFile(this, path, this.file(path));
    open.content.hold();
    this.#open.add(open);
    return open;
  }

  async remove(path: string): Promise<void> {
    await this.enter("remove", path);
    if (this.#directories.has(path)) throw systemError("EISDIR", path);
    this.#unname(path);
  }

  async list(directory: string): Promise<string[]> {
    await this.enter("list", directory);
    if (this.#files.has(directory)) throw systemError("ENOTDIR", directory);
    this.#needDirectory(directory);
    const entries = [...this.#files.keys(), ...this.#directories].filter((path) => path !== "/" && parent(path) === directory);
    return entries.map((path) => path.slice(path.lastIndexOf("/") + 1)).sort();
  }

  async makeDirectory(path: string): Promise<void> {
    await this.enter("makeDirectory", path);
    this.#addDirectories(path);
  }

  survey(): FileSurvey {
    return surveyByFiles(this);
  }

  async space(directory: string): Promise<DiskSpace> {
    await this.enter("space", directory);
    this.#needDirectory(directory);
    const { totalBytes, totalInodes = Number.POSITIVE_INFINITY } = this.#options;
    return { totalBytes, freeBytes: this.freeBytes, sizeBytes: totalBytes, totalInodes, freeInodes: this.freeInodes };
  }

  async claim(directory: string): Promise<DirectoryClaim> {
    await this.enter("claim", directory);
    if (this.#claimed.has(directory)) throw new CacheError("FAILED_PRECONDITION", `${directory} is in use by another process`);
    this.#addDirectories(directory);
    this.#claimed.add(directory);
    return {
      release: async () => {
        this.#claimed.delete(directory);
      },
    };
  }

  /** Starts an operation: in the next iteration of the event loop at the earliest, after its injected fault. */
  async enter(operation: DiskOperation, path: string): Promise<number | undefined> {
    const limit = await this.before?.(operation, path);
    if (this.#crashed) await new Promise(() => undefined);
    return limit;
  }

  get freeBytes(): number {
    return Math.max(0, this.#options.totalBytes - this.foreignBytes - this.usedBytes);
  }

  get freeInodes(): number {
    const { totalInodes = Number.POSITIVE_INFINITY } = this.#options;
    return Math.max(0, totalInodes - this.#files.size - this.#directories.size);
  }

  get nowMs(): number {
    return this.#options.nowMs();
  }

  closed(file: OpenMemoryFile): void {
    this.#open.delete(file);
    file.content.drop();
  }

  #newFile(): MemoryFile {
    return new MemoryFile(this.#options.nowMs(), this.#account);
  }

  /** Links a file to a name, and unlinks another file of that name. */
  #name(path: string, file: MemoryFile): void {
    file.hold();
    this.#files.get(path)?.drop();
    this.#files.set(path, file);
  }

  #unname(path: string): void {
    this.file(path).drop();
    this.#files.delete(path);
  }

  #needDirectory(path: string): void {
    if (!this.#directories.has(path)) throw systemError("ENOENT", path);
  }

  #addDirectories(path: string): void {
    for (let at = path; !this.#directories.has(at); at = parent(at)) this.#directories.add(at);
  }
}

/** A descriptor: keeps the content of an unlinked file. */
class OpenMemoryFile implements DiskFile {
  readonly #disk: MemoryDisk;
  readonly #path: string;
  readonly content: MemoryFile;

  #closed = false;

  constructor(disk: MemoryDisk, path: string, content: MemoryFile) {
    this.#disk = disk;
    this.#path = path;
    this.content = content;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    const limit = await this.#enter("read");
    return this.content.read(limit === undefined ? target : target.subarray(0, limit), position);
  }

  async write(sources: readonly Uint8Array[], position: number): Promise<void> {
    const limit = await this.#enter("write");
    this.content.write(Buffer.concat(sources).subarray(0, limit), position, this.#disk.freeBytes, this.#disk.nowMs);
    if (limit !== undefined) throw systemError("EIO", this.#path);
  }

  async deallocate(position: number, lengthBytes: number): Promise<boolean> {
    await this.#enter("deallocate");
    this.content.deallocate(position, lengthBytes);
    return true;
  }

  async stat(): Promise<DiskStat> {
    await this.#enter("stat");
    const { sizeBytes, allocatedBytes, modifiedMs, createdMs } = this.content;
    return { sizeBytes, allocatedBytes, modifiedMs, createdMs };
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.#enter("truncate");
    this.content.truncate(sizeBytes);
  }

  async setModified(modifiedMs: number): Promise<void> {
    await this.#enter("setModified");
    this.content.modifiedMs = modifiedMs;
  }

  /** As in the system, the descriptor is closed even if closing fails. */
  async close(): Promise<void> {
    try {
      await this.#enter("close");
    } finally {
      if (!this.#closed) this.#disk.closed(this);
      this.#closed = true;
    }
  }

  #enter(operation: DiskOperation): Promise<number | undefined> {
    if (this.#closed) throw systemError("EBADF", this.#path);
    return this.#disk.enter(operation, this.#path);
  }
}

function parent(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf("/")));
}
