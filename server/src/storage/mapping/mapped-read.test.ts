import { describe, expect, it } from "vitest";
import { systemClock } from "../../runtime/clock.js";
import { areTestBytes, testBytes, testGeometry } from "../../testing/store-fixture.js";
import type { CachedBlock } from "../cached-block.js";
import type { DiskFile } from "../disk/disk.js";
import { OpenFile } from "../open-file.js";
import { References } from "../references.js";
import { SegmentTable } from "../segment-table.js";
import { mappedRead } from "./mapped-read.js";
import type { Mapper, Mapping } from "./mapping.js";

const { blockBytes: BLOCK, segmentBytes: SEGMENT } = testGeometry;

interface Stage {
  readonly open: OpenFile;
  readonly segments: SegmentTable;
  readonly references: References;
  /** Ranges that were asked to be entered into the page table. */
  readonly populated: [number, number][];
  readonly finishPopulating: () => void;
  /** Copies that are lent. */
  readonly copies: () => number;
}

/**
 * A mapping whose first `residentBytes` are in memory, of a block whose segments below `checked` are checked, all present.
 * `hasRoom`: whether more of mappings may come into the process's memory.
 */
function stage(residentBytes: number, checked = 8, hasRoom = true): Stage {
  const populated: [number, number][] = [];
  const waiting: (() => void)[] = [];
  let copies = 0;
  const mapping: Mapping = {
    bytes: testBytes(0, BLOCK),
    isResident: (_start, end) => end <= residentBytes,
    reaches: () => true,
    populate: (start, end) => {
      populated.push([start, end]);
      return new Promise((resolve) => waiting.push(resolve));
    },
    letGo: () => undefined,
    unmap: () => undefined,
  };
  const references = new References();
  const segments = new SegmentTable(BLOCK, testGeometry);
  for (let segment = 0; segment < 8; segment++) segments.add(segment, 0, segment < checked);
  const memory = { hasRoom, grow: () => undefined, count: () => undefined };
  const mapper: Mapper = {
    map: () => mapping,
    copy: (_file, start, end) => {
      if (end > residentBytes) return undefined;
      copies++;
      return { bytes: testBytes(start, end - start), giveBack: () => copies-- };
    },
  };
  const open = new OpenFile({ segments } as CachedBlock, {} as DiskFile, {
    mapper,
    clock: systemClock,
    references,
    memory,
    onIdle: () => undefined,
  });
  const finishPopulating = (): void => {
    for (const finish of waiting.splice(0)) finish();
  };
  return { open, segments, references, populated, finishPopulating, copies: () => copies };
}

const cannotReadAgain = async (): Promise<undefined> => undefined;

function lengthRead({ open, segments }: Stage, start: number, end: number): number | undefined {
  const slice = mappedRead(open, segments, start, end, cannotReadAgain);
  expect(slice === undefined || areTestBytes(slice.bytes, start, slice.bytes.length)).toBe(true);
  slice?.release();
  return slice?.bytes.length;
}

describe("a read of a mapping", () => {
  it("covers the requested, verified and resident bytes, or one segment if not all are resident", () => {
    expect(lengthRead(stage(BLOCK), 10, BLOCK)).toBe(BLOCK - 10);
    expect(lengthRead(stage(BLOCK), 10, 20)).toBe(10);
    expect(lengthRead(stage(BLOCK, 3), 10, BLOCK)).toBe(3 * SEGMENT - 10);
    expect(lengthRead(stage(BLOCK, 3), 3 * SEGMENT, BLOCK)).toBeUndefined();
    expect(lengthRead(stage(5 * SEGMENT), SEGMENT + 10, BLOCK)).toBe(SEGMENT - 10);
    expect(lengthRead(stage(10), 0, BLOCK)).toBeUndefined();
  });

  it("touches no bytes that are being read from the disk, although they count as resident", () => {
    const staged = stage(BLOCK);
    const arrived = staged.open.arrive(2 * SEGMENT, 3 * SEGMENT);
    expect(lengthRead(staged, 2 * SEGMENT + 5, BLOCK)).toBeUndefined();
    expect(lengthRead(staged, SEGMENT, BLOCK)).toBe(SEGMENT);
    expect(lengthRead(staged, 3 * SEGMENT, BLOCK)).toBe(5 * SEGMENT);
    arrived();
    expect(lengthRead(staged, 2 * SEGMENT, BLOCK)).toBe(6 * SEGMENT);
  });

  it("prefaults verified and resident bytes once, from the second read on, and keeps the file open meanwhile", async () => {
    const staged = stage(BLOCK, 6);
    lengthRead(staged, 0, 10);
    expect(staged.populated).toEqual([]);
    lengthRead(staged, 0, 10);
    lengthRead(staged, 0, 10);
    expect(staged.populated).toEqual([[0, 6 * SEGMENT]]);
    expect([staged.open.users, staged.references.open]).toEqual([1, 0]);
    staged.finishPopulating();
    await new Promise(setImmediate);
    expect(staged.open.users).toBe(0);
  });

  it("is a copy if it is small and would displace other pages, and is given back once", () => {
    const staged = stage(BLOCK, 6, false);
    const slice = mappedRead(staged.open, staged.segments, 10, 20, cannotReadAgain)!;
    expect([areTestBytes(slice.bytes, 10, 10), staged.copies(), staged.open.users, staged.references.open]).toEqual([
      true,
      1,
      0,
      1,
    ]);
    slice.release();
    slice.release();
    expect([staged.copies(), staged.references.open, staged.open.touchedBytes]).toEqual([0, 0, 0]);
    // Neither what is not known to be true, nor what is large, nor what is in the memory anyway.
    expect(lengthRead(staged, 6 * SEGMENT, 6 * SEGMENT + 10)).toBeUndefined();
    for (let read = 0; read < 2; read++) expect(lengthRead(staged, 0, BLOCK)).toBe(6 * SEGMENT);
    const entered = mappedRead(staged.open, staged.segments, 10, 20, cannotReadAgain)!;
    expect(staged.copies()).toBe(0);
    entered.release();
  });

  it("uses the mapping if no copy is available", () => {
    const staged = stage(15, 8, false);
    expect(lengthRead(staged, 10, 20)).toBeUndefined();
    expect(lengthRead(staged, 10, 15)).toBe(5);
  });
});
