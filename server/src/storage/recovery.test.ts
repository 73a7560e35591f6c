import { FOOTER_BYTES } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import type { Log } from "../runtime/log.js";
import { MemoryDisk } from "../testing/memory-disk.js";
import { storageFaults } from "../testing/storage-invariants.js";
import {
  areTestBytes,
  keep,
  openStore,
  readBlock,
  testBytes,
  testDiskBytes,
  testGeometry,
  testId,
  testInfo,
  testSegments,
} from "../testing/store-fixture.js";
import { systemError } from "./disk/disk.js";
import { storageTuning } from "./storage-tuning.js";

const { blockBytes: BLOCK, segmentBytes: SEGMENT } = testGeometry;
const info = testInfo();
const ids = [1, 2, 3, 4, 5].map((name) => testId(`s3://bucket/${name}`));

const turn = (): Promise<void> => new Promise(setImmediate);

describe("after a start", () => {
  it("every block is cached with its segments and its object's description", async () => {
    const first = await openStore();
    for (const id of ids) await keep(first.store, id, info, testSegments(id, info, [0, 7]), 1234);
    await first.store.close();
    const { store, disk } = await openStore(first);
    for (const id of ids) {
      const pin = store.pin(id)!;
      expect(pin.info).toEqual(info);
      expect([pin.has(0), pin.has(1), pin.has(7)]).toEqual([true, false, true]);
      pin.release();
      expect(areTestBytes(await readBlock(store, id, 7 * SEGMENT, BLOCK), 7 * SEGMENT, SEGMENT)).toBe(true);
    }
    expect(store.newest(ids[0]!.url)).toEqual({ version: "v1", info, createdAtMs: 1234 });
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    expect(disk.usedBytes).toBe(store.status().volumes[0]!.usedBytes);
    await store.close();
  });

  it("the order of use is that of one tick before at the latest", async () => {
    const first = await openStore();
    for (const id of ids) {
      first.clock.advance(1);
      await keep(first.store, id, info, testSegments(id, info, [0]));
    }
    for (const index of [3, 0, 4]) {
      first.clock.advance(1);
      first.store.pin(ids[index]!)?.release();
    }
    first.clock.advance(10_000);
    await new Promise(setImmediate);
    // Killed: no last refresh.
    const disk = first.disk.crash();
    const { store } = await openStore({ disk, clock: first.clock, volumes: [{ path: "/cache", limitBytes: 70_000 }] });
    // Room for one more block of 8 KiB is made by the least recently used.
    const next = testId("s3://bucket/next");
    await keep(store, next, info, testSegments(next, info, [0]));
    const cached = ids.map((id) => store.newest(id.url) !== undefined);
    expect(cached).toEqual([true, false, true, true, true]);
    await store.close();
  });

  it("blocks that were used again, later than one reader takes, are still protected from what was read once", async () => {
    const first = await openStore({ eviction: "slru" });
    const [used, ...others] = ids;
    await keep(first.store, used!, info, testSegments(used!, info, [0]));
    const tick = async (): Promise<void> => {
      first.clock.advance(10_000);
      await new Promise(setImmediate);
    };
    for (let ticks = 0; ticks < 3; ticks++) await tick();
    first.store.pin(used!)?.release();
    for (const id of others) {
      first.clock.advance(1);
      await keep(first.store, id, info, testSegments(id, info, [0]));
    }
    await tick();
    const disk = first.disk.crash();
    const volumes = [{ path: "/cache", limitBytes: 70_000 }];
    const { store } = await openStore({ disk, clock: first.clock, volumes, eviction: "slru" });
    const next = testId("s3://bucket/next");
    await keep(store, next, info, testSegments(next, info, [0]));
    const cached = ids.map((id) => store.newest(id.url) !== undefined);
    expect(cached).toEqual([true, false, true, true, true]);
    await store.close();
  });

  it("stray files, foreign files and blocks of other sizes or formats are removed", async () => {
    const first = await openStore();
    await keep(first.store, ids[0]!, info, testSegments(ids[0]!, info));
    await first.store.close();
    const disk = first.disk.crash();
    const good = disk.paths().find((path) => path.endsWith(".blk"))!;
    const bytes = Buffer.alloc(BLOCK + FOOTER_BYTES);
    disk.file(good).read(bytes, 0);
    const name = "0123456789abcdef0123456789abcdef";
    disk.putFile(`/cache/tmp/${name}.1`, bytes);
    disk.putFile("/cache/tmp/anything", bytes);
    disk.putFile(`/cache/v1/01/${name}.blk`, bytes);
    disk.putFile("/cache/v1/02/notes.txt", testBytes(0, 10));
    disk.putFile("/cache/v1/stray", testBytes(0, 10));
    disk.putFile(`/cache/v1/03/${name.replace("01", "03")}.blk`, bytes.subarray(0, BLOCK));
    disk.putFile(`/cache/v1/04/${name.replace("01", "05")}.blk`, bytes);
    disk.putFile("/cache/mine", testBytes(0, 10));
    const { store } = await openStore({ disk, clock: first.clock });
    expect(disk.paths()).toEqual(["/cache/mine", good]);
    // A file that ends before its footer does was being written when the process died: no damage.
    expect(store.status().damages).toBe(4);
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
    const other = await openStore({ disk, clock: first.clock, geometry: { ...testGeometry, blockBytes: 2 * BLOCK } });
    expect(disk.paths()).toEqual(["/cache/mine"]);
    await other.store.close();
  });

  it("foreign directories stay, are logged, and the volume is used", async () => {
    const first = await openStore();
    await keep(first.store, ids[0]!, info, testSegments(ids[0]!, info));
    await first.store.close();
    const name = "0123456789abcdef0123456789abcdef.blk";
    const theirs = ["/cache/tmp/theirs/file", "/cache/v1/05/theirs/file", `/cache/v1/01/${name}/file`];
    for (const path of theirs) first.disk.putFile(path, testBytes(0, 10));
    const { store, disk, clock } = await openStore(first);
    clock.advance(10_000);
    await new Promise(setImmediate);
    expect(store.status()).toMatchObject({ damages: 2, volumes: [{ state: "ok", blocks: 1 }] });
    expect(disk.paths()).toEqual(expect.arrayContaining(theirs));
    expect(await keep(store, ids[1]!, info, testSegments(ids[1]!, info))).toBe(true);
    await store.close();
  });

  it("the space of segments that were being written when the process died is free", async () => {
    const first = await openStore();
    await keep(first.store, ids[0]!, info, testSegments(ids[0]!, info, [0]));
    first.disk.before = (operation, path) => {
      const file = operation === "write" && first.disk.file(path);
      return file && file.allocatedBytes > 6 * SEGMENT + FOOTER_BYTES ? new Promise(() => undefined) : undefined;
    };
    void keep(first.store, ids[0]!, info, testSegments(ids[0]!, info, [1, 2, 3, 4, 5, 6, 7]));
    await new Promise(setImmediate);
    const disk = first.disk.crash();
    const leftOver = disk.usedBytes;
    const { store } = await openStore({ disk, clock: first.clock });
    expect(leftOver).toBeGreaterThan(disk.usedBytes);
    expect(disk.usedBytes).toBe(store.status().volumes[0]!.usedBytes);
    expect(areTestBytes(await readBlock(store, ids[0]!, 0, SEGMENT), 0, SEGMENT)).toBe(true);
    await store.close();
  });

  it("a block on two volumes stays on the volume that has more of it", async () => {
    const volumes = [{ path: "/a" }, { path: "/b" }];
    const a = await openStore({ volumes: [volumes[0]!] });
    await keep(a.store, ids[0]!, info, testSegments(ids[0]!, info, [0]));
    await a.store.close();
    const b = await openStore({ disk: a.disk, clock: a.clock, volumes: [volumes[1]!] });
    await keep(b.store, ids[0]!, info, testSegments(ids[0]!, info, [0, 1]));
    await b.store.close();
    const { store, disk } = await openStore({ disk: a.disk, clock: a.clock, volumes });
    expect(store.status().volumes.map((volume) => volume.blocks)).toEqual([0, 1]);
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
  });

  it.each(["EIO", "EACCES"])("a volume whose disk answers %s to a listing is not used, and the other one is", async (code) => {
    const volumes = [{ path: "/a" }, { path: "/b" }];
    const first = await openStore({ volumes });
    await first.store.close();
    first.disk.before = (operation, path) => {
      if (operation === "list" && path.startsWith("/a")) throw systemError(code, path);
      return undefined;
    };
    const { store, clock } = await openStore({ ...first, volumes });
    clock.advance(10_000);
    await new Promise(setImmediate);
    clock.advance(3_000);
    expect(store.status().volumes.map((volume) => volume.state)).toEqual(["failing", "ok"]);
    expect(await keep(store, ids[0]!, info, testSegments(ids[0]!, info))).toBe(true);
    await store.close();
  });

  it("a volume whose disk hangs is not used either", async () => {
    const volumes = [{ path: "/a" }, { path: "/b" }];
    const first = await openStore({ volumes });
    await first.store.close();
    first.disk.before = (_operation, path) => (path.startsWith("/a/v1") ? new Promise(() => undefined) : undefined);
    const opening = openStore({ ...first, volumes });
    await new Promise(setImmediate);
    first.clock.advance(5_000);
    const { store } = await opening;
    expect(store.status().volumes.map((volume) => volume.state)).toEqual(["failing", "ok"]);
    await store.close();
  });

  it("a file that cannot be read is dropped", async () => {
    const first = await openStore();
    for (const id of ids) await keep(first.store, id, info, testSegments(id, info));
    await first.store.close();
    const bad = first.disk.paths().find((path) => path.endsWith(".blk"))!;
    first.disk.before = (operation, path) => {
      if (operation === "read" && path === bad) throw systemError("EIO", path);
      return undefined;
    };
    const { store, disk } = await openStore(first);
    expect(store.status()).toMatchObject({ damages: 1, volumes: [{ blocks: 4 }] });
    expect(disk.paths()).not.toContain(bad);
    await store.close();
  });

  it("too few file descriptors fail the start, and no file counts as damaged", async () => {
    const first = await openStore();
    await keep(first.store, ids[0]!, info, testSegments(ids[0]!, info));
    await first.store.close();
    first.disk.before = (operation, path) => {
      if (operation === "open") throw systemError("EMFILE", path);
      return undefined;
    };
    await expect(openStore(first)).rejects.toThrow("/cache: too few file descriptors");
    expect(first.disk.paths()).toHaveLength(1);
  });

  it("a directory in use by another process fails the start, and the other directories are released", async () => {
    const first = await openStore({ volumes: [{ path: "/b" }] });
    await expect(openStore({ ...first, volumes: [{ path: "/a" }, { path: "/b" }] })).rejects.toThrow("/b is in use");
    const other = await openStore({ ...first, volumes: [{ path: "/a" }] });
    await other.store.close();
    await first.store.close();
  });

  it("a volume that does not answer does not delay the others, is logged, and is used with its blocks as soon as it answers", async () => {
    const first = await openStore({ volumes: [{ path: "/a" }] });
    await keep(first.store, ids[0]!, info, testSegments(ids[0]!, info));
    await first.store.close();
    const { disk, clock } = first;
    const mount = hangingVolume(disk, "/a");
    const logged: string[] = [];
    const note = ({ event }: { event: string }): void => void logged.push(event);
    const log = { debug: () => undefined, info: note, warn: note, error: note } as unknown as Log;
    const opening = openStore({ disk, clock, log, volumes: [{ path: "/a" }, { path: "/b" }] });
    await mount.reached;
    await turn();
    clock.advance(storageTuning.startTimeoutMs);
    const { store } = await opening;
    expect(logged).toEqual(["volume-missing", "volumes-recovered"]);
    expect(store.status().volumes).toMatchObject([{ state: "failing" }, { state: "ok" }]);
    expect(await keep(store, ids[1]!, info, testSegments(ids[1]!, info))).toBe(true);
    mount.answer();
    await expect.poll(() => store.status().volumes[0]!.state).toBe("ok");
    expect(store.status().volumes).toMatchObject([{ blocks: 1 }, { blocks: 1 }]);
    expect(areTestBytes(await readBlock(store, ids[0]!, 0, BLOCK), 0, BLOCK)).toBe(true);
    await store.close();
  });

  it("a volume that stops answering while its blocks are read is used as soon as it answers again", async () => {
    const first = await openStore({ volumes: [{ path: "/a" }] });
    await keep(first.store, ids[0]!, info, testSegments(ids[0]!, info));
    await first.store.close();
    const { disk, clock } = first;
    let answer = (): void => undefined;
    let reached = (): void => undefined;
    const hang = new Promise<undefined>((resolve) => {
      answer = () => resolve(undefined);
    });
    const isReached = new Promise<void>((resolve) => {
      reached = resolve;
    });
    disk.before = (operation, path) => {
      if (operation !== "list" || !path.startsWith("/a/v1")) return undefined;
      reached();
      return hang;
    };
    const opening = openStore({ disk, clock, volumes: [{ path: "/a" }, { path: "/b" }] });
    await isReached;
    await turn();
    clock.advance(storageTuning.diskTimeoutMs);
    const { store } = await opening;
    expect(store.status().volumes).toMatchObject([{ state: "failing" }, { state: "ok" }]);
    expect(await keep(store, ids[1]!, info, testSegments(ids[1]!, info))).toBe(true);
    answer();
    await expect.poll(() => store.status().volumes[0]!.state).toBe("ok");
    expect(store.status().volumes).toMatchObject([{ blocks: 1 }, { blocks: 1 }]);
    await store.close();
  });

  it("a volume that answers after the store was closed is released", async () => {
    const disk = new MemoryDisk({ totalBytes: testDiskBytes, nowMs: () => 0 });
    const clock = new ManualClock();
    const mount = hangingVolume(disk, "/a");
    const opening = openStore({ disk, clock, volumes: [{ path: "/a" }, { path: "/b" }] });
    await mount.reached;
    await turn();
    clock.advance(storageTuning.startTimeoutMs);
    await (await opening).store.close();
    mount.answer();
    await expect.poll(() => claimable(disk, "/a")).toBe(true);
  });
});

/** The volume's first operation does not end before `answer`. */
function hangingVolume(disk: MemoryDisk, path: string): { readonly reached: Promise<void>; answer(): void } {
  let answer!: () => void;
  const answered = new Promise<undefined>((resolve) => {
    answer = () => resolve(undefined);
  });
  const reached = new Promise<void>((resolve) => {
    disk.before = (operation, at) => {
      if (operation !== "claim" || at !== path) return undefined;
      resolve();
      return answered;
    };
  });
  return { reached, answer };
}

/** Whether the directory is free now. */
async function claimable(disk: MemoryDisk, path: string): Promise<boolean> {
  const claim = await disk.claim(path).catch(() => undefined);
  await claim?.release();
  return claim !== undefined;
}
