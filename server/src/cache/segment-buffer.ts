import { crc32 } from "node:zlib";
import type { Slice } from "../runtime/slice.js";

/**
 * A segment that is being filled, or was just filled, in memory. Bytes are only ever appended, so readers may look at
 * `[0, filled)` while the rest arrives. The memory goes back when the fill and every slice have let go.
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

  /** Takes what fits of `chunk` from `at` and returns how much that was. */
  append(chunk: Uint8Array, at: number): number {
    const count = Math.min(this.length - this.filled, chunk.length - at);
    const piece = count === chunk.length ? chunk : chunk.subarray(at, at + count);
    this.buffer.set(piece, this.filled);
    this.crc = crc32(piece, this.crc);
    this.filled += count;
    return count;
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
