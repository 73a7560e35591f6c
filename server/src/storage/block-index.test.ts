import { blockDigest } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { MemoryDisk } from "../testing/memory-disk.js";
import { silentLog } from "../testing/silent-ports.js";
import { testGeometry, testId, testInfo } from "../testing/store-fixture.js";
import { BlockIndex } from "./block-index.js";
import { BucketShares } from "./bucket-share.js";
import { CachedBlock } from "./cached-block.js";
import type { EvictionPolicy } from "./eviction/eviction-policy.js";
import { evictionPolicy } from "./eviction/policies.js";
import { HeaderMemory } from "./header-memory.js";
import { storageTuning } from "./storage-tuning.js";
import { Volume } from "./volume.js";

const clock = new ManualClock();

function volume(): Volume {
  const disk = new MemoryDisk({ totalBytes: 1, nowMs: () => 0 });
  return new Volume({
    path: "/cache",
    limitBytes: undefined,
    disk,
    clock,
    log: silentLog,
    tuning: storageTuning,
    highWatermark: 0.95,
    keepFree: 0,
    maxBlocks: Number.POSITIVE_INFINITY,
    lowWatermark: 0.9,
  });
}

function newIndex(): BlockIndex {
  const newOrder = (): EvictionPolicy<CachedBlock> => evictionPolicy<CachedBlock>("lru");
  const noShares = new BucketShares({ buckets: [], maxBlocks: Number.POSITIVE_INFINITY }, [], newOrder);
  return new BlockIndex(newOrder, new HeaderMemory(1_000), noShares);
}

function block(on: Volume, url: string, version = "v1", createdAtMs = 0): CachedBlock {
  const id = testId(url, 0, version);
  const info = testInfo(65_536, version);
  const digest = blockDigest(id, 65_536);
  return new CachedBlock({ id, info, createdAtMs, firstUsedMs: 0, lastUsedMs: 0, volume: on, digest, geometry: testGeometry });
}

describe("the index", () => {
  it("finds blocks by identity, keeps the volume's order of use, and records used blocks", () => {
    const [index, on] = [newIndex(), volume()];
    const blocks = ["a", "b", "c"].map((url) => block(on, url));
    for (const each of blocks) index.add(each);
    index.recordUse(blocks[0]!, 77);
    expect(index.get(blocks[1]!.id)).toBe(blocks[1]);
    expect([...index.on(on).order.victims()]).toEqual([blocks[1], blocks[2], blocks[0]]);
    expect([[...index.on(on).used], blocks[0]!.lastUsedMs]).toEqual([[blocks[0]], 77]);
    index.remove(blocks[0]!);
    expect([index.size, index.on(on).order.size, index.on(on).used.size, index.get(blocks[0]!.id)]).toEqual([2, 2, 0, undefined]);
  });

  it("keeps a block when its predecessor is removed", () => {
    const [index, on] = [newIndex(), volume()];
    const [first, second] = [block(on, "a"), block(on, "a")];
    index.add(first);
    index.remove(first);
    index.add(second);
    index.remove(first);
    expect(index.get(second.id)).toBe(second);
    expect(index.newest("a")?.version).toBe("v1");
  });

  it("returns the newest version until its last block is removed", () => {
    const [index, on] = [newIndex(), volume()];
    const [older, newer] = [block(on, "a", "v1", 1), block(on, "a", "v2", 2)];
    index.add(newer);
    index.add(older);
    expect(index.newest("a")).toMatchObject({ version: "v2", createdAtMs: 2 });
    index.remove(newer);
    expect(index.newest("a")).toMatchObject({ version: "v1", createdAtMs: 1 });
    index.remove(older);
    expect(index.newest("a")).toBeUndefined();
    expect([...index.select({ prefix: "" })]).toEqual([]);
  });

  it("visits each block once to find the oldest unpinned one of 65,536", () => {
    const [index, on] = [newIndex(), volume()];
    const blocks = Array.from({ length: 65_536 }, (_, name) => block(on, `s3://bucket/${name}`));
    for (const each of blocks) index.add(each);
    for (const each of blocks) index.recordUse(each, 1);
    // All but the last are being read: the longest search that there is.
    for (const each of blocks.slice(0, -1)) each.acquire();
    let looks = 0;
    let victim: CachedBlock | undefined;
    for (const each of index.on(on).order.victims()) {
      looks++;
      if (each.isBusy) continue;
      victim = each;
      break;
    }
    expect(victim).toBe(blocks.at(-1));
    expect(looks).toBe(blocks.length);
  });
});
