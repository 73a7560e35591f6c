import { parseObjectUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MemoryObjects } from "../../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../../testing/origin/memory-origin.js";
import { testGeometry } from "../../testing/store-fixture.js";
import { FillDescription } from "./fill-description.js";
import { FillMemory } from "./fill-memory.js";
import { FillParts, planParts } from "./fill-parts.js";
import { FillSegments } from "./fill-segments.js";
import { RecentBudgets } from "./recent-budgets.js";

const { blockBytes: BLOCK, segmentBytes: SEGMENT } = testGeometry;
const ref = parseObjectUrl("s3://bucket/key");

describe("the parts of a fill", () => {
  let objects: MemoryObjects;
  let origin: MemoryOrigin;
  let description: FillDescription;
  let parts: FillParts;
  let segments: FillSegments;
  /** First segments of the parts that ran, with their failures, and of those that did not run. */
  let ended: [number, string | undefined][];
  let unplanned: number[];
  let whenRested: Promise<void>;

  beforeEach(() => {
    objects = new MemoryObjects();
    const clock = new ManualClock();
    origin = new MemoryOrigin(objects, clock, 1000);
    ended = [];
    unplanned = [];
    const { signal } = new AbortController();
    const memory = new FillMemory({ budgetBytes: BLOCK, segmentBytes: SEGMENT });
    const records = { infoOf: () => undefined, observe() {}, reject() {} };
    const store = { reserve: async () => undefined, write: async () => false, describe: () => {} };
    const sizes = { partBytes: 2 * SEGMENT, parallelism: 2 };
    const budgets = new RecentBudgets(clock);
    const context = { geometry: testGeometry, origin, store, records, memory, budgets, clock, ...sizes, signal };
    description = new FillDescription(context, { ref, blockOffset: 0, version: undefined }, () => {});
    segments = new FillSegments();
    whenRested = new Promise((resolve) => {
      parts = new FillParts({ context, description, segments }, (part, failure) => {
        if (!part.isAnswered && failure === undefined) unplanned.push(part.first);
        else ended.push([part.first, failure?.code]);
        for (let at = 0; at < part.count; at++) segments.drop(part.first + at);
        if (parts.isIdle) resolve();
      });
    });
  });

  afterEach(() => {
    expect([parts.isIdle, origin.open]).toEqual([true, 0]);
  });

  const asked = (): number[] => origin.calls.map(({ offset }) => offset / SEGMENT);

  it("run as many concurrently as the fill may, demand first", async () => {
    objects.putRamp(ref.url, BLOCK, 7);
    const hold = origin.faults.hold();
    parts.plan([0, 1, 2, 3], "background");
    parts.plan([4, 5, 6, 7], "demand");
    parts.promote([2]);
    parts.start();
    await hold.reached(2);
    expect(asked()).toEqual([4, 6]);
    expect([0, 1, 2, 3, 4, 5, 6, 7].every((segment) => parts.has(segment))).toBe(true);
    hold.release();
    await whenRested;
    expect(asked()).toEqual([4, 6, 2, 0]);
  });

  it("are not requested past the object's end, once that is known", async () => {
    objects.putRamp(ref.url, 3 * SEGMENT, 7);
    parts.plan([0, 1, 2, 3, 4, 5, 6, 7], "demand");
    const hold = origin.faults.hold(({ offset }) => offset > 0);
    parts.start();
    await hold.reached(1);
    hold.release();
    await whenRested;
    expect([asked(), unplanned]).toEqual([
      [0, 2],
      [4, 6],
    ]);
  });

  it("fail the description with one error if no part gets an answer: that of the part nearest to the block's start", async () => {
    parts.plan([0, 1, 4, 5, 6, 7], "demand");
    origin.faults.place({ when: ({ offset }) => offset > 0, error: "OUT_OF_RANGE" });
    parts.start();
    await expect(description.promise).rejects.toMatchObject({ code: "NOT_FOUND" });
    await whenRested;
    expect(ended).toEqual([
      [0, "NOT_FOUND"],
      [4, "OUT_OF_RANGE"],
      [6, "OUT_OF_RANGE"],
    ]);
  });

  it("that no reader needs any more leave the queue, and continue once their request was sent", async () => {
    objects.putRamp(ref.url, BLOCK, 7);
    const hold = origin.faults.hold();
    parts.plan([0, 1, 2, 3, 4, 5], "demand");
    segments.enter([5]);
    parts.start();
    await hold.reached(2);
    for (const segment of [0, 4]) parts.abandon(segment);
    expect([unplanned, parts.has(0), parts.has(4)]).toEqual([[], true, true]);
    segments.leave(5, false);
    parts.abandon(5);
    expect([unplanned, parts.has(0), parts.has(4)]).toEqual([[4], true, false]);
    hold.release();
    await whenRested;
    expect(ended.map(([first]) => first).sort()).toEqual([0, 2]);
  });
});

const options = { targetSegments: 4, maxSegments: 8 };
const sizes = (missing: number[]): number[] => planParts(missing, options).map((part) => part.count);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe("the plan of parts", () => {
  it("are four of four for a whole block of sixteen", () => {
    expect(planParts(upTo(16), options)).toEqual([0, 4, 8, 12].map((first) => ({ first, count: 4 })));
  });

  it("are as few as can be without falling below the target", () => {
    expect([sizes(upTo(1)), sizes(upTo(7)), sizes(upTo(8)), sizes(upTo(9))]).toEqual([[1], [7], [4, 4], [4, 5]]);
  });

  it("never bridge what is there already", () => {
    expect(planParts([0, 1, 3, 9], options)).toEqual([
      { first: 0, count: 2 },
      { first: 3, count: 1 },
      { first: 9, count: 1 },
    ]);
  });

  it("cover what is missing exactly once, in order, within the limits", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(63)),
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 16 }),
        (set, target, max) => {
          const missing = set.sort((a, b) => a - b);
          const parts = planParts(missing, { targetSegments: target, maxSegments: max });
          expect(parts.flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i))).toEqual(missing);
          for (const { count } of parts) expect(count).toBeLessThanOrEqual(Math.max(max, 1));
        },
      ),
    );
  });
});
