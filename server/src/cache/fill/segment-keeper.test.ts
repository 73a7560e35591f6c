import { parseObjectUrl } from "@frontcache/proto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemError } from "../../storage/system-error.js";
import { openStore, type StoreFixture, testGeometry, testId, testInfo, testSegments } from "../../testing/store-fixture.js";
import { FillDescription } from "./fill-description.js";
import { SegmentKeeper } from "./segment-keeper.js";

const url = "s3://bucket/key";
const info = testInfo();
const segments = testSegments(testId(url), info, [1, 2]);
const bytes = 2 * testGeometry.segmentBytes;

describe("keeping what a fill brings", () => {
  let stored: StoreFixture;
  let keeper: SegmentKeeper;

  beforeEach(async () => {
    stored = await openStore();
    const target = { ref: parseObjectUrl(url), blockOffset: 0, version: info.version };
    const description = new FillDescription(testGeometry, target, { described() {}, seen() {}, idle() {} });
    description.accept({ info }, stored.clock.monotonicMs());
    keeper = new SegmentKeeper({ store: stored.store, clock: stored.clock }, description);
  });

  afterEach(async () => {
    expect(keeper.writing).toBe(false);
    expect(stored.store.status().volumes[0]?.reservedBytes).toBe(0);
    await stored.store.close();
  });

  it("has the segments held, of the block that the first answer described", async () => {
    const kept = keeper.keep(segments, keeper.reserve(bytes));
    expect(keeper.writing).toBe(true);
    expect(await kept).toBe(true);
    expect(stored.store.cachedBytes(url, info.version)).toBe(bytes);
  });

  it("gives back the room of segments that did not come", async () => {
    expect(await keeper.keep([], keeper.reserve(bytes))).toBe(false);
  });

  it("writes nothing of a block that was evicted meanwhile, and gives its room back", async () => {
    keeper.discard();
    expect(await keeper.keep(segments, keeper.reserve(bytes))).toBe(false);
    expect(stored.store.cachedBytes(url, info.version)).toBe(0);
  });

  it("says where they could not be written, or have no room", async () => {
    stored.disk.before = (operation) => {
      if (operation === "write") throw systemError("ENOSPC", "placed");
      return undefined;
    };
    expect(await keeper.keep(segments, keeper.reserve(bytes))).toBe(false);
    expect(await keeper.keep(segments, Promise.resolve(undefined))).toBe(false);
  });
});
