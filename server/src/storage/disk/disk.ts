/** The capacity of a directory's file system. */
export interface DiskSpace {
  /** Bytes that are used or that this process may still write. */
  readonly totalBytes: number;
  /** Bytes that this process may still write. */
  readonly freeBytes: number;
  /** Bytes of the whole file system, including those that only root may use. */
  readonly sizeBytes: number;
  /** Maximum files and directories of the file system; Infinity if it has no such limit. */
  readonly totalInodes: number;
  readonly freeInodes: number;
}

export interface DiskStat {
  readonly sizeBytes: number;
  /** Bytes of the file on the disk; less than `sizeBytes` if it is sparse. */
  readonly allocatedBytes: number;
  readonly modifiedMs: number;
  /** Creation time; 0 if the file system does not record it. */
  readonly createdMs: number;
}

/** An open file. Every method rejects with the system's error (`code` ENOSPC, EIO, ...). */
export interface DiskFile {
  /** The descriptor for mapping and residency checks; absent in memory. */
  readonly fd?: number;
  /** Fills `target` from `position`; resolves with the bytes read, fewer only at the file's end. */
  read(target: Uint8Array, position: number): Promise<number>;
  /** Writes all `sources` consecutively, starting at `position`. */
  write(sources: readonly Uint8Array[], position: number): Promise<void>;
  /**
   * Frees the space of a range, which then reads as zeros. Resolves with false, without a change, if the disk does not support
   * it.
   */
  deallocate(position: number, lengthBytes: number): Promise<boolean>;
  stat(): Promise<DiskStat>;
  /** Sets the length; growing adds a hole. */
  truncate(sizeBytes: number): Promise<void>;
  setModified(modifiedMs: number): Promise<void>;
  close(): Promise<void>;
}

/** The result of a survey of one file. */
export interface FileLook {
  /** Fewer bytes than requested at the file's end. */
  readonly bytes: Buffer;
  readonly stat: DiskStat;
}

/** Reads a few bytes of many files fast. */
export interface FileSurvey {
  /**
   * Resolves with `lengthBytes` bytes at `position` and the stat of each file, or its error. Rejects if it is closed meanwhile.
   */
  look(paths: readonly string[], position: number, lengthBytes: number): Promise<(FileLook | NodeJS.ErrnoException)[]>;
  /** Closes it, and ends running surveys. */
  close(): void;
}

/** A directory that is locked by this process. */
export interface DirectoryClaim {
  /** Unlocks it. May be called repeatedly. */
  release(): Promise<void>;
}

/** Bytes of a new file. */
export interface FilePiece {
  readonly position: number;
  /** Written consecutively. */
  readonly sources: readonly Uint8Array[];
}

/** A file system as a port. Every method rejects with the system's error. */
export interface Disk {
  /** Opens an existing file; `update` reads and writes it. */
  open(path: string, mode: "read" | "update"): Promise<DiskFile>;
  /**
   * Creates a file and writes its pieces, one after the other. Rejects with EEXIST if the path exists. After any other error, the
   * file may exist with some of its bytes. `isUrgent`: somebody waits for it; otherwise it may wait a few milliseconds for others.
   */
  create(path: string, pieces: readonly FilePiece[], isUrgent?: boolean): Promise<DiskFile>;
  /** Whether `create`, called now, has a thread of its own create the file, together with others. Absent: it never has. */
  createsInThread?(path: string, pieces: readonly FilePiece[]): boolean;
  /** `isSmall`: it may wait a few milliseconds for others. */
  remove(path: string, isSmall?: boolean): Promise<void>;
  /** Whether `remove`, called now for a small file, has a thread of its own remove it, together with others. Absent: it never has. */
  removesInThread?(path: string): boolean;
  /** Returns the sorted names in a directory. */
  list(directory: string): Promise<string[]>;
  /** Creates a directory with its parents; succeeds if it exists. */
  makeDirectory(path: string): Promise<void>;
  survey(): FileSurvey;
  space(directory: string): Promise<DiskSpace>;
  /**
   * Creates the directory and locks it against other processes until `release`, or until this process ends for any
   * reason. Rejects with a CacheError that names the directory: in use by another process, of another owner, not writable.
   */
  claim(directory: string): Promise<DirectoryClaim>;
}

/** Returns the system's code of an error (ENOENT, EIO, ...); empty for other errors. */
export function systemCode(error: unknown): string {
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code;
  return "";
}

/** Creates an error like the system's, with its `code`. */
export function systemError(code: string, message: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${message}`), { code });
}
