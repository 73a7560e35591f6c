import { crc32 } from "node:zlib";
import { abortError, type CacheError } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import type { Slice } from "../../runtime/slice.js";
import type { FilledSegment } from "../../storage/block.js";

/**
 * The memory of a segment while it is filled and until it is on disk. Bytes are appended, so readers may look at
 * `[0, filled)` while the rest arrives. The memory is freed when the fill and every slice have released it.
 */
export class SegmentBuffer {
  /** Bytes of the whole segment: the segment size, or less at the object's end. */
  readonly length: number;
  /** Bytes that have arrived. */
  filled = 0;
  /** CRC-32 of the bytes that have arrived. */
  crc = 0;
  readonly #buffer: Buffer;
  readonly #onFree: (buffer: Buffer) => void;
  /** The fill itself, and each slice. */
  #references = 1;

  constructor(length: number, buffer: Buffer, onFree: (buffer: Buffer) => void) {
    this.length = length;
    this.#buffer = buffer;
    this.#onFree = onFree;
  }

  get complete(): boolean {
    return this.filled === this.length;
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.filled);
  }

  /** Where the next bytes go; `landed` reports them. Empty when the segment is complete. */
  get room(): Buffer {
    return this.#buffer.subarray(this.filled, this.length);
  }

  /** The first `bytes` of the room are filled. */
  landed(bytes: number): void {
    const end = this.filled + bytes;
    this.crc = crc32(this.#buffer.subarray(this.filled, end), this.crc);
    this.filled = end;
  }

  /** A slice of bytes that have arrived. */
  slice(start: number, end: number): Slice {
    this.#references++;
    return { bytes: this.#buffer.subarray(start, end), scarce: true, release: () => this.release() };
  }

  release(): void {
    if (--this.#references === 0) this.#onFree(this.#buffer);
  }
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: CacheError) => void;
}

/** Everything that a fill knows of one segment. */
interface SegmentState {
  /** From the answer's head until the segment is on disk, dropped or failed. */
  buffer: SegmentBuffer | undefined;
  /** Readers that entered for the segment and have not left. */
  entered: number;
  /** Those of them that are at the segment now. */
  arrived: number;
  /** Readers that wait until something happens to the segment. */
  waiters: Set<Waiter> | undefined;
  /** The segment is complete and could not be written. */
  isUnkept: boolean;
  /** Why the segment did not come, while readers that had entered before still come for it. */
  failure: CacheError | undefined;
}

/**
 * The segments of one fill as its readers see them. A reader enters for the segments that it will need, arrives at one, and
 * leaves it. A segment's memory is freed when the segment is on disk. A segment that cannot be written stays in memory for the
 * readers that entered for it, until other demand needs the memory. A failure stays for these readers, too.
 */
export class FillSegments {
  /** By index. A plain array: most fills have one segment. */
  readonly #states: (SegmentState | undefined)[] = [];
  #buffers = 0;

  /** Segments in memory. */
  get size(): number {
    return this.#buffers;
  }

  /** The segment's memory, while it is filled and until it is on disk. */
  buffer(segment: number): SegmentBuffer | undefined {
    return this.#states[segment]?.buffer;
  }

  /** Whether a reader will still come for the segment, or is at it. */
  isRequested(segment: number): boolean {
    return (this.#states[segment]?.entered ?? 0) > 0;
  }

  /** Whether the segment is complete and could not be written. */
  isUnkept(segment: number): boolean {
    return this.#states[segment]?.isUnkept === true;
  }

  /** Why the segment did not come, for readers that had entered for it. */
  failure(segment: number): CacheError | undefined {
    return this.#states[segment]?.failure;
  }

  /** Resolves when the segment has more bytes, or moves to the disk. Rejects if the segment fails or the signal is aborted. */
  progress(segment: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(abortError(signal));
      const state = this.#state(segment);
      const remove = whenAborted(signal, () => {
        state.waiters?.delete(waiter);
        this.#forgetIfUnused(segment, state);
        reject(abortError(signal));
      });
      const waiter: Waiter = {
        resolve: () => {
          remove();
          resolve();
        },
        reject: (error) => {
          remove();
          reject(error);
        },
      };
      state.waiters ??= new Set();
      state.waiters.add(waiter);
    });
  }

  // What readers do.

  /** A reader will come for these segments. It must leave each of them. */
  enter(segments: readonly number[]): void {
    for (const segment of segments) this.#state(segment).entered++;
  }

  /** A reader that entered is at the segment now: the segment is not dropped before the reader leaves. */
  arrive(segment: number): void {
    this.#state(segment).arrived++;
  }

  /** A reader leaves the segment. Returns whether no reader is left; what was kept only for readers is freed then. */
  leave(segment: number, arrived: boolean): boolean {
    const state = this.#state(segment);
    if (arrived) state.arrived--;
    if (--state.entered > 0) return false;
    state.failure = undefined;
    if (state.isUnkept) this.#free(state);
    this.#forgetIfUnused(segment, state);
    return true;
  }

  // What parts and writes do.

  /** The segment is requested again: an earlier failure no longer counts. */
  forgetFailure(segment: number): void {
    const state = this.#states[segment];
    if (state !== undefined) state.failure = undefined;
  }

  /** The segment has a buffer now, or more bytes in it. */
  progressed(segment: number, buffer: SegmentBuffer): void {
    const state = this.#state(segment);
    if (state.buffer === undefined) this.#buffers++;
    state.buffer = buffer;
    this.#wake(segment, state);
  }

  /** The segment does not come, which is no error: it lies past the object's end, or no reader needs it any more. */
  drop(segment: number): void {
    const state = this.#states[segment];
    if (state === undefined) return;
    this.#free(state);
    this.#wake(segment, state);
  }

  /** The segment does not come: its waiters fail now, and readers that entered for it fail when they arrive. */
  fail(segment: number, failure: CacheError): void {
    const state = this.#states[segment];
    if (state === undefined) return;
    this.#free(state);
    if (state.entered > 0) state.failure = failure;
    const { waiters } = state;
    state.waiters = undefined;
    for (const waiter of waiters ?? []) waiter.reject(failure);
    this.#forgetIfUnused(segment, state);
  }

  /** Complete segments in the form that a block file takes. */
  filled(segments: readonly number[]): FilledSegment[] {
    return segments.map((index) => {
      const { bytes, crc } = this.#states[index]!.buffer!;
      return { index, bytes, crc };
    });
  }

  /** The complete segment was written (`kept`), or could not be. */
  settle(segment: number, kept: boolean): void {
    const state = this.#state(segment);
    if (kept || state.entered === 0) this.#free(state);
    else state.isUnkept = true;
    this.#wake(segment, state);
  }

  /** Frees unkept segments that no reader is at. Readers that still come for them request them again. */
  dropUnkept(): void {
    for (const [segment, state] of this.#states.entries()) {
      if (state?.isUnkept !== true || state.arrived > 0) continue;
      this.#free(state);
      this.#forgetIfUnused(segment, state);
    }
  }

  #state(segment: number): SegmentState {
    const known = this.#states[segment];
    if (known !== undefined) return known;
    const state: SegmentState = {
      buffer: undefined,
      entered: 0,
      arrived: 0,
      waiters: undefined,
      isUnkept: false,
      failure: undefined,
    };
    this.#states[segment] = state;
    return state;
  }

  #wake(segment: number, state: SegmentState): void {
    const { waiters } = state;
    state.waiters = undefined;
    if (waiters !== undefined) for (const waiter of waiters) waiter.resolve();
    this.#forgetIfUnused(segment, state);
  }

  /** The memory itself is freed when its last slice is released. */
  #free(state: SegmentState): void {
    state.isUnkept = false;
    if (state.buffer === undefined) return;
    this.#buffers--;
    const { buffer } = state;
    state.buffer = undefined;
    buffer.release();
  }

  #forgetIfUnused(segment: number, state: SegmentState): void {
    if (state.entered > 0 || state.buffer !== undefined || (state.waiters?.size ?? 0) > 0) return;
    if (this.#states[segment] === state) this.#states[segment] = undefined;
  }
}
