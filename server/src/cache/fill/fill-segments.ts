import type { CacheError } from "@frontcache/proto";
import type { FilledSegment } from "../../storage/block.js";
import type { SegmentBuffer } from "./segment-buffer.js";
import { SegmentInterest } from "./segment-interest.js";
import { SegmentWaiters } from "./segment-waiters.js";

/**
 * The segments of one fill as its readers meet them: in memory, or failed; who comes for them and who waits. A segment is
 * given back when it is on disk; one that can't be kept stays for those who entered for it, until other demand needs the
 * memory. A failure stays for those who entered, too.
 */
export class FillSegments {
  readonly #buffers = new Map<number, SegmentBuffer>();
  readonly #interest = new SegmentInterest();
  readonly #waiters = new SegmentWaiters();
  /** Complete segments that could not be written. */
  readonly #unkept = new Set<number>();
  /** Why a segment did not come, while those who had entered for it still come. */
  readonly #failures = new Map<number, CacheError>();

  /** How many are in memory. */
  get size(): number {
    return this.#buffers.size;
  }

  /** The segment's memory, while it is filled and until it is on disk. */
  buffer(segment: number): SegmentBuffer | undefined {
    return this.#buffers.get(segment);
  }

  /** Whether anybody still comes for the segment, or is at it. */
  isWanted(segment: number): boolean {
    return this.#interest.has(segment);
  }

  /** Whether the segment is complete and could not be written: it is here for those who entered for it. */
  isUnkept(segment: number): boolean {
    return this.#unkept.has(segment);
  }

  /** Why the segment did not come, for those who had entered for it. */
  failure(segment: number): CacheError | undefined {
    return this.#failures.get(segment);
  }

  /** Resolves when the segment has more bytes or another place; rejects where it fails or the signal is aborted. */
  progress(segment: number, signal: AbortSignal): Promise<void> {
    return this.#waiters.wait(segment, signal);
  }

  // Its readers' coming and going.

  enter(segment: number): void {
    this.#interest.enter(segment);
  }

  arrive(segment: number): void {
    this.#interest.arrive(segment);
  }

  /** Returns whether nobody is left; what was only there for them is given back then. */
  leave(segment: number, arrived: boolean): boolean {
    if (!this.#interest.leave(segment, arrived)) return false;
    this.#failures.delete(segment);
    if (this.#unkept.delete(segment)) this.#release(segment);
    return true;
  }

  // What happens to them.

  /** The segment is asked for again: what an earlier part met no longer counts. */
  forgetFailure(segment: number): void {
    this.#failures.delete(segment);
  }

  /** The segment has a buffer now, or more bytes in it. */
  progressed(segment: number, buffer: SegmentBuffer): void {
    this.#buffers.set(segment, buffer);
    this.#waiters.wake(segment);
  }

  /** The segment does not come, and nothing is wrong with that: it lies behind the object's end, or nobody wants it any more. */
  drop(segment: number): void {
    this.#release(segment);
    this.#waiters.wake(segment);
  }

  /** The segment does not come: tells those who wait, and those who have entered when they arrive. */
  fail(segment: number, failure: CacheError): void {
    this.#release(segment);
    if (this.isWanted(segment)) this.#failures.set(segment, failure);
    this.#waiters.fail(segment, failure);
  }

  /** Complete segments as the block file takes them. */
  filled(segments: readonly number[]): FilledSegment[] {
    return segments.map((index) => {
      const { bytes, crc } = this.#buffers.get(index)!;
      return { index, bytes, crc };
    });
  }

  /** The complete segment was written (`kept`), or could not be. */
  settle(segment: number, kept: boolean): void {
    if (kept || !this.isWanted(segment)) this.#release(segment);
    else this.#unkept.add(segment);
    this.#waiters.wake(segment);
  }

  /** Gives unkept segments back that nobody is at: readers who still come for them will ask again. */
  dropUnkept(): void {
    for (const segment of this.#unkept) {
      if (this.#interest.isAt(segment)) continue;
      this.#unkept.delete(segment);
      this.#release(segment);
    }
  }

  /** Gives the segment's memory back, as soon as no slice of it is lent any more. */
  #release(segment: number): void {
    const buffer = this.#buffers.get(segment);
    if (buffer === undefined) return;
    this.#buffers.delete(segment);
    buffer.release();
  }
}
