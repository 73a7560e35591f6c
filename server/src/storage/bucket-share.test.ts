import { FOOTER_BYTES } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import {
  faultsAtRest,
  keep,
  openStore,
  readBlock,
  reopened,
  testBytes,
  testGeometry,
  testId,
  testInfo,
  testSegments,
} from "../testing/store-fixture.js";
import type { BlockStore, BucketShareSetting } from "./block-store.js";

const FILE = testGeometry.blockBytes + FOOTER_BYTES;
const info = testInfo();
const turn = (): Promise<void> => new Promise(setImmediate);

const id = (bucket: string, name: number) => testId(`cache://${bucket}/${name}`);

/** Writes whole blocks of a bucket. Returns which were cached. */
async function fill(store: BlockStore, bucket: string, count: number): Promise<boolean[]> {
  const kept: boolean[] = [];
  for (let name = 0; name < count; name++) {
    const block = id(bucket, name);
    kept.push(await keep(store, block, info, testSegments(block, info)));
  }
  return kept;
}

function cached(store: BlockStore, bucket: string, count: number): number[] {
  return Array.from({ length: count }, (_, name) => name).filter((name) => store.contains(id(bucket, name), 8));
}

function share(bucket: string, files: number, isPinned = false): BucketShareSetting {
  return { url: `cache://${bucket}`, size: { bytes: files * FILE }, isPinned };
}

const volumes = [{ path: "/cache", limitBytes: 20 * FILE }];

describe("a bucket with a share", () => {
  it("evicts its own least recently used blocks beyond the share, and no others", async () => {
    const fixture = await openStore({ volumes, buckets: [share("small", 4)] });
    const { store } = fixture;
    await fill(store, "other", 5);
    await fill(store, "small", 3);
    expect(await readBlock(store, id("small", 0), 0, 100)).toEqual(testBytes(0, 100));
    await fill(store, "small", 6);
    expect([cached(store, "small", 6).length, cached(store, "other", 5)]).toEqual([4, [0, 1, 2, 3, 4]]);
    expect(cached(store, "small", 6)).toContain(5);
    expect(store.bucketOf("cache://small/0")).toEqual({
      url: "cache://small",
      usedBytes: 4 * FILE,
      limitBytes: 4 * FILE,
      isPinned: false,
    });
    expect(await faultsAtRest(fixture)).toEqual([]);
    await store.close();
  });

  it("is a fraction of all volumes together", async () => {
    const fraction = { url: "cache://part", size: { fraction: 0.25 }, isPinned: false };
    const { store } = await openStore({
      volumes: [
        { path: "/cache", limitBytes: 10 * FILE },
        { path: "/second", limitBytes: 6 * FILE },
      ],
      buckets: [fraction],
    });
    await fill(store, "part", 9);
    expect([store.bucketOf("cache://part/0")?.limitBytes, cached(store, "part", 9).length]).toEqual([4 * FILE, 4]);
    await store.close();
  });

  it("is evicted for other objects when the volume is full", async () => {
    const { store } = await openStore({ volumes, buckets: [share("small", 4)] });
    await fill(store, "small", 4);
    await fill(store, "other", 30);
    expect(cached(store, "small", 4)).toEqual([]);
    expect(store.bucketOf("cache://small/0")?.usedBytes).toBe(0);
    await store.close();
  });

  it("refuses a block that is larger than the share", async () => {
    const { store } = await openStore({ volumes, buckets: [{ ...share("small", 1), size: { bytes: FILE - 1 } }] });
    expect(await fill(store, "small", 1)).toEqual([false]);
    await store.close();
  });

  it("does not count blocks twice that are removed, written again or found at the start", async () => {
    const first = await openStore({ volumes, buckets: [share("small", 4)] });
    await fill(first.store, "small", 3);
    await first.store.evict({ url: "cache://small/0" });
    await first.store.drop(id("small", 1), 2);
    const { segmentBytes } = testGeometry;
    const usedBytes = 2 * FILE - segmentBytes;
    expect(first.store.bucketOf("cache://small/1")?.usedBytes).toBe(usedBytes);
    const second = await reopened(first, { volumes, buckets: [share("small", 4)] });
    expect(second.store.bucketOf("cache://small/1")?.usedBytes).toBe(usedBytes);
    expect(second.store.status().volumes[0]).toMatchObject({ usedBytes, blocks: 2 });
    await second.store.close();
  });

  it("shrinks at the start if the share has become smaller, pinned or not", async () => {
    for (const isPinned of [false, true]) {
      const first = await openStore({ volumes, buckets: [share("small", 8)] });
      await fill(first.store, "small", 8);
      const again = await reopened(first, { volumes, buckets: [share("small", 4, isPinned)] });
      await again.store.settled();
      again.clock.advance(10_000);
      await turn();
      await again.store.settled();
      expect(again.store.bucketOf("cache://small/0")!.usedBytes).toBeLessThanOrEqual(4 * FILE);
      await again.store.close();
    }
  });
});

describe("a pinned bucket", () => {
  it("keeps its blocks when others fill the volume", async () => {
    const fixture = await openStore({ volumes, buckets: [share("fixed", 6, true)] });
    const { store, clock } = fixture;
    await fill(store, "fixed", 6);
    expect((await fill(store, "other", 50)).every((isKept) => isKept)).toBe(true);
    clock.advance(10_000);
    await turn();
    expect(cached(store, "fixed", 6)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await faultsAtRest(fixture)).toEqual([]);
    await store.close();
  });

  it("takes no block beyond its share, and evicts none for it, until blocks are removed", async () => {
    const { store } = await openStore({ volumes, buckets: [share("fixed", 3, true)] });
    expect(await fill(store, "fixed", 5)).toEqual([true, true, true, false, false]);
    expect(cached(store, "fixed", 5)).toEqual([0, 1, 2]);
    await store.evict({ url: "cache://fixed/1" });
    const freed = id("fixed", 4);
    expect(await keep(store, freed, info, testSegments(freed, info))).toBe(true);
    expect(cached(store, "fixed", 5)).toEqual([0, 2, 4]);
    await store.close();
  });

  it("leaves half of the entries in memory to blocks that can be evicted", async () => {
    const { store } = await openStore({ volumes, maxBlocks: 10, buckets: [share("fixed", 15, true)] });
    expect((await fill(store, "fixed", 8)).filter((isKept) => isKept)).toHaveLength(5);
    expect((await fill(store, "other", 8)).at(-1)).toBe(true);
    await store.close();
  });

  it("keeps its blocks at a start with more blocks than entries in memory", async () => {
    const buckets = [share("fixed", 6, true)];
    const first = await openStore({ volumes, buckets });
    await fill(first.store, "fixed", 4);
    first.clock.advance(1_000);
    await fill(first.store, "other", 10);
    const again = await reopened(first, { volumes, maxBlocks: 8, buckets });
    expect(cached(again.store, "fixed", 4)).toEqual([0, 1, 2, 3]);
    await again.store.close();
  });
});
