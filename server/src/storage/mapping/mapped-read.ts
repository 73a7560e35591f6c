import type { FileBytes, Slice } from "../../runtime/slice.js";
import type { MappedFile, OpenFile } from "../open-file.js";
import type { SegmentTable } from "../segment-table.js";
import { MAX_COPY_BYTES } from "./page-copies.js";

/** Reads bytes of an open file that are not in memory any more. */
export type ReadAgain = (start: number, end: number) => Promise<Slice | undefined>;

/**
 * Returns the longest possible slice of the mapping from `start` up to `end`; undefined if the first bytes are not mapped,
 * not verified, or not in memory. Synchronous and without a copy, except for small ranges that would
 * displace other pages from the process's memory.
 */
export function mappedRead(
  open: OpenFile,
  segments: SegmentTable,
  start: number,
  end: number,
  readAgain: ReadAgain,
): Slice | undefined {
  const checkedEnd = Math.min(end, segments.checkedEnd(start));
  if (checkedEnd <= start) return undefined;
  const { references } = open.shared;
  // A small block is not mapped: a copy of it costs less.
  if (segments.blockBytes > MAX_COPY_BYTES) open.map();
  if (end - start <= MAX_COPY_BYTES && !open.isCheap(start, end) && checkedEnd === end) {
    const copy = open.copy(start, end);
    if (copy !== undefined) return references.slice(copy.bytes, copy.giveBack);
  }
  const mapped = open.map();
  if (mapped === undefined) return undefined;
  const readEnd = residentEnd(open, mapped, segments, start, checkedEnd);
  if (readEnd === start) return undefined;
  // Pinned first, because touching may release pages, also of this block.
  open.pin();
  open.touch(start, readEnd, (from, to) => populate(open, mapped, segments, from, to));
  return new MappedSlice(open, mapped, start, readEnd, readAgain);
}

/** A slice of a mapping. It pins the open file. */
class MappedSlice implements Slice, FileBytes {
  readonly bytes: Buffer;
  readonly position: number;
  readonly #open: OpenFile;
  readonly #mapped: MappedFile;
  readonly #readAgain: ReadAgain;
  #isReleased = false;

  /** Takes over a pin of the open file. */
  constructor(open: OpenFile, mapped: MappedFile, start: number, end: number, readAgain: ReadAgain) {
    this.bytes = mapped.mapping.bytes.subarray(start, end);
    this.position = start;
    this.#open = open;
    this.#mapped = mapped;
    this.#readAgain = readAgain;
    open.shared.references.acquire();
  }

  get file(): FileBytes | undefined {
    return this.#open.file.fd === undefined ? undefined : this;
  }

  get descriptor(): number {
    return this.#open.file.fd!;
  }

  isInMemory(from: number, to: number): boolean {
    return isTouchable(this.#open, this.#mapped, this.position + from, this.position + to);
  }

  async readAgain(from: number): Promise<Slice | undefined> {
    // The slice may be released while the read waits.
    this.#open.pin();
    try {
      return await this.#readAgain(this.position + from, this.position + this.bytes.length);
    } finally {
      this.#open.unpin();
    }
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#open.shared.references.remove();
    this.#open.unpin();
  }
}

/** Returns the end of the resident bytes: of the whole range, of its first segment, or `start`. At most three checks of 1 us. */
function residentEnd(open: OpenFile, mapped: MappedFile, segments: SegmentTable, start: number, end: number): number {
  if (isTouchable(open, mapped, start, end)) return end;
  const { segmentBytes } = segments.geometry;
  const segmentEnd = Math.min(end, start - (start % segmentBytes) + segmentBytes);
  return segmentEnd < end && isTouchable(open, mapped, start, segmentEnd) ? segmentEnd : start;
}

/** Pages count as resident as soon as the kernel starts to read them, so running cold reads are checked separately. */
function isTouchable(open: OpenFile, { residency }: MappedFile, start: number, end: number): boolean {
  return !open.isArriving(start, end) && residency.isResident(start, end);
}

/** Prefaults the verified and resident runs of a region outside the main thread, so that later touches do not fault. */
function populate(open: OpenFile, mapped: MappedFile, segments: SegmentTable, start: number, end: number): void {
  const { segmentBytes } = segments.geometry;
  for (let next = start; next < end; ) {
    const at = next;
    const runEnd = Math.min(end, segments.checkedEnd(at));
    if (runEnd > at && isTouchable(open, mapped, at, runEnd)) {
      open.pin();
      void mapped.mapping.populate(at, runEnd).then(() => {
        // The pages may have been released meanwhile, and are in memory again.
        open.touch(at, runEnd, () => {});
        open.unpin();
      });
    }
    next = (Math.floor(runEnd / segmentBytes) + 1) * segmentBytes;
  }
}
