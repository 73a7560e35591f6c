import { CacheError, checkRange, outOfRange } from "@frontcache/proto";
import { checkIterable } from "./argument-types.js";
import type { RunningCall } from "./members/running-call.js";
import { concurrently } from "./read-range.js";

/** A range of an object: `[offset, length]` in bytes. A negative offset counts from the object's end. */
export type Range = readonly [offset: number, length: number];

/** The reads of one object within one call. */
export interface ObjectReads {
  readonly url: string;
  readonly call: RunningCall;
  /** What the cluster knows of this version, or of the current one if it is empty. */
  stat(version: string): Promise<{ readonly version: string; readonly objectSize: number }>;
  /** Exactly `length` bytes, at least 1, fewer if the object ends first. OUT_OF_RANGE if it ends before `offset`. */
  range(offset: number, length: number, version: string, call: RunningCall): Promise<Buffer>;
}

/** Ranges at most so far apart are read as one: a request costs as much as copying a few times this. */
const MOST_BETWEEN = 32 << 10;
/** Ranges are not joined beyond this, so that reads of them run concurrently. */
const MOST_JOINED = 8 << 20;
/** Reads of joined ranges at a time. */
const CONCURRENT = 8;

/** How often a read of the current version begins, if the object is overwritten each time between the question and the read. */
export const MOST_STARTS = 4;

/**
 * Calls `read` with the object's size and version. If no version was requested, and the object is overwritten between the two, looks
 * it up again.
 */
async function withStat<Result>(
  reads: ObjectReads,
  version: string,
  read: (size: number, version: string) => Promise<Result>,
): Promise<Result> {
  for (let starts = 1; ; starts++) {
    const stat = await reads.stat(version);
    try {
      return await read(stat.objectSize, version === "" ? stat.version : version);
    } catch (error) {
      const isOutdated = version === "" && CacheError.from(error).code === "FAILED_PRECONDITION";
      if (!isOutdated || starts === MOST_STARTS) throw error;
    }
  }
}

/** Reads the whole object. */
export function readObject(reads: ObjectReads, version: string): Promise<Buffer> {
  return withStat(reads, version, async (size, known) =>
    size === 0 ? Buffer.alloc(0) : reads.range(0, size, known, reads.call),
  );
}

/** Reads a range of the current version, which is looked up first. */
export function readCurrent(reads: ObjectReads, [offset, length]: Range): Promise<Buffer> {
  checkRange(reads.url, offset, length);
  return withStat(reads, "", async (size, known) => {
    const { end } = place(reads.url, [offset, length], size, 0);
    return offset === end ? Buffer.alloc(0) : reads.range(offset, end - offset, known, reads.call);
  });
}

/** Reads a range whose offset counts from the object's end. One that begins before the object begins with it. */
export function readSuffix(reads: ObjectReads, [offset, length]: Range, version: string): Promise<Buffer> {
  checkSuffix(reads.url, offset, length);
  return withStat(reads, version, async (size, known) => {
    const { offset: begin, end } = place(reads.url, [offset, length], size, 0);
    return begin === end ? Buffer.alloc(0) : reads.range(begin, end - begin, known, reads.call);
  });
}

/**
 * Reads several ranges of one version. Neighbouring ranges share a request. The results may be views of the same memory. OUT_OF_RANGE if
 * one of them begins past the object's end.
 */
export async function readRanges(reads: ObjectReads, ranges: readonly Range[], version: string): Promise<Buffer[]> {
  for (const range of ranges) {
    checkIterable("a range", range);
    const [offset, length] = range;
    if (offset < 0) checkSuffix(reads.url, offset, length);
    else checkRange(reads.url, offset, length);
  }
  if (ranges.length === 0) return [];
  return withStat(reads, version, async (size, known) => {
    const placed = ranges.map((range, at) => place(reads.url, range, size, at));
    const results = new Array<Buffer>(ranges.length);
    const rest = joined(placed).values();
    await concurrently(reads.call, async (running, readers) => {
      const readRest = async (): Promise<void> => {
        for (const { offset, end, members } of rest) {
          const bytes = await reads.range(offset, end - offset, known, running);
          for (const member of members) results[member.at] = bytes.subarray(member.offset - offset, member.end - offset);
        }
      };
      while (readers.length < CONCURRENT) readers.push(readRest());
    });
    for (const { at, offset, end } of placed) if (offset === end) results[at] = Buffer.alloc(0);
    return results;
  });
}

interface Placed {
  /** Its index among the requested ranges. */
  readonly at: number;
  readonly offset: number;
  readonly end: number;
}

interface Joined {
  readonly offset: number;
  readonly end: number;
  readonly members: readonly Placed[];
}

function place(url: string, [offset, length]: Range, size: number, at: number): Placed {
  if (offset >= size && length > 0) throw outOfRange(url, offset, size);
  const begin = offset < 0 ? Math.max(0, size + offset) : Math.min(offset, size);
  const end = Math.min(size, offset < 0 ? size + offset + length : offset + length);
  return { at, offset: begin, end: Math.max(begin, end) };
}

/** Joins ranges that overlap or are near each other. Empty ones are omitted. */
function joined(ranges: readonly Placed[]): Joined[] {
  const sorted = ranges.filter(({ offset, end }) => end > offset).sort((a, b) => a.offset - b.offset);
  const groups: { offset: number; end: number; members: Placed[] }[] = [];
  for (const range of sorted) {
    const last = groups.at(-1);
    const end = Math.max(last?.end ?? 0, range.end);
    const isNear = last !== undefined && range.offset - last.end <= MOST_BETWEEN && end - last.offset <= MOST_JOINED;
    const isInside = last !== undefined && range.end <= last.end;
    if (last !== undefined && (isNear || isInside)) {
      last.end = end;
      last.members.push(range);
    } else groups.push({ offset: range.offset, end: range.end, members: [range] });
  }
  return groups;
}

function checkSuffix(url: string, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset)) {
    throw new CacheError("INVALID_ARGUMENT", `${url}: offset ${offset} is not a whole number`);
  }
  checkRange(url, 0, length);
}
