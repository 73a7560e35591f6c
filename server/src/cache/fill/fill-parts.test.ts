import { parseObjectUrl } from "@frontcache/proto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "../../testing/manual-clock.js";
import { MemoryObjects } from "../../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../../testing/origin/memory-origin.js";
import { rangeOf } from "../../testing/origin/requests.js";
import { testGeometry } from "../../testing/store-fixture.js";
import { FillDescription } from "./fill-description.js";
import { FillMemory } from "./fill-memory.js";
import { FillParts } from "./fill-parts.js";
import type { PartHost } from "./part.js";

const { blockBytes: BLOCK, segmentBytes: SEGMENT } = testGeometry;
const ref = parseObjectUrl("s3://bucket/key");

describe("the parts of a fill", () => {
  let objects: MemoryObjects;
  let origin: MemoryOrigin;
  let description: FillDescription;
  let parts: FillParts;
  let wanted: Set<number>;
  /** First segments of the parts that ended, with what they met, and of those that were not asked for. */
  let ended: [number, string | undefined][];
  let unplanned: number[];
  let whenRested: Promise<void>;

  beforeEach(() => {
    objects = new MemoryObjects();
    const clock = new ManualClock();
    origin = new MemoryOrigin(objects, clock, 1000);
    wanted = new Set();
    ended = [];
    unplanned = [];
    description = new FillDescription(
      testGeometry,
      { ref, blockOffset: 0, version: undefined },
      { described() {}, seen() {}, idle() {} },
    );
    const memory = new FillMemory({ budgetBytes: BLOCK, segmentBytes: SEGMENT });
    const host: PartHost = {
      memory,
      fetch: (first, count, signal) => origin.fetch(rangeOf(ref, { offset: first * SEGMENT, length: count * SEGMENT }, signal)),
      accept: (answer, askedAtMs) => description.accept(answer, askedAtMs),
      monotonicMs: () => clock.monotonicMs(),
      segmentLength: (segment) => description.segmentLength(segment),
      reserve: async () => undefined,
      progressed() {},
    };
    const { signal } = new AbortController();
    whenRested = new Promise((resolve) => {
      parts = new FillParts({
        context: { geometry: testGeometry, memory, partBytes: 2 * SEGMENT, parallelism: 2, signal },
        description,
        host,
        isWanted: (segment) => wanted.has(segment),
        ended: (part, failure) => {
          ended.push([part.first, failure?.code]);
          for (const buffer of part.segments.values()) buffer.release();
        },
        unplanned: ({ first }) => unplanned.push(first),
        ran: () => {
          if (parts.resting) resolve();
        },
      });
    });
  });

  afterEach(() => {
    expect([parts.resting, parts.segments, origin.open]).toEqual([true, 0, 0]);
  });

  const asked = (): number[] => origin.calls.map(({ offset }) => offset / SEGMENT);

  it("run so many at a time as the fill may, what readers wait for first", async () => {
    objects.putRamp(ref.url, BLOCK, 7);
    const hold = origin.faults.hold();
    parts.plan([0, 1, 2, 3], "background");
    parts.plan([4, 5, 6, 7], "demand");
    parts.promote([2]);
    parts.start();
    await hold.reached(2);
    expect([asked(), parts.segments]).toEqual([[4, 6], 8]);
    hold.release();
    await whenRested;
    expect(asked()).toEqual([4, 6, 2, 0]);
  });

  it("are not asked for behind the object's end, once that is known", async () => {
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

  it("tell with one voice why there is no answer: by the one nearest to the block's beginning", async () => {
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

  it("that nobody wants any more are given up in the queue, and run on once they were asked for", async () => {
    objects.putRamp(ref.url, BLOCK, 7);
    const hold = origin.faults.hold();
    parts.plan([0, 1, 2, 3, 4, 5], "demand");
    wanted.add(5);
    parts.start();
    await hold.reached(2);
    for (const segment of [0, 4]) parts.abandon(segment);
    expect([unplanned, parts.has(0), parts.has(4)]).toEqual([[], true, true]);
    wanted.delete(5);
    parts.abandon(5);
    expect([unplanned, parts.has(0), parts.has(4)]).toEqual([[4], true, false]);
    hold.release();
    await whenRested;
    expect(ended.map(([first]) => first).sort()).toEqual([0, 2]);
  });
});
