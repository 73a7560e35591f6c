import { type BlockId, parseObjectUrl } from "@frontcache/proto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { wrap } from "../origin/origin.js";
import { systemError } from "../storage/disk/disk.js";
import { openCache, restOf } from "../testing/cache-fixture.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { rampBytes } from "../testing/origin/ramp.js";
import { openStore, type StoreFixture, testGeometry } from "../testing/store-fixture.js";
import type { BlockRequest } from "./block-request.js";
import type { LocalCache } from "./local-cache.js";
import type { ObjectRead } from "./object-read.js";

const { blockBytes: BLOCK, segmentBytes: SEGMENT } = testGeometry;
const url = "s3://bucket/key";
const never = new AbortController().signal;

describe("a member's cache", () => {
  let stored: StoreFixture;
  let objects: MemoryObjects;
  let origin: MemoryOrigin;
  let cache: LocalCache;
  let version: string;

  function request(start: number, end: number, options: Partial<BlockRequest> = {}): BlockRequest {
    const ref = parseObjectUrl(url);
    return { ref, version, blockOffset: 0, start, end, openEnded: false, cachedOnly: false, signal: never, ...options };
  }

  const read = async (start: number, end: number, options: Partial<BlockRequest> = {}): Promise<Buffer> =>
    restOf(await cache.open(request(start, end, options)));
  const asked = (): [number, number][] => origin.calls.map(({ offset, length }) => [offset / SEGMENT, length / SEGMENT]);

  beforeEach(async () => {
    stored = await openStore();
    objects = new MemoryObjects();
    origin = new MemoryOrigin(objects, stored.clock, 1000);
    version = objects.putRamp(url, BLOCK, 7);
    cache = openCache(stored, origin, { fill: "auto" });
  });

  afterEach(async () => {
    await cache.settled();
    expect(cache.status()).toEqual({ fills: 0, fillMemoryBytes: 0, waitingParts: 0 });
    expect([origin.open, origin.doubled, stored.store.status().references]).toEqual([0, [], 0]);
    await cache.close();
    await stored.store.close();
  });

  it("answers cached bytes immediately, without a promise", async () => {
    await read(0, BLOCK);
    await cache.settled();
    const opened = cache.open(request(5, 10));
    expect(opened).not.toBeInstanceOf(Promise);
    expect(await restOf(opened as ObjectRead)).toEqual(rampBytes(5, 5, 7));
  });

  it("fetches only the requested segments, and the rest after them once a second read misses elsewhere", async () => {
    await read(SEGMENT, SEGMENT + 1);
    await cache.settled();
    expect(asked()).toEqual([[1, 1]]);
    await read(5 * SEGMENT, 5 * SEGMENT + 1);
    await cache.settled();
    expect(asked().slice(1)).toEqual([
      [5, 1],
      [0, 1],
      [2, 3],
      [6, 2],
    ]);
  });

  it("gives bytes while the rest is still on its way", async () => {
    const hold = origin.faults.hold(({ offset }) => offset > 0);
    const opened = await cache.open(request(0, BLOCK));
    const slice = await opened.next();
    expect(slice?.bytes.length).toBeGreaterThan(0);
    slice?.release();
    hold.release();
    await restOf(opened);
  });

  it("fetches once for concurrent reads of the same bytes, and completes a fill that all readers have left", async () => {
    const hold = origin.faults.hold();
    const leaving = Array.from({ length: 3 }, () => new AbortController());
    const reads = leaving.map(({ signal }) => read(0, SEGMENT, { signal }).catch((error) => error.code));
    await hold.reached(1);
    for (const reader of leaving) reader.abort();
    expect(await Promise.all(reads)).toEqual(["CANCELLED", "CANCELLED", "CANCELLED"]);
    hold.release();
    await cache.settled();
    expect(await read(0, SEGMENT)).toEqual(rampBytes(0, SEGMENT, 7));
    expect(origin.count("fetch")).toBe(1);
  });

  it.each([
    ["before", [{}, { version: undefined }]],
    ["after", [{ version: undefined }, {}]],
  ])("fetches once for a read of the version that begins %s one of the current version", async (_, versions) => {
    const reads = await Promise.all(versions.map((of) => read(0, SEGMENT, of)));
    expect(reads).toEqual([rampBytes(0, SEGMENT, 7), rampBytes(0, SEGMENT, 7)]);
    expect(origin.count("fetch")).toBe(1);
  });

  it("never asks for what everybody has left before its turn came", async () => {
    const hold = origin.faults.hold();
    const leaving = new AbortController();
    const both = [
      read(0, BLOCK),
      read(0, BLOCK, { blockOffset: BLOCK, version: undefined, signal: leaving.signal }).catch(() => {}),
    ];
    await hold.reached(4);
    leaving.abort();
    hold.release();
    await Promise.all(both);
    expect(asked().every(([first]) => first < BLOCK / SEGMENT)).toBe(true);
  });

  it("fails all readers of a fill with its error, and tries again for the next one", async () => {
    origin.faults.place({ when: ({ kind }) => kind === "fetch", error: "UNAVAILABLE", times: 1 });
    const reads = [read(0, 10), read(5, 20), read(0, 10)];
    const outcomes = await Promise.allSettled(reads);
    expect(outcomes.map((outcome) => outcome.status === "rejected" && outcome.reason.code)).toEqual(Array(3).fill("UNAVAILABLE"));
    expect(await read(0, 10)).toEqual(rampBytes(0, 10, 7));
  });

  it("remembers for a moment that there is no such object", async () => {
    objects.delete(url);
    await expect(read(0, 1, { version: undefined })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(async () => read(0, 1, { version: undefined })).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(origin.calls).toHaveLength(1);
    stored.clock.advance(101);
    objects.putRamp(url, 10, 3);
    expect(await read(0, 1, { version: undefined })).toEqual(rampBytes(0, 1, 3));
  });

  it("lets a range behind the object's end fail alone", async () => {
    const hold = origin.faults.hold();
    const behind = read(10, 20, { version: undefined, blockOffset: BLOCK }).catch((error) => error.code);
    await hold.reached(1);
    const inside = read(0, 10, { version: undefined });
    hold.release();
    expect(await behind).toBe("OUT_OF_RANGE");
    expect(await inside).toEqual(rampBytes(0, 10, 7));
  });

  it("trusts an observed version for --revalidate-after, then asks the origin without fetching cached bytes", async () => {
    await read(0, 10, { version: undefined });
    stored.clock.advance(799);
    await read(0, 10, { version: undefined });
    expect(origin.calls).toHaveLength(1);
    stored.clock.advance(201);
    await read(0, 10, { version: undefined });
    expect(origin.calls.map(({ kind }) => kind)).toEqual(["fetch", "stat"]);
  });

  it("answers with the new version after --revalidate-after, and with the old one to a read that names it", async () => {
    await read(0, BLOCK);
    objects.putRamp(url, BLOCK, 99);
    stored.clock.advance(1_000);
    expect(await read(0, BLOCK, { version: undefined })).toEqual(rampBytes(0, BLOCK, 99));
    expect(await read(0, BLOCK)).toEqual(rampBytes(0, BLOCK, 7));
  });

  it("serves cached bytes as stale while the origin is unreachable, and does not ask it for each read", async () => {
    await read(0, BLOCK, { version: undefined });
    await cache.settled();
    stored.clock.advance(1_000);
    origin.faults.place({ error: "UNAVAILABLE" });
    for (let i = 0; i < 3; i++) {
      const opened = await cache.open(request(0, 10, { version: undefined }));
      expect(opened.result).toBe("stale");
      await restOf(opened);
    }
    expect(origin.count("stat")).toBe(1);
  });

  it("starts again by itself when the object changed before the first byte", async () => {
    await read(0, 10, { version: undefined });
    objects.putRamp(url, BLOCK, 50);
    expect(await read(4 * SEGMENT, BLOCK, { version: undefined })).toEqual(rampBytes(4 * SEGMENT, BLOCK - 4 * SEGMENT, 50));
  });

  it("fetches a new version after all requests that were sent without a version are answered: one may bring the same bytes", async () => {
    const hold = origin.faults.hold((call) => call.offset === 2 * SEGMENT && call.version === undefined);
    const opened = await cache.open(request(0, 4 * SEGMENT, { version: undefined }));
    version = objects.putRamp(url, BLOCK, 50);
    const newer = read(2 * SEGMENT, 4 * SEGMENT);
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked().filter(([segment]) => segment === 2)).toHaveLength(1);
    hold.release();
    expect(await newer).toEqual(rampBytes(2 * SEGMENT, 2 * SEGMENT, 50));
    await expect(restOf(opened)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    opened.close();
  });

  it("fails with FAILED_PRECONDITION a read of a version that was replaced, and keeps what is cached", async () => {
    await read(0, 10);
    objects.putRamp(url, BLOCK, 50);
    await expect(read(4 * SEGMENT, BLOCK)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    expect(await read(0, SEGMENT)).toEqual(rampBytes(0, SEGMENT, 7));
  });

  it("does not take another member's word for what is current", async () => {
    const members = wrap(origin, { fetch: async (request) => ({ ...(await origin.fetch(request)), isFromMember: true }) });
    const other = openCache(stored, members, { fill: "auto" });
    await restOf(await other.open(request(0, BLOCK)));
    await other.settled();
    objects.putRamp(url, BLOCK, 99);
    expect(await restOf(await other.open(request(0, 10, { version: undefined })))).toEqual(rampBytes(0, 10, 99));
    await other.settled();
    await other.close();
  });

  it("serves reads from memory where nothing can be kept, in order and against it", async () => {
    stored.disk.before = () => {
      throw systemError("EROFS", "the disk");
    };
    expect(await read(0, BLOCK)).toEqual(rampBytes(0, BLOCK, 7));
    const readers = [read(4 * SEGMENT, BLOCK), read(0, BLOCK), read(SEGMENT, 3 * SEGMENT)];
    const [late, whole, middle] = await Promise.all(readers);
    expect(late).toEqual(rampBytes(4 * SEGMENT, 4 * SEGMENT, 7));
    expect(whole).toEqual(rampBytes(0, BLOCK, 7));
    expect(middle).toEqual(rampBytes(SEGMENT, 2 * SEGMENT, 7));
    stored.disk.before = undefined;
  });

  it("answers a cached-only read with the version observed last, at any time, and does not ask the origin", async () => {
    await read(0, BLOCK, { version: undefined });
    await cache.settled();
    origin.calls.length = 0;
    stored.clock.advance(2_000);
    expect(await read(0, BLOCK, { version: undefined, cachedOnly: true })).toEqual(rampBytes(0, BLOCK, 7));
    expect(origin.calls).toEqual([]);
  });

  it("fails a cached-only read of damaged bytes with NOT_FOUND, and does not ask the origin", async () => {
    await read(0, BLOCK);
    await cache.settled();
    const { disk } = stored;
    await stored.store.close();
    stored = await openStore({ disk });
    cache = openCache(stored, origin, { fill: "auto" });
    origin.calls.length = 0;
    disk.file(disk.paths()[0]!).flipBit(3 * SEGMENT + 5, 3);
    const cached = await cache.open(request(2 * SEGMENT, 4 * SEGMENT, { cachedOnly: true }));
    await expect(restOf(cached)).rejects.toMatchObject({ code: "NOT_FOUND" });
    cached.close();
    expect(origin.calls).toEqual([]);
  });

  it("fails a cached-only read of missing bytes with NOT_FOUND, and does not ask the origin", async () => {
    await expect(read(0, 10, { cachedOnly: true })).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(origin.calls).toEqual([]);
  });

  it("pins the block of a miss once, whether some of it is cached or nothing", async () => {
    const { store } = stored;
    let pins = 0;
    const counting = new Proxy(store, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target) as unknown;
        if (typeof value !== "function") return value;
        if (name !== "pin") return value.bind(target);
        return (id: BlockId) => {
          const pin = target.pin(id);
          if (pin !== undefined) pins++;
          return pin;
        };
      },
    });
    const other = openCache({ ...stored, store: counting }, origin, { fill: "wanted" });
    await restOf(await other.open(request(0, SEGMENT)));
    await other.settled();
    pins = 0;
    await restOf(await other.open(request(0, 3 * SEGMENT)));
    expect(pins).toBe(1);
    await other.settled();
    await other.close();
  });

  it("asks the origin again after a member reported that the version was rejected, and never serves it as stale", async () => {
    await restOf(await cache.open(request(0, BLOCK)));
    await cache.settled();
    cache.records.reject(url, version);
    origin.faults.place({ error: "UNAVAILABLE" });
    await expect(Promise.resolve(cache.open(request(0, BLOCK, { version: undefined })))).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
  });
});
