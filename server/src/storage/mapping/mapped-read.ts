import type { Slice } from "../../runtime/slice.js";
import type { OpenFile } from "../open-file.js";
import type { SegmentTable } from "../segment-table.js";
import { MAX_COPY_BYTES } from "./page-copies.js";

/**
 * A slice of the mapping from `start`, as long as it can be up to `end`; undefined where the first bytes are not mapped,
 * not checked against their CRC yet, or not in memory. Synchronous and without a copy, except of small ranges that others
 * would have to leave the process's memory for.
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
  // Pinned first: touching may let pages go, this block's too.
  open.pin();
  open.touch(start, readEnd, (from, to) => populate(open, segments, from, to));
  return open.references.slice(mapping.bytes.subarray(start, readEnd), () => open.unpin());
}

/** The whole range where it is resident, else its first segment's part, else `start`: three looks of a microsecond at most. */
function residentEnd(open: OpenFile, segments: SegmentTable, start: number, end: number): number {
  if (end <= start) return start;
  if (isTouchable(open, start, end)) return end;
  const { segmentBytes } = segments.geometry;
  const segmentEnd = Math.min(end, start - (start % segmentBytes) + segmentBytes);
  return segmentEnd < end && isTouchable(open, start, segmentEnd) ? segmentEnd : start;
}

/** Pages count as resident as soon as the kernel reads them, so a cold read under way is asked for on its own. */
function isTouchable(open: OpenFile, start: number, end: number): boolean {
  return !open.isArriving(start, end) && open.residency!.isResident(start, end);
}

/** Fills the page table for the checked and resident runs of a region, off the main thread, so that no later touch faults. */
function populate(open: OpenFile, segments: SegmentTable, start: number, end: number): void {
  const { segmentBytes } = segments.geometry;
  for (let next = start; next < end; ) {
    const at = next;
    const runEnd = Math.min(end, segments.checkedEnd(at));
    if (runEnd > at && isTouchable(open, at, runEnd)) {
      open.pin();
      void open.mapping!.populate(at, runEnd).then(() => {
        // The pages may have been let go meanwhile, and are in memory again now.
        open.touch(at, runEnd, () => {});
        open.unpin();
      });
    }
    next = (Math.floor(runEnd / segmentBytes) + 1) * segmentBytes;
  }
}
