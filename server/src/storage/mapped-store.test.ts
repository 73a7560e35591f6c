import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openTestStore } from "../testing/member-fixture.js";
import { storageFaults } from "../testing/storage-invariants.js";
import { areTestBytes, keep, readBlock, testGeometry, testId, testInfo, testSegments } from "../testing/store-fixture.js";
import { type BlockStore, storageTuning } from "./block-store.js";
import { openNodeDisk } from "./disk/node-disk.js";
import { loadLibc } from "./mapping/libc.js";
import { noMapping, openMapper } from "./mapping/mapping.js";

const { blockBytes: BLOCK, segmentBytes: SEGMENT } = testGeometry;
const libc = await loadLibc();
const info = testInfo();
const ids = [0, 1, 2, 3].map((name) => testId(`s3://bucket/${name}`));
const disk = await openNodeDisk();

/** What of block files is in this process's memory. */
function residentKB(): number {
  const sizes = readFileSync("/proc/self/smaps", "utf8").matchAll(/\.blk\n(?:.*\n)*?Rss:\s+(\d+) kB/g);
  return [...sizes].reduce((sum, [, kB]) => sum + Number(kB), 0);
}

describe.each([
  ["mapped", libc !== undefined],
  ["plain", true],
] as const)("a store on real files, %s", (road, isRunnable) => {
  const isMapped = road === "mapped";
  let directory: string;
  let store: BlockStore;

  async function open(maxMappings = 2, tuning = storageTuning): Promise<void> {
    store = await openTestStore({
      volumes: [{ path: directory }],
      geometry: testGeometry,
      disk,
      mapper: isMapped ? await openMapper({ blockBytes: BLOCK, maxMappings: maxMappings + 8 }) : noMapping,
      clock: new ManualClock(Date.now()),
      eviction: "lru",
      maxMappings,
      purgeIntervalMs: 10_000,
      tuning,
    });
  }

  function blockFile(): string {
    const blocks = join(directory, "v1");
    return join(blocks, readdirSync(blocks, { recursive: true, encoding: "utf8" }).find((name) => name.endsWith(".blk"))!);
  }

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "store-"));
    await open();
  });

  afterEach(async () => {
    await store.close();
    expect(store.status()).toMatchObject({ mappings: 0, openFiles: 0, references: 0 });
    expect(readFileSync("/proc/self/maps", "utf8")).not.toContain(directory);
    rmSync(directory, { recursive: true });
  });

  it.runIf(isRunnable)("returns written bytes, before and after a restart", async () => {
    for (const id of ids) await keep(store, id, info, testSegments(id, info));
    for (const id of ids) expect(areTestBytes(await readBlock(store, id, 0, BLOCK), 0, BLOCK)).toBe(true);
    await store.close();
    await open();
    for (const id of [...ids, ...ids]) expect(areTestBytes(await readBlock(store, id, 100, BLOCK), 100, BLOCK - 100)).toBe(true);
    await expect.poll(() => store.status()).toMatchObject({ damages: 0, openFiles: 2, mappings: isMapped ? 2 : 0 });
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
  });

  it.runIf(isRunnable && isMapped)("limits the memory of mapped files, and keeps reading correctly", async () => {
    await store.close();
    await open(16, { ...storageTuning, mappedMemoryBytes: BLOCK });
    for (const id of ids) await keep(store, id, info, testSegments(id, info));
    for (let round = 0; round < 4; round++) {
      for (const id of ids) expect(areTestBytes(await readBlock(store, id, 0, BLOCK), 0, BLOCK)).toBe(true);
      await expect.poll(residentKB).toBeLessThanOrEqual((2 * BLOCK) / 1024);
    }
  });

  it.runIf(isRunnable && isMapped)("counts late touches of a block whose pages were released meanwhile", async () => {
    await store.close();
    await open(16, { ...storageTuning, mappedMemoryBytes: BLOCK });
    for (const id of ids) await keep(store, id, info, testSegments(id, info));
    const pins = ids.map((id) => store.pin(id)!);
    const slices = await Promise.all(pins.map((pin) => pin.read(0, BLOCK)));
    for (const slice of slices) expect(areTestBytes(slice?.bytes, 0, BLOCK)).toBe(true);
    for (const borrowed of [...slices, ...pins]) borrowed!.release();
    expect(residentKB()).toBeLessThanOrEqual(BLOCK / 1024);
  });

  it.runIf(isRunnable && isMapped)("returns bytes in memory synchronously, completely and without a copy", async () => {
    const id = ids[0]!;
    await keep(store, id, info, testSegments(id, info, [0, 1, 2, 4]));
    const pin = store.pin(id)!;
    for (let read = 0; read < 3; read++) {
      const slice = pin.read(10, BLOCK);
      if (slice === undefined || slice instanceof Promise) throw new Error("not at once");
      expect(areTestBytes(slice.bytes, 10, 3 * SEGMENT - 10)).toBe(true);
      slice.release();
    }
    await keep(store, id, info, testSegments(id, info));
    const slice = pin.read(0, BLOCK);
    if (slice === undefined || slice instanceof Promise) throw new Error("not at once");
    expect(areTestBytes(slice.bytes, 0, BLOCK)).toBe(true);
    slice.release();
    pin.release();
  });

  it.runIf(isRunnable)("treats a truncated mapped file as a miss without crashing", async () => {
    const id = ids[0]!;
    await keep(store, id, info, testSegments(id, info));
    expect(areTestBytes(await readBlock(store, id, 0, BLOCK), 0, BLOCK)).toBe(true);
    truncateSync(blockFile(), 3 * SEGMENT + 100);
    const pin = store.pin(id)!;
    expect(await pin.read(3 * SEGMENT, 3 * SEGMENT + 101)).toBeUndefined();
    expect(await pin.read(5 * SEGMENT, BLOCK)).toBeUndefined();
    pin.release();
    await store.settled();
    expect(store.pin(id)).toBeUndefined();
    expect(store.status()).toMatchObject({ damages: 1, openFiles: 0, mappings: 0 });
    await keep(store, id, info, testSegments(id, info));
    expect(areTestBytes(await readBlock(store, id, 0, BLOCK), 0, BLOCK)).toBe(true);
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
  });

  it.runIf(isRunnable)("keeps an evicted block for its read, and frees its space after the last slice", async () => {
    const id = ids[0]!;
    await keep(store, id, info, testSegments(id, info));
    const pin = store.pin(id)!;
    const slice = await pin.read(0, BLOCK);
    const second = await pin.read(0, BLOCK);
    await store.evict({ url: id.url });
    pin.release();
    await new Promise(setImmediate);
    second?.release();
    await new Promise(setImmediate);
    expect(areTestBytes(slice?.bytes, 0, slice!.bytes.length)).toBe(true);
    if (isMapped) expect(store.status()).toMatchObject({ mappings: 1, openFiles: 1, volumes: [{ usedBytes: BLOCK + 4096 }] });
    slice?.release();
    await store.settled();
    expect(store.status()).toMatchObject({ mappings: 0, openFiles: 0, volumes: [{ usedBytes: 0 }] });
  });

  it.runIf(isRunnable)("closes the least recently used files above its limit, never one that is being read", async () => {
    for (const id of ids) await keep(store, id, info, testSegments(id, info));
    const pins = ids.map((id) => store.pin(id)!);
    const slices = await Promise.all(pins.map((pin) => pin.read(0, BLOCK)));
    for (const [index, slice] of slices.entries()) {
      expect(areTestBytes(slice?.bytes, 0, slice!.bytes.length)).toBe(true);
      slice?.release();
      pins[index]!.release();
    }
    for (const id of [...ids, ...ids]) expect(areTestBytes(await readBlock(store, id, 0, BLOCK), 0, BLOCK)).toBe(true);
    await expect.poll(() => store.status().openFiles).toBeLessThanOrEqual(2);
  });

  it.runIf(isRunnable)("reads correctly while blocks are cached and evicted", async () => {
    const rounds = Array.from({ length: 60 }, (_, round) => round);
    await Promise.all(
      ids.map(async (id, index) => {
        for (const round of rounds) {
          if (round % 7 === index) await store.evict({ url: id.url });
          if (store.pin(id)?.release() === undefined) await keep(store, id, info, testSegments(id, info));
          const start = (round * 997) % BLOCK;
          const bytes = await readBlock(store, id, start, BLOCK);
          expect(bytes === undefined || areTestBytes(bytes, start, BLOCK - start)).toBe(true);
        }
      }),
    );
    await store.settled();
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
  });
});
