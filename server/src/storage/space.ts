/** Counts the bytes of block files: of a volume, or of a bucket on a volume. */
export interface Space {
  /** Reserves bytes and new files. Returns false if they do not fit. */
  reserve(bytes: number, files?: number): boolean;
  /** Releases reserved space. */
  unreserve(bytes: number, files?: number): void;
  /** Turns reserved bytes into used ones, because they were written. */
  commit(bytes: number): void;
  /** Counts a block file that was found at the start. */
  recovered(bytes: number): void;
  /** Frees used bytes, because files or a segment were removed. */
  freed(bytes: number, files?: number): void;
}
