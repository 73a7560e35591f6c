import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import type { Log } from "../runtime/log.js";
import { MemoryDisk } from "../testing/memory-disk.js";
import { storageFaults } from "../testing/storage-invariants.js";
import { keep, openStore, testDiskBytes, testGeometry, testId, testInfo, testSegments } from "../testing/store-fixture.js";
import type { BlockStore, BlockStoreOptions } from "./block-store.js";

/** One page of data and a footer: bytes are never short before inodes. */
const info = testInfo(1_000);
const id = (name: number) => testId(`s3://bucket/${name}`);

/** Caches small objects, one after the other; returns how many were kept. */
async function fill(store: BlockStore, from: number, to: number): Promise<number> {
  let kept = 0;
  for (let name = from; name < to; name++) if (await keep(store, id(name), info, testSegments(id(name), info))) kept++;
  return kept;
}

/** A store on a disk of few inodes and more bytes than they can use, with the events of its log. */
async function openOn(totalInodes: number, options: Partial<Omit<BlockStoreOptions, "disk" | "clock">> = {}) {
  const clock = new ManualClock();
  const disk = new MemoryDisk({ totalBytes: 100 * testDiskBytes, totalInodes, nowMs: () => clock.nowMs() });
  const lines: Record<string, unknown>[] = [];
  const note = (line: object): void => void lines.push(line as Record<string, unknown>);
  const log = { debug: () => undefined, info: note, warn: note, error: note } as unknown as Log;
  const { store } = await openStore({ disk, clock, log, ...options });
  return { store, disk, clock, lines };
}

describe("a file system with few inodes", () => {
  it("is never out of them: the least recently used blocks go, every new one is kept, and the log says why", async () => {
    const { store, disk, lines } = await openOn(400);
    expect(await fill(store, 0, 1_000)).toBe(1_000);
    expect(disk.freeInodes).toBeGreaterThan(0);
    const [volume] = store.status().volumes;
    expect(volume).toMatchObject({ state: "ok" });
    expect(volume!.blocks).toBeGreaterThan(50);
    expect(store.cachedBytes(id(999).url, "v1")).toBeGreaterThan(0);
    expect(store.cachedBytes(id(0).url, "v1")).toBe(0);
    await store.close();
    expect(lines.filter(({ event }) => event === "volume-failed")).toEqual([]);
    expect(lines.find(({ event }) => event === "purged")).toMatchObject({ reasons: ["inodes"] });
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
  });

  it("keeps a budget's volume from taking its last inodes, too", async () => {
    const { store, disk } = await openOn(400, { volumes: [{ path: "/cache", limitBytes: 50 * testDiskBytes }] });
    expect(await fill(store, 0, 600)).toBe(600);
    expect(disk.freeInodes).toBeGreaterThan(0);
    await store.close();
  });

  it("of which others use nearly all keeps nothing, and says which resource is short", async () => {
    const { store, disk, clock, lines } = await openOn(400);
    for (let file = 0; file < 390; file++) disk.putFile(`/foreign/${file}`, Buffer.alloc(1));
    clock.advance(10_000);
    await expect.poll(() => store.status().volumes[0]!.state).toBe("full");
    expect(await fill(store, 0, 1)).toBe(0);
    expect(lines.find(({ event }) => event === "volume-crowded-out")).toMatchObject({ resource: "inodes" });
    await store.close();
  });
});

describe("the share that stays free", () => {
  it("of bytes and inodes is never used by a volume without a budget", async () => {
    const clock = new ManualClock();
    const disk = new MemoryDisk({ totalBytes: testDiskBytes, totalInodes: 1_000, nowMs: () => clock.nowMs() });
    const { store } = await openStore({ disk, clock, keepFree: 0.15 });
    const large = testInfo();
    for (let name = 0; name < 100; name++) {
      expect(await keep(store, id(name), large, testSegments(id(name), large))).toBe(true);
      expect(disk.freeBytes).toBeGreaterThanOrEqual(0.15 * testDiskBytes);
    }
    expect(store.status().volumes[0]!.limitBytes).toBe(0.85 * testDiskBytes);
    await store.close();
  });

  it("holds for inodes while bytes are plenty", async () => {
    const { store, disk } = await openOn(600, { keepFree: 0.15 });
    for (let name = 0; name < 1_000; name++) {
      expect(await fill(store, name, name + 1)).toBe(1);
      expect(disk.freeInodes).toBeGreaterThanOrEqual(0.15 * 600);
    }
    await store.close();
  });

  it("does not concern a volume with a budget", async () => {
    const clock = new ManualClock();
    const disk = new MemoryDisk({ totalBytes: testDiskBytes, nowMs: () => clock.nowMs() });
    const { store } = await openStore({
      disk,
      clock,
      keepFree: 0.9,
      volumes: [{ path: "/cache", limitBytes: testDiskBytes / 2 }],
    });
    expect(await fill(store, 0, 50)).toBe(50);
    expect(store.status().volumes[0]!.blocks).toBe(50);
    await store.close();
  });
});

describe("the number of blocks", () => {
  it("is bounded, because each of them takes memory", async () => {
    const { store, lines } = await openOn(10_000, { maxBlocks: 100 });
    expect(await fill(store, 0, 500)).toBe(500);
    expect(store.status().volumes[0]!.blocks).toBeLessThanOrEqual(100);
    await store.close();
    expect(lines.find(({ event }) => event === "purged")).toMatchObject({ reasons: ["entries"] });
  });

  it("is bounded at the start: of more files the most recently used ones stay, and the start succeeds", async () => {
    const first = await openOn(10_000);
    for (let name = 0; name < 300; name++) {
      first.clock.advance(1_000);
      await fill(first.store, name, name + 1);
    }
    await first.store.close();
    const { store } = await openStore({ disk: first.disk, clock: first.clock, maxBlocks: 100 });
    const { blocks } = store.status().volumes[0]!;
    expect(blocks).toBeLessThanOrEqual(100);
    expect(blocks).toBeGreaterThan(80);
    expect(store.cachedBytes(id(299).url, "v1")).toBeGreaterThan(0);
    expect(store.cachedBytes(id(0).url, "v1")).toBe(0);
    await store.close();
    expect(await storageFaults(store, first.disk, testGeometry)).toEqual([]);
  });

  it("and bytes over the bounds are evicted after the start, without waiting for the purger's next tick", async () => {
    const first = await openStore();
    const large = testInfo();
    for (let name = 0; name < 20; name++) await keep(first.store, id(name), large, testSegments(id(name), large));
    await first.store.close();
    const limitBytes = testDiskBytes / 8;
    const { store } = await openStore({ ...first, volumes: [{ path: "/cache", limitBytes }] });
    await expect.poll(() => store.status().volumes[0]!.usedBytes).toBeLessThanOrEqual(0.95 * limitBytes);
    await store.close();
  });
});
