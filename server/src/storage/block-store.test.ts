import { FOOTER_BYTES } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { storageFaults } from "../testing/storage-invariants.js";
import {
  areTestBytes,
  keep,
  openStore,
  readBlock,
  testGeometry,
  testId,
  testInfo,
  testSegments,
} from "../testing/store-fixture.js";

const KiB = 1 << 10;
const BLOCK = 64 * KiB;
const url = "s3://bucket/key";

describe("a block store", () => {
  it("returns written blocks, and no others", async () => {
    const { store, disk } = await openStore();
    const [id, info] = [testId(url), testInfo()];
    expect(store.pin(id)).toBeUndefined();
    expect(await keep(store, id, info, testSegments(id, info))).toBe(true);
    expect(areTestBytes(await readBlock(store, id, 0, BLOCK), 0, BLOCK)).toBe(true);
    expect(areTestBytes(await readBlock(store, id, 12_345, 54_321), 12_345, 54_321 - 12_345)).toBe(true);
    expect(store.pin(testId(url, BLOCK))).toBeUndefined();
    expect(store.pin(testId(url, 0, "v2"))).toBeUndefined();
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
  });

  it("caches a small object by four operations of its file: creation, bytes, footer, close", async () => {
    // The next file closes the first one.
    const { store, disk } = await openStore({ maxMappings: 1 });
    const operations: string[] = [];
    disk.before = (operation, path) => {
      if (operation !== "makeDirectory") operations.push(`${operation} ${path}`);
      return undefined;
    };
    const info = testInfo(4 * KiB);
    for (const name of ["first", "second"]) {
      const id = testId(`${url}-${name}`);
      expect(await keep(store, id, info, testSegments(id, info))).toBe(true);
    }
    await eventually(() => expect(store.status().openFiles).toBe(1));
    const path = operations[0]!.replace("create ", "");
    const ofFirst = operations.filter((operation) => operation.endsWith(path)).map((operation) => operation.split(" ")[0]);
    expect(ofFirst).toEqual(["create", "write", "write", "close"]);
    disk.before = undefined;
    await store.close();
  });

  it("returns written segments, and no others", async () => {
    const { store } = await openStore();
    const [id, info] = [testId(url), testInfo()];
    await keep(store, id, info, testSegments(id, info, [1, 2, 5]));
    const pin = store.pin(id)!;
    expect([0, 1, 2, 3, 4, 5, 6, 7, 8].map((segment) => pin.has(segment))).toEqual([
      false,
      true,
      true,
      false,
      false,
      true,
      false,
      false,
      false,
    ]);
    expect(pin.read(0, 100)).toBeUndefined();
    const slice = await pin.read(9 * KiB, BLOCK);
    expect(areTestBytes(slice?.bytes, 9 * KiB, 15 * KiB)).toBe(true);
    slice?.release();
    pin.release();
    await store.close();
  });

  it("adds segments to a block, in place and once each", async () => {
    const { store, disk } = await openStore();
    const [id, info] = [testId(url), testInfo()];
    await keep(store, id, info, testSegments(id, info, [1]));
    const pin = store.pin(id)!;
    expect(await keep(store, id, info, testSegments(id, info, [0, 1, 2, 3]))).toBe(true);
    expect(pin.has(3)).toBe(true);
    pin.release();
    const used = store.status().volumes[0]!.usedBytes;
    expect(used).toBe(4 * 8 * KiB + FOOTER_BYTES);
    expect(await keep(store, id, info, testSegments(id, info, [0, 1, 2, 3]))).toBe(true);
    expect(store.status().volumes[0]!.usedBytes).toBe(used);
    expect(areTestBytes(await readBlock(store, id, 0, 32 * KiB), 0, 32 * KiB)).toBe(true);
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
  });

  it("serialises writes of one block and runs those of different blocks concurrently", async () => {
    const { store, disk } = await openStore();
    const info = testInfo(4 * BLOCK);
    const ids = [0, 1, 2, 3].map((block) => testId(url, block * BLOCK));
    const kept = await Promise.all(
      ids.flatMap((id) => [0, 1, 2, 3, 4, 5, 6, 7].map((segment) => keep(store, id, info, testSegments(id, info, [segment])))),
    );
    expect(kept.every(Boolean)).toBe(true);
    for (const id of ids) expect(areTestBytes(await readBlock(store, id, 0, BLOCK), id.offset, BLOCK)).toBe(true);
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
  });

  it("combines writes that wait for another write of their block, and settles each", async () => {
    const { store, disk } = await openStore();
    const [id, info] = [testId(url), testInfo()];
    const otherSize = { ...info, objectSize: info.objectSize + 1 };
    const opened: string[] = [];
    disk.before = (operation, path) => {
      if (operation === "create" || operation === "open") opened.push(path);
      return undefined;
    };
    const kept = await Promise.all([
      ...[[0, 1], [4], [2, 3, 4], [1]].map((segments) => keep(store, id, info, testSegments(id, info, segments))),
      keep(store, id, otherSize, testSegments(id, otherSize, [5])),
      keep(store, id, info, testSegments(id, info, [7])),
    ]);
    expect(kept).toEqual([true, true, true, true, false, true]);
    // One for the new file, one for all that came behind it.
    expect(opened).toHaveLength(2);
    const pin = store.pin(id)!;
    const present = Array.from({ length: 8 }, (_, segment) => pin.has(segment));
    pin.release();
    expect(present).toEqual([true, true, true, true, true, false, false, true]);
    expect(areTestBytes(await readBlock(store, id, 0, 40 * KiB), 0, 40 * KiB)).toBe(true);
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
  });

  it("caches the short last block of an object, and tiny objects", async () => {
    const { store, disk } = await openStore();
    const [last, info] = [testId(url, BLOCK), testInfo(BLOCK + 10_001)];
    const [tiny, tinyInfo] = [testId("s3://bucket/tiny"), testInfo(1)];
    expect(await keep(store, last, info, testSegments(last, info))).toBe(true);
    expect(await keep(store, tiny, tinyInfo, testSegments(tiny, tinyInfo))).toBe(true);
    expect(areTestBytes(await readBlock(store, last, 0, 10_001), BLOCK, 10_001)).toBe(true);
    expect(areTestBytes(await readBlock(store, tiny, 0, 1), 0, 1)).toBe(true);
    expect(store.status().volumes[0]!.usedBytes).toBe(disk.usedBytes);
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
  });

  it("rejects segments past the block's end, another object size, and an identity that does not fit into a footer", async () => {
    const { store, disk } = await openStore();
    const [id, info] = [testId(url), testInfo()];
    await keep(store, id, info, testSegments(id, info, [0]));
    const segment = testSegments(id, info, [1])[0]!;
    expect(await keep(store, id, info, [{ ...segment, index: 8 }])).toBe(false);
    expect(await keep(store, id, testInfo(BLOCK + 1), [segment])).toBe(false);
    const long = testId(url, 0, "v".repeat(5000));
    expect(await keep(store, long, testInfo(BLOCK, long.version), [segment])).toBe(false);
    expect(store.status().volumes[0]!.state).toBe("ok");
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
  });

  it("returns the newest cached version and the cached bytes of each version", async () => {
    const { store } = await openStore();
    for (const [version, createdAtMs] of [
      ["v1", 100],
      ["v2", 200],
    ] as const) {
      const [id, info] = [testId(url, 0, version), testInfo(BLOCK, version)];
      await keep(store, id, info, testSegments(id, info, [0]), createdAtMs);
    }
    const later = testId(url, 0, "v1");
    await keep(store, later, testInfo(), testSegments(later, testInfo(), [1]));
    expect(store.newest(url)).toEqual({ version: "v2", info: testInfo(BLOCK, "v2"), createdAtMs: 200 });
    expect(store.newest("s3://bucket/other")).toBeUndefined();
    expect([store.cachedBytes(url, "v1"), store.cachedBytes(url, "v2"), store.cachedBytes(url, "v3")]).toEqual([
      16 * KiB,
      8 * KiB,
      0,
    ]);
    await store.close();
  });

  it("evicts by URL, by version and by prefix, and nothing for an empty selector", async () => {
    const { store, disk } = await openStore();
    const names = ["s3://bucket/a/1", "s3://bucket/a/2", "s3://bucket/b"];
    for (const name of names) {
      for (const version of ["v1", "v2"]) {
        const [id, info] = [testId(name, 0, version), testInfo(BLOCK, version)];
        await keep(store, id, info, testSegments(id, info, [0]));
      }
    }
    const one = 8 * KiB + FOOTER_BYTES;
    expect(await store.evict({})).toEqual({ blocks: 0, bytes: 0 });
    expect(await store.evict({ version: "v1" })).toEqual({ blocks: 0, bytes: 0 });
    expect(await store.evict({ url: names[2]!, version: "v2" })).toEqual({ blocks: 1, bytes: one });
    expect(await store.evict({ prefix: "s3://bucket/a/", version: "v1" })).toEqual({ blocks: 2, bytes: 2 * one });
    expect(await store.evict({ url: names[2]! })).toEqual({ blocks: 1, bytes: one });
    expect(store.newest(names[0]!)?.version).toBe("v2");
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    expect(await store.evict({ prefix: "" })).toEqual({ blocks: 2, bytes: 2 * one });
    expect(disk.paths()).toEqual([]);
    await store.close();
  });

  it("evicts a pinned block while its read continues, and frees the space after the last slice", async () => {
    const { store, disk } = await openStore();
    const [id, info] = [testId(url), testInfo()];
    await keep(store, id, info, testSegments(id, info));
    const pin = store.pin(id)!;
    const slice = await pin.read(0, BLOCK);
    await store.evict({ url });
    expect(store.pin(id)).toBeUndefined();
    expect(disk.paths()).toEqual([]);
    expect(areTestBytes((await pin.read(0, BLOCK))?.bytes, 0, BLOCK)).toBe(true);
    expect(disk.usedBytes).toBe(BLOCK + FOOTER_BYTES);
    expect(store.status().volumes[0]!.usedBytes).toBe(BLOCK + FOOTER_BYTES);
    slice?.release();
    pin.release();
    await expect.poll(() => disk.usedBytes).toBe(0);
    expect(store.status().volumes[0]!.usedBytes).toBe(0);
    await store.close();
  });

  it("returns no bytes of a new block to the read of its evicted predecessor", async () => {
    const { store } = await openStore({ maxMappings: 1 });
    const [id, other, info] = [testId(url), testId("s3://bucket/other"), testInfo()];
    await keep(store, id, info, testSegments(id, info));
    const pin = store.pin(id)!;
    // One file may be open, so that the pinned block's must be opened again.
    await keep(store, other, info, testSegments(other, info));
    await store.evict({ url });
    await keep(store, id, info, testSegments(id, info, [0]));
    expect(await pin.read(3 * 8 * KiB, BLOCK)).toBeUndefined();
    pin.release();
    expect(areTestBytes(await readBlock(store, id, 0, 8 * KiB), 0, 8 * KiB)).toBe(true);
    expect(store.status().damages).toBe(0);
    await store.close();
  });

  it("rewrites a block only after the evicted one's file was removed", async () => {
    const { store, disk } = await openStore();
    const [id, info] = [testId(url), testInfo()];
    await keep(store, id, info, testSegments(id, info));
    let resume = (): void => undefined;
    const paused = new Promise<undefined>((resolve) => {
      resume = () => resolve(undefined);
    });
    disk.before = (operation) => (operation === "remove" ? paused : undefined);
    const evicted = store.evict({ url });
    const kept = keep(store, id, info, testSegments(id, info));
    await new Promise(setImmediate);
    resume();
    await evicted;
    expect(await kept).toBe(true);
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
  });

  it("caches a block again immediately after its eviction", async () => {
    const { store, disk } = await openStore();
    const [id, info] = [testId(url), testInfo()];
    await keep(store, id, info, testSegments(id, info));
    const evicted = store.evict({ url });
    const kept = keep(store, id, info, testSegments(id, info));
    await evicted;
    expect(await kept).toBe(true);
    expect(areTestBytes(await readBlock(store, id, 0, BLOCK), 0, BLOCK)).toBe(true);
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
  });

  it("leaves no open file, timer or lock", async () => {
    const { store, disk, clock } = await openStore();
    const [id, info] = [testId(url), testInfo()];
    await keep(store, id, info, testSegments(id, info));
    await readBlock(store, id, 0, BLOCK);
    await store.close();
    expect(disk.openFiles).toBe(0);
    expect(clock.waits).toBe(0);
    expect(store.pin(id)).toBeUndefined();
    expect(await store.reserve(id, 1)).toBeUndefined();
    const again = await openStore({ disk, clock });
    expect(areTestBytes(await readBlock(again.store, id, 0, BLOCK), 0, BLOCK)).toBe(true);
    await again.store.close();
  });
});
