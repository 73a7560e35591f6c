/**
 * Borrowed bytes of a response. They are valid until `release`, which must be called exactly once, after the last use (a socket's
 * write callback, or a copy). After that the memory may contain other bytes or be unmapped.
 */
export interface Slice {
  readonly bytes: Buffer;
  /** Whether the memory is scarce: copy the bytes instead of keeping them while a slow socket drains. */
  readonly scarce?: boolean;
  /** The same bytes in a file, from which the kernel can send them. */
  readonly file?: FileBytes | undefined;
  /** More bytes, behind `bytes`. Only callers of `next(true)` get them. */
  readonly piped?: PipedBytes | undefined;
  release(): void;
}

/** Returns the number of bytes of a slice, those in its pipe included. */
export function lengthOf({ bytes, piped }: Slice): number {
  return piped === undefined ? bytes.length : bytes.length + piped.count;
}

/** Bytes in a pipe of the kernel, which they leave without passing through memory of this process, or by `read`. */
export interface PipedBytes {
  /** The end of the pipe that bytes leave by. */
  readonly descriptor: number;
  /** Bytes in the pipe. */
  readonly count: number;
  /** Call when the kernel has moved bytes out of the pipe. */
  moved(bytes: number): void;
  /** Takes bytes out of the pipe into memory: all, or the first `mostBytes`. */
  read(mostBytes: number): Buffer;
}

/** The bytes of a slice in a file. The descriptor stays open until the slice is released. */
export interface FileBytes {
  readonly descriptor: number;
  /** Position of the slice's first byte in the file. */
  readonly position: number;
  /** Returns whether the slice's bytes `[from, to)` are still in memory, so that sending them does not wait for the disk. */
  isInMemory(from: number, to: number): boolean;
  /** Reads the slice's bytes from `from` on again, outside the main thread. Undefined: they are not cached any more. */
  readAgain(from: number): Promise<Slice | undefined>;
}
