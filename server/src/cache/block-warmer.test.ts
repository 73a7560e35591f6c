import { setMaxListeners } from "node:events";
import { parseObjectUrl } from "@frontcache/proto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemError } from "../storage/disk/disk.js";
import { openCache, restOf } from "../testing/cache-fixture.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { openStore, type StoreFixture, testGeometry } from "../testing/store-fixture.js";
import type { WarmRequest } from "./block-warmer.js";
import type { LocalCache } from "./local-cache.js";

const { blockBytes: BLOCK, segmentBytes: SEGMENT } = testGeometry;
const TAIL = 2 * SEGMENT + 5;
const url = "s3://bucket/key";
const never = new AbortController().signal;
setMaxListeners(0, never);

let stored: StoreFixture;
let objects: MemoryObjects;
let origin: MemoryOrigin;
let cache: LocalCache;
let version: string;

beforeEach(async () => {
  stored = await openStore();
  objects = new MemoryObjects();
  origin = new MemoryOrigin(objects, stored.clock, 1000);
  version = objects.putRamp(url, BLOCK + TAIL, 7);
  cache = openCache(stored, origin, { fill: "wanted" });
});

afterEach(async () => {
  await cache.settled();
  expect(cache.status()).toEqual({ fills: 0, fillMemoryBytes: 0, waitingParts: 0 });
  expect([origin.open, origin.doubled, stored.store.status().references]).toEqual([0, [], 0]);
  await cache.close();
  await stored.store.close();
});

const warm = (options: Partial<WarmRequest> = {}) =>
  cache.warm({
    ref: parseObjectUrl(url),
    version: undefined,
    blockOffset: 0,
    objectSize: undefined,
    dryRun: false,
    signal: never,
    ...options,
  });

const fetchedBytes = (): number => origin.calls.reduce((sum, { length }) => sum + length, 0);

async function read(start: number, end: number): Promise<void> {
  const ref = parseObjectUrl(url);
  const opened = await cache.open({
    ref,
    version,
    blockOffset: 0,
    start,
    end,
    openEnded: false,
    cachedOnly: false,
    signal: never,
  });
  await restOf(opened);
}

describe("a block that is warmed", () => {
  it("is cached as a whole afterwards, and not fetched again", async () => {
    expect(await warm()).toEqual({ version, objectSize: BLOCK + TAIL, cachedBytes: 0, fetchedBytes: BLOCK });
    expect(cache.cachedBytes(url, version)).toBe(BLOCK);
    const fetched = origin.calls.length;
    expect(await warm()).toMatchObject({ cachedBytes: BLOCK, fetchedBytes: 0 });
    expect(origin.calls.length).toBe(fetched);
  });

  it("ends where the object ends, without a question where version and size are known", async () => {
    const known = { version, objectSize: BLOCK + TAIL };
    expect(await warm({ ...known, blockOffset: BLOCK })).toMatchObject({ fetchedBytes: TAIL });
    expect(origin.count("stat")).toBe(0);
  });

  it("costs what is missing, no more", async () => {
    await read(SEGMENT, 3 * SEGMENT);
    await cache.settled();
    origin.calls.length = 0;
    expect(await warm()).toMatchObject({ cachedBytes: 2 * SEGMENT, fetchedBytes: BLOCK - 2 * SEGMENT });
    expect(fetchedBytes()).toBe(BLOCK - 2 * SEGMENT);
  });

  it("is fetched once for concurrent reads and warmings of it", async () => {
    const hold = origin.faults.hold();
    const all = Promise.all([warm(), read(0, BLOCK), warm({ version }), read(SEGMENT, SEGMENT + 1)]);
    hold.release();
    await all;
    expect(fetchedBytes()).toBe(BLOCK);
  });

  it("is fetched once with a read that finds out which version is current", async () => {
    const hold = origin.faults.hold(({ kind }) => kind === "fetch");
    const ref = parseObjectUrl(url);
    const opened = cache.open({
      ref,
      version: undefined,
      blockOffset: 0,
      start: 0,
      end: SEGMENT,
      openEnded: false,
      cachedOnly: false,
      signal: never,
    });
    await hold.reached(1);
    const warmed = warm();
    await new Promise((resolve) => setImmediate(resolve));
    hold.release();
    (await opened).close();
    await warmed;
    expect(fetchedBytes()).toBe(BLOCK);
  });

  it("is only looked at by a dry run", async () => {
    expect(await warm({ dryRun: true })).toMatchObject({ cachedBytes: 0, fetchedBytes: BLOCK });
    expect([origin.count("fetch"), cache.cachedBytes(url, version)]).toEqual([0, 0]);
  });

  it("is of the current version, also where the object changed since it was seen", async () => {
    await warm({ blockOffset: BLOCK });
    const newer = objects.putRamp(url, BLOCK, 8);
    expect(await warm()).toMatchObject({ version: newer, fetchedBytes: BLOCK });
    await expect(warm({ version })).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });

  it("fails with what its fill met, and with OUT_OF_RANGE behind the object's end", async () => {
    await expect(warm({ ref: parseObjectUrl("s3://bucket/none") })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(warm({ blockOffset: 2 * BLOCK })).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
  });

  it("fails where it can't be kept", async () => {
    stored.disk.before = (operation) => {
      if (operation === "write") throw systemError("ENOSPC", "placed");
      return undefined;
    };
    await expect(warm()).rejects.toThrow(/could not be cached/);
    await cache.settled();
    stored.disk.before = undefined;
  });

  it("is of an object without bytes, too", async () => {
    objects.putRamp("s3://bucket/empty", 0, 1);
    expect(await warm({ ref: parseObjectUrl("s3://bucket/empty") })).toMatchObject({
      objectSize: 0,
      cachedBytes: 0,
      fetchedBytes: 0,
    });
  });

  it("is fetched completely although the caller stops waiting", async () => {
    const hold = origin.faults.hold();
    const leaving = new AbortController();
    const waiting = warm({ version, objectSize: BLOCK + TAIL, signal: leaving.signal });
    leaving.abort();
    await expect(waiting).rejects.toMatchObject({ code: "CANCELLED" });
    hold.release();
    await cache.settled();
    expect(cache.cachedBytes(url, version)).toBe(BLOCK);
  });
});
