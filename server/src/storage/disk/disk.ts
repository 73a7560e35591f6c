/** What a directory's file system has. */
export interface DiskSpace {
  /** Bytes that are used or that this process may still write. */
  readonly totalBytes: number;
  /** Bytes that this process may still write. */
  readonly freeBytes: number;
  /** Bytes of the whole file system, including those that only root may use. */
  readonly sizeBytes: number;
  /** Files and directories that the file system can have; Infinity where it has no such bound. */
  readonly totalInodes: number;
  readonly freeInodes: number;
}

export interface DiskStat {
  readonly sizeBytes: number;
  /** Bytes that the file takes on the disk; less than `sizeBytes` where it is sparse. */
  readonly allocatedBytes: number;
  readonly modifiedMs: number;
  /** When it was made; 0 where the file system does not say. */
  readonly createdMs: number;
}

/** An open file. Every method rejects with the system's error (`code` ENOSPC, EIO, ...). */
export interface DiskFile {
  /** The descriptor for mapping and residency checks; absent where there is none (in memory). */
  readonly fd?: number;
  /** Reads into the whole of `target` from `position`; resolves to the bytes read, fewer only at the file's end. */
  read(target: Uint8Array, position: number): Promise<number>;
  /** Writes all of `sources`, one behind the other, from `position` on. */
  write(sources: readonly Uint8Array[], position: number): Promise<void>;
  /** Gives the space of a range back to the disk: it reads as zeros then. False where the disk can't: nothing has changed. */
  deallocate(position: number, lengthBytes: number): Promise<boolean>;
  stat(): Promise<DiskStat>;
  /** Sets the length (a hole where it grows). */
  truncate(sizeBytes: number): Promise<void>;
  setModified(modifiedMs: number): Promise<void>;
  close(): Promise<void>;
}

/** What a look at one file found. */
export interface FileLook {
  /** Fewer than asked for at the file's end. */
  readonly bytes: Buffer;
  readonly stat: DiskStat;
}

/** A quick way to see a little of many files. */
export interface FileSurvey {
  /** Of each file its `lengthBytes` bytes at `position` and its stat, or the system's error. Rejects when closed meanwhile. */
  look(paths: readonly string[], position: number, lengthBytes: number): Promise<(FileLook | NodeJS.ErrnoException)[]>;
  /** Ends it, with what is under way. */
  close(): void;
}

/** A directory that this process alone uses. */
export interface DirectoryClaim {
  /** Releases it. Harmless when repeated. */
  release(): Promise<void>;
}

/** A file system as a port. Every method rejects with the system's error. */
export interface Disk {
  /** `create` fails where the path exists; `update` reads and writes an existing file. */
  open(path: string, mode: "read" | "update" | "create"): Promise<DiskFile>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Names in a directory, sorted. */
  list(directory: string): Promise<string[]>;
  /** With its parents; harmless where it exists. */
  makeDirectory(path: string): Promise<void>;
  survey(): FileSurvey;
  space(directory: string): Promise<DiskSpace>;
  /**
   * Makes the directory and keeps every other process out of it until `release`, or until this process ends however it
   * does. Rejects with a CacheError that names the directory: in use by another process, of another owner, not writable.
   */
  claim(directory: string): Promise<DirectoryClaim>;
}

/** The system's code of an error (ENOENT, EIO, ...); empty for errors that have none. */
export function systemCode(error: unknown): string {
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code;
  return "";
}

/** An error as the system makes them, with its `code`. */
export function systemError(code: string, message: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${message}`), { code });
}
