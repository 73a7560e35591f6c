import type { Slice } from "../../runtime/slice.js";
import type { OpenFile } from "../open-file.js";
import type { SegmentTable } from "../segment-table.js";
import { MAX_COPY_BYTES } from "./page-copies.js";

/**
 * Returns the longest possible slice of the mapping from `start` up to `end`; undefined if the first bytes are not mapped,
 * not verified, or not in memory. Synchronous and without a copy, except for small ranges that would
 * displace other pages from the process's memory.
 */
export function mappedRead(open: OpenFile, segments: SegmentTable, start: number, end: number): Slice | undefined {
  const { mapping } = open;
  if (mapping === undefined) return undefined;
  if (end - start <= MAX_COPY_BYTES && !open.isCheap(start, end) && segments.checkedEnd(start) >= end) {
    const copy = mapping.copy(start, end);
    if (copy !== undefined) return open.references.slice(copy.bytes, copy.giveBack);
  }
  const readEnd = residentEnd(open, segments, start, Math.min(end, segments.checkedEnd(start)));
  if (readEnd === start) return undefined;
  // Pinned first, because touching may release pages, also of this block.
  open.pin();
  open.touch(start, readEnd, (from, to) => populate(open, segments, from, to));
  return open.references.slice(mapping.bytes.subarray(start, readEnd), () => open.unpin());
}

/** Returns the end of the resident bytes: of the whole range, of its first segment, or `start`. At most three checks of 1 us. */
function residentEnd(open: OpenFile, segments: SegmentTable, start: number, end: number): number {
  if (end <= start) return start;
  if (isTouchable(open, start, end)) return end;
  const { segmentBytes } = segments.geometry;
  const segmentEnd = Math.min(end, start - (start % segmentBytes) + segmentBytes);
  return segmentEnd < end && isTouchable(open, start, segmentEnd) ? segmentEnd : start;
}

/** Pages count as resident as soon as the kernel starts to read them, so running cold reads are checked separately. */
function isTouchable(open: OpenFile, start: number, end: number): boolean {
  return !open.isArriving(start, end) && open.residency!.isResident(start, end);
}

/** Prefaults the verified and resident runs of a region outside the main thread, so that later touches do not fault. */
function populate(open: OpenFile, segments: SegmentTable, start: number, end: number): void {
  const { segmentBytes } = segments.geometry;
  for (let next = start; next < end; ) {
    const at = next;
    const runEnd = Math.min(end, segments.checkedEnd(at));
    if (runEnd > at && isTouchable(open, at, runEnd)) {
      open.pin();
      void open.mapping!.populate(at, runEnd).then(() => {
        // The pages may have been released meanwhile, and are in memory again.
        open.touch(at, runEnd, () => {});
        open.unpin();
      });
    }
    next = (Math.floor(runEnd / segmentBytes) + 1) * segmentBytes;
  }
}
