import { type ObjectInfo, parseObjectUrl } from "@frontcache/proto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemError } from "../../storage/disk/disk.js";
import { MemoryObjects } from "../../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../../testing/origin/memory-origin.js";
import { openStore, type StoreFixture, testGeometry } from "../../testing/store-fixture.js";
import type { Observation } from "../object-records.js";
import { Fill } from "./fill.js";
import { FillMemory } from "./fill-memory.js";
import { RecentBudgets } from "./recent-budgets.js";

const { blockBytes: BLOCK, segmentBytes: SEGMENT } = testGeometry;
const ref = parseObjectUrl("s3://bucket/key");
const never = new AbortController().signal;

describe("a fill", () => {
  let stored: StoreFixture;
  let objects: MemoryObjects;
  let origin: MemoryOrigin;
  let memory: FillMemory;
  let observations: Observation[];
  let rejected: string[];
  let observed: ObjectInfo | undefined;
  let whenIdle: Promise<void>;

  beforeEach(async () => {
    stored = await openStore();
    objects = new MemoryObjects();
    origin = new MemoryOrigin(objects, stored.clock, 1_000);
    memory = new FillMemory({ budgetBytes: BLOCK, segmentBytes: SEGMENT });
    observations = [];
    rejected = [];
    observed = undefined;
  });

  afterEach(async () => {
    expect([memory.usedBytes, origin.open, stored.store.status().volumes[0]?.reservedBytes]).toEqual([0, 0, 0]);
    await stored.store.close();
  });

  function open(version: string | undefined): Fill {
    const records = {
      infoOf: () => observed,
      observe: (_url: string, observation: Observation) => void observations.push(observation),
      reject: (_url: string, name: string) => void rejected.push(name),
    };
    const { store, clock } = stored;
    const sizes = { partBytes: 2 * SEGMENT, parallelism: 2 };
    const budgets = new RecentBudgets(clock);
    const context = { geometry: testGeometry, origin, store, records, memory, budgets, clock, ...sizes, signal: never };
    let fill!: Fill;
    whenIdle = new Promise((idle) => {
      fill = new Fill(context, { ref, blockOffset: 0, version }, { described() {}, idle });
    });
    return fill;
  }

  it("caches the requested segments of the version that the first answer named, and frees their memory", async () => {
    const version = objects.putRamp(ref.url, BLOCK, 7);
    open(undefined).request([1, 2], "demand");
    await whenIdle;
    expect(stored.store.cachedBytes(ref.url, version)).toBe(2 * SEGMENT);
  });

  it("begins with the memory of one segment if the object's size is unknown, and fetches the rest when there is more", async () => {
    const version = objects.putRamp(ref.url, BLOCK, 7);
    const taken = memory.take(memory.maxSegments - 1, "demand")!;
    open(undefined).request([0, 1], "demand");
    await whenIdle;
    expect(stored.store.cachedBytes(ref.url, version)).toBe(2 * SEGMENT);
    expect(origin.calls.map(({ offset, length }) => [offset, length])).toEqual([
      [0, 2 * SEGMENT],
      [SEGMENT, SEGMENT],
    ]);
    for (const buffer of taken) memory.give(buffer);
  });

  it("needs the memory of one segment for an object of one segment", async () => {
    const version = objects.putRamp(ref.url, 1, 7);
    const taken = memory.take(memory.maxSegments - 1, "demand")!;
    open(undefined).request([0, 1], "demand");
    await whenIdle;
    expect([stored.store.cachedBytes(ref.url, version), origin.calls.length]).toEqual([1, 1]);
    for (const buffer of taken) memory.give(buffer);
  });

  it("describes the block by the headers that were observed during the write", async () => {
    const version = objects.putRamp(ref.url, BLOCK, 7);
    const { store } = stored;
    const write = store.write.bind(store);
    store.write = (...given) => {
      observed = { version, objectSize: BLOCK, headers: "x-amz-meta-new: 1\r\n" };
      return write(...given);
    };
    open(undefined).request([0], "demand");
    await whenIdle;
    expect(store.newest(ref.url)?.info).toEqual(observed);
  });

  it("dates what an answer says is current by when its request was sent", async () => {
    const version = objects.putRamp(ref.url, BLOCK, 7);
    const hold = origin.faults.hold();
    const askedAtMs = stored.clock.monotonicMs();
    open(undefined).request([0], "demand");
    await hold.reached(1);
    stored.clock.advance(5_000);
    hold.release();
    await whenIdle;
    expect(observations).toMatchObject([{ info: { version }, askedAtMs }]);
  });

  it("reports that the origin rejected its version, whichever of its parts finds out", async () => {
    objects.putRamp(ref.url, BLOCK, 7);
    const fill = open("replaced");
    fill.segments.enter([0]);
    fill.request([0], "demand");
    await expect(fill.description.promise).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    fill.leave(0, false);
    await whenIdle;
    expect([rejected, observations]).toEqual([["replaced"], []]);
  });

  it("reports that the object does not exist, dated by when the request was sent", async () => {
    const askedAtMs = stored.clock.monotonicMs();
    const fill = open(undefined);
    fill.request([0], "demand");
    await expect(fill.description.promise).rejects.toMatchObject({ code: "NOT_FOUND" });
    await whenIdle;
    expect(observations).toMatchObject([{ info: undefined, askedAtMs }]);
  });

  it("writes nothing after it was discarded, and still serves its readers", async () => {
    const version = objects.putRamp(ref.url, BLOCK, 7);
    const hold = origin.faults.hold();
    const fill = open(version);
    fill.segments.enter([0]);
    fill.request([0], "demand");
    await hold.reached(1);
    fill.discard();
    hold.release();
    while (!fill.segments.isUnkept(0)) await fill.segments.progress(0, never);
    expect(fill.segments.buffer(0)?.complete).toBe(true);
    fill.leave(0, false);
    await whenIdle;
    expect(stored.store.cachedBytes(ref.url, version)).toBe(0);
  });

  it("keeps a segment that cannot be written in memory until the last reader that entered for it has left", async () => {
    const version = objects.putRamp(ref.url, BLOCK, 7);
    stored.disk.before = (operation) => {
      if (operation === "write") throw systemError("ENOSPC", "placed");
      return undefined;
    };
    const fill = open(version);
    fill.segments.enter([0]);
    fill.request([0, 1], "demand");
    while (!fill.segments.isUnkept(0)) await fill.segments.progress(0, never);
    expect([fill.has(0), memory.usedBytes]).toEqual([true, SEGMENT]);
    fill.leave(0, false);
    await whenIdle;
  });
});
