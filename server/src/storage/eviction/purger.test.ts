import { FOOTER_BYTES } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import type { Log } from "../../runtime/log.js";
import { MemoryDisk } from "../../testing/memory-disk.js";
import { storageFaults } from "../../testing/storage-invariants.js";
import { keep, openStore, testDiskBytes, testGeometry, testId, testInfo, testSegments } from "../../testing/store-fixture.js";
import { systemError } from "../disk/disk.js";

const { blockBytes: BLOCK } = testGeometry;
const FILE = BLOCK + FOOTER_BYTES;
const info = testInfo();
const id = (name: number) => testId(`s3://bucket/${name}`);
const turn = (): Promise<void> => new Promise(setImmediate);

async function fill(store: Parameters<typeof keep>[0], from: number, to: number): Promise<boolean[]> {
  const kept: boolean[] = [];
  for (let name = from; name < to; name++) kept.push(await keep(store, id(name), info, testSegments(id(name), info)));
  return kept;
}

function cachedNames(store: Parameters<typeof keep>[0], count: number): number[] {
  return Array.from({ length: count }, (_, name) => name).filter((name) => store.newest(id(name).url) !== undefined);
}

describe("the purger", () => {
  it("evicts the least recently used blocks from the high to the low watermark at each interval", async () => {
    const { store, disk, clock } = await openStore({ volumes: [{ path: "/cache", limitBytes: 20 * FILE }] });
    await fill(store, 0, 20);
    for (const name of [0, 1, 2]) store.pin(id(name))!.release();
    expect(store.status().volumes[0]!.usedBytes).toBe(20 * FILE);
    clock.advance(9_999);
    await turn();
    expect(store.status().volumes[0]!.blocks).toBe(20);
    clock.advance(1);
    await turn();
    expect(store.status()).toMatchObject({
      purged: { blocks: 2, bytes: 2 * FILE },
      volumes: [{ blocks: 18, usedBytes: 18 * FILE }],
    });
    expect(cachedNames(store, 5)).toEqual([0, 1, 2]);
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
  });

  it("does not count pins that are no use", async () => {
    const { store, clock } = await openStore({ volumes: [{ path: "/cache", limitBytes: 20 * FILE }] });
    await fill(store, 0, 20);
    for (const name of [0, 1, 2]) store.pin(id(name), false)!.release();
    clock.advance(10_000);
    await turn();
    expect(cachedNames(store, 5)).toEqual([2, 3, 4]);
    await store.close();
  });

  it("logs one line per interval with the totals of all runs, and each run only at debug level", async () => {
    const logged: Record<string, unknown>[] = [];
    let runs = 0;
    const note = (entry: Record<string, unknown>): void => void (entry.event === "purged" && logged.push(entry));
    const debug = ({ event }: { event: string }): void => void (event === "purge" && runs++);
    const log = { debug, info: note, warn: note, error: note } as unknown as Log;
    const { store, clock } = await openStore({ volumes: [{ path: "/cache", limitBytes: 10 * FILE }], log });
    await fill(store, 0, 40);
    expect([runs > 5, logged]).toEqual([true, []]);
    clock.advance(10_000);
    await turn();
    const { purged } = store.status();
    expect(logged).toMatchObject([{ blocks: purged.blocks, bytes: purged.bytes, volumes: [{ path: "/cache" }] }]);
    clock.advance(10_000);
    await turn();
    expect(logged).toHaveLength(1);
    await store.close();
  });

  it("does nothing below the high watermark", async () => {
    const { store, clock } = await openStore({ volumes: [{ path: "/cache", limitBytes: 20 * FILE }] });
    await fill(store, 0, 19);
    clock.advance(30_000);
    await turn();
    expect(store.status().purged.blocks).toBe(0);
    await store.close();
  });

  it("frees space immediately for blocks that do not fit, with and without a size limit, and never exceeds a limit", async () => {
    for (const volume of [{ path: "/cache", limitBytes: 10 * FILE }, { path: "/cache" }]) {
      const { store, disk } = await openStore({ volumes: [volume] });
      const kept: boolean[] = [];
      for (let name = 0; name < 40; name++) {
        kept.push(...(await fill(store, name, name + 1)));
        expect(store.status().volumes[0]!.usedBytes).toBeLessThanOrEqual(store.status().volumes[0]!.limitBytes);
      }
      expect(kept.every(Boolean)).toBe(true);
      expect(store.newest(id(39).url)).toBeDefined();
      expect(store.newest(id(0).url)).toBeUndefined();
      expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
      await store.close();
    }
  });

  it("frees space for many waiting reservations together", async () => {
    const { store, disk } = await openStore({ volumes: [{ path: "/cache", limitBytes: 10 * FILE }] });
    await fill(store, 0, 10);
    const kept = await Promise.all([20, 21, 22, 23, 24].map((name) => keep(store, id(name), info, testSegments(id(name), info))));
    expect(kept).toEqual([true, true, true, true, true]);
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
  });

  it("keeps pinned blocks, and rejects a reservation if only pinned blocks are left", async () => {
    const { store } = await openStore({ volumes: [{ path: "/cache", limitBytes: 3 * FILE }] });
    await fill(store, 0, 3);
    const pins = [0, 1, 2].map((name) => store.pin(id(name))!);
    expect(await store.reserve(id(9), BLOCK)).toBeUndefined();
    pins[1]!.release();
    const reservation = await store.reserve(id(9), BLOCK);
    expect(reservation?.bytes).toBe(BLOCK);
    expect(cachedNames(store, 3)).toEqual([0, 2]);
    reservation?.release();
    pins[0]!.release();
    pins[2]!.release();
    await store.close();
  });

  it("rejects immediately a reservation that can never fit", async () => {
    const { store } = await openStore({ volumes: [{ path: "/cache", limitBytes: FILE - 1 }] });
    expect(await store.reserve(id(0), BLOCK)).toBeUndefined();
    await store.close();
  });

  it("delays a reservation at most for a second", async () => {
    const { store, disk, clock } = await openStore({ volumes: [{ path: "/cache", limitBytes: 2 * FILE }] });
    await fill(store, 0, 2);
    let resume = (): void => undefined;
    const paused = new Promise<undefined>((resolve) => {
      resume = () => resolve(undefined);
    });
    disk.before = (operation) => (operation === "remove" ? paused : undefined);
    const reservation = store.reserve(id(9), BLOCK);
    await turn();
    clock.advance(1_000);
    expect(await reservation).toBeUndefined();
    resume();
    await store.settled();
    expect((await store.reserve(id(9), BLOCK))?.bytes).toBe(BLOCK);
    await store.close();
  });

  it("evicts for another program that fills the disk, and caches again when there is space", async () => {
    const { store, disk, clock } = await openStore();
    await fill(store, 0, 8);
    for (let tick = 0; store.status().volumes[0]!.blocks > 0; tick++) {
      expect(tick).toBeLessThan(10);
      disk.foreignBytes = testDiskBytes - disk.usedBytes;
      expect(disk.freeBytes).toBe(0);
      const { usedBytes } = store.status().volumes[0]!;
      clock.advance(10_000);
      await turn();
      await turn();
      expect(disk.freeBytes).toBeGreaterThanOrEqual(Math.min(usedBytes, 0.05 * testDiskBytes));
    }
    disk.foreignBytes = testDiskBytes;
    expect(await fill(store, 20, 21)).toEqual([false]);
    disk.foreignBytes = 0;
    clock.advance(10_000);
    await turn();
    expect(await fill(store, 20, 22)).toEqual([true, true]);
    await store.close();
  });

  it("keeps half of the space that others leave, instead of emptying the cache at each interval", async () => {
    const clock = new ManualClock();
    const disk = new MemoryDisk({ totalBytes: 200 * FILE, nowMs: () => clock.nowMs() });
    const { store } = await openStore({ disk, clock });
    // Of the 190 below the high watermark, others have 182; they alone are above the low one.
    disk.foreignBytes = 182 * FILE;
    clock.advance(10_000);
    await turn();
    for (let tick = 0; tick < 3; tick++) {
      expect(await fill(store, 10 * tick, 10 * tick + 9)).not.toContain(false);
      clock.advance(10_000);
      await turn();
      await turn();
      expect(store.status().volumes[0]).toMatchObject({ blocks: 4, state: "ok" });
    }
    expect(cachedNames(store, 40)).toEqual([25, 26, 27, 28]);
    await store.close();
  });

  it("caches nothing while others alone exceed the high watermark, logs it once, and caches again afterwards", async () => {
    const said: string[] = [];
    const note = ({ event }: { event: string }): void => void said.push(event);
    const log = { debug: () => undefined, info: note, warn: note, error: note } as unknown as Log;
    const clock = new ManualClock();
    const disk = new MemoryDisk({ totalBytes: 200 * FILE, nowMs: () => clock.nowMs() });
    const { store } = await openStore({ disk, clock, log });
    await fill(store, 0, 5);
    disk.foreignBytes = 191 * FILE;
    for (let tick = 0; tick < 3; tick++) {
      clock.advance(10_000);
      await turn();
      await turn();
      expect(await fill(store, 0, 1)).toEqual([false]);
      expect(store.status()).toMatchObject({ purged: { blocks: 5 }, volumes: [{ blocks: 0, state: "full" }] });
    }
    disk.foreignBytes = 100 * FILE;
    clock.advance(10_000);
    await turn();
    expect(await fill(store, 0, 5)).not.toContain(false);
    expect(store.status().volumes[0]).toMatchObject({ blocks: 5, state: "ok" });
    expect(said.filter((event) => event.startsWith("volume-"))).toEqual(["volume-crowded-out", "volume-has-room"]);
    await store.close();
  });

  it("retries the removal of a file that the disk refuses to remove, and counts its space until then", async () => {
    const { store, disk, clock } = await openStore();
    await fill(store, 0, 1);
    disk.before = (operation, path) => {
      if (operation === "remove") throw systemError("EROFS", path);
      return undefined;
    };
    await store.evict({ url: id(0).url });
    await store.settled();
    expect(store.pin(id(0))).toBeUndefined();
    expect(store.status().volumes[0]!.usedBytes).toBe(FILE);
    clock.advance(10_000);
    await turn();
    expect(disk.paths()).toHaveLength(1);
    disk.before = undefined;
    clock.advance(10_000);
    await turn();
    expect(disk.paths()).toHaveLength(0);
    expect(store.status().volumes[0]!.usedBytes).toBe(0);
    await store.close();
  });

  it("puts a new block on the volume with the most space, and further segments on the block's volume", async () => {
    const volumes = [
      { path: "/a", limitBytes: 3 * FILE },
      { path: "/b", limitBytes: 4 * FILE },
    ];
    const { store } = await openStore({ volumes });
    await keep(store, id(0), info, testSegments(id(0), info, [0]));
    await fill(store, 1, 5);
    await keep(store, id(0), info, testSegments(id(0), info));
    const { volumes: status } = store.status();
    expect(status.map((volume) => volume.blocks)).toEqual([2, 3]);
    await store.close();
  });
});
