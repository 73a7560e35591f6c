import type { FilledSegment } from "../storage/block.js";
import type { SegmentBuffer } from "./segment-buffer.js";
import { SegmentInterest } from "./segment-interest.js";

/**
 * The segments of one fill that are in memory, and who comes for them. A segment is given back when it is on disk; one that
 * can't be kept stays for those who entered for it, until other demand needs the memory.
 */
export class MemorySegments {
  readonly #buffers = new Map<number, SegmentBuffer>();
  readonly #interest = new SegmentInterest();
  /** Complete segments that could not be written. */
  readonly #unkept = new Set<number>();

  get size(): number {
    return this.#buffers.size;
  }

  get(segment: number): SegmentBuffer | undefined {
    return this.#buffers.get(segment);
  }

  set(segment: number, buffer: SegmentBuffer): void {
    this.#buffers.set(segment, buffer);
  }

  /** Whether anybody still comes for the segment, or is at it. */
  isWanted(segment: number): boolean {
    return this.#interest.has(segment);
  }

  /** Whether the segment is complete and could not be written: it is here for those who entered for it. */
  isUnkept(segment: number): boolean {
    return this.#unkept.has(segment);
  }

  enter(segment: number): void {
    this.#interest.enter(segment);
  }

  arrive(segment: number): void {
    this.#interest.arrive(segment);
  }

  /** Returns whether nobody is left; what was only there for them is given back then. */
  leave(segment: number, arrived: boolean): boolean {
    if (!this.#interest.leave(segment, arrived)) return false;
    if (this.#unkept.delete(segment)) this.release(segment);
    return true;
  }

  /** Complete segments as the block file takes them. */
  filled(segments: readonly number[]): FilledSegment[] {
    return segments.map((index) => {
      const { bytes, crc } = this.#buffers.get(index)!;
      return { index, bytes, crc };
    });
  }

  /** The segment was written (`kept`), or could not be. */
  settle(segment: number, kept: boolean): void {
    if (kept || !this.isWanted(segment)) this.release(segment);
    else this.#unkept.add(segment);
  }

  /** Gives unkept segments back that nobody is at: readers who still come for them will ask again. */
  dropUnkept(): void {
    for (const segment of this.#unkept) {
      if (this.#interest.isAt(segment)) continue;
      this.#unkept.delete(segment);
      this.release(segment);
    }
  }

  /** Gives the segment's memory back, as soon as no slice of it is lent any more. */
  release(segment: number): void {
    const buffer = this.#buffers.get(segment);
    if (buffer === undefined) return;
    this.#buffers.delete(segment);
    buffer.release();
  }
}
