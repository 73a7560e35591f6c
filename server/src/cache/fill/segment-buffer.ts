import { crc32 } from "node:zlib";
import type { Slice } from "../../runtime/slice.js";

/**
 * A segment that is being filled, or was just filled, in memory. Bytes land behind those that are there, so readers may look
 * at `[0, filled)` while the rest arrives. The memory goes back when the fill and every slice have let go.
 */
export class SegmentBuffer {
  /** Bytes that have arrived. */
  filled = 0;
  /** CRC-32 of the bytes that have arrived. */
  crc = 0;
  #holders = 1;

  constructor(
    /** Bytes of the whole segment: the segment size, or less at the object's end. */
    readonly length: number,
    readonly buffer: Buffer,
    readonly onFree: (buffer: Buffer) => void,
  ) {}

  get complete(): boolean {
    return this.filled === this.length;
  }

  get bytes(): Buffer {
    return this.buffer.subarray(0, this.filled);
  }

  /** Where the next bytes belong, to be told by `landed`; empty once it is complete. */
  get room(): Buffer {
    return this.buffer.subarray(this.filled, this.length);
  }

  /** The first `bytes` of the room are filled. */
  landed(bytes: number): void {
    const end = this.filled + bytes;
    this.crc = crc32(this.buffer.subarray(this.filled, end), this.crc);
    this.filled = end;
  }

  /** Borrows bytes that have arrived. */
  slice(start: number, end: number): Slice {
    this.#holders++;
    return { bytes: this.buffer.subarray(start, end), scarce: true, release: () => this.release() };
  }

  /** One holder less; the fill itself is the first holder. */
  release(): void {
    if (--this.#holders === 0) this.onFree(this.buffer);
  }
}
