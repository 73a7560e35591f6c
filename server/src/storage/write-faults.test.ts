import { describe, expect, it } from "vitest";
import type { DiskOperation, MemoryDisk } from "../testing/memory-disk.js";
import {
  areTestBytes,
  faultsAtRest,
  keep,
  openStore,
  readBlock,
  type StoreFixture,
  testGeometry,
  testId,
  testInfo,
  testSegments,
} from "../testing/store-fixture.js";
import type { BlockStore } from "./block-store.js";
import { systemError } from "./disk/disk.js";

const BLOCK = testGeometry.blockBytes;
const id = testId("s3://bucket/key");
const other = testId("s3://bucket/other");
const info = testInfo();
const codes = ["ENOSPC", "EIO", "EROFS", "EACCES", "EMFILE"];

/** Counts the disk's operations from now on, and lets those with the given numbers fail. */
function failAt(disk: MemoryDisk, code: string, fails: (count: number, operation: DiskOperation) => boolean): () => number {
  let count = 0;
  disk.before = (operation, path) => {
    if (fails(count++, operation)) throw systemError(code, path);
    return undefined;
  };
  return () => count;
}

async function expectSound(fixture: StoreFixture): Promise<void> {
  fixture.disk.before = undefined;
  expect(await faultsAtRest(fixture)).toEqual([]);
}

/** After a fault and the time that a volume is left alone, everything works again. */
async function expectRecovered(fixture: StoreFixture): Promise<void> {
  const { store, clock } = fixture;
  clock.advance(10_000);
  expect(await keep(store, id, info, testSegments(id, info))).toBe(true);
  expect(areTestBytes(await readBlock(store, id, 0, BLOCK), 0, BLOCK)).toBe(true);
  expect(store.status().volumes[0]!.state).toBe("ok");
  await expectSound(fixture);
  await store.close();
}

async function stepsOf(
  write: (store: BlockStore) => Promise<boolean>,
  before?: (store: BlockStore) => Promise<unknown>,
): Promise<number> {
  const { store, disk } = await openStore();
  await before?.(store);
  const count = failAt(disk, "", () => false);
  expect(await write(store)).toBe(true);
  const steps = count();
  await store.close();
  return steps;
}

describe.each(codes)("a disk that answers %s", (code) => {
  it("at any step of a new block's write leaves no trace of it", async () => {
    const write = (store: BlockStore): Promise<boolean> => keep(store, id, info, testSegments(id, info, [0, 3]));
    const steps = await stepsOf(write);
    // Its directory, the file, two runs of segments, the footer.
    expect(steps).toBe(5);
    for (let step = 0; step < steps; step++) {
      const fixture = await openStore();
      failAt(fixture.disk, code, (count) => count === step);
      expect(await write(fixture.store)).toBe(false);
      expect(fixture.disk.paths()).toEqual([]);
      await expectSound(fixture);
      await expectRecovered(fixture);
    }
  });

  it("at any step of a write of more segments leaves the segments cached before, or none, and no wrong byte", async () => {
    const first = (store: BlockStore): Promise<boolean> => keep(store, id, info, testSegments(id, info, [0, 3]));
    const more = (store: BlockStore): Promise<boolean> => keep(store, id, info, testSegments(id, info, [1, 2]));
    const steps = await stepsOf(more, first);
    for (let step = 0; step < steps; step++) {
      const fixture = await openStore();
      await first(fixture.store);
      failAt(fixture.disk, code, (count) => count === step);
      const kept = await more(fixture.store);
      // The last step closes the file: all is written then.
      expect(kept).toBe(step === steps - 1);
      const cached = await readBlock(fixture.store, id, 0, 8192);
      expect(cached === undefined || areTestBytes(cached, 0, 8192)).toBe(true);
      await expectSound(fixture);
      await expectRecovered(fixture);
    }
  });

  it("permanently from some step on affects neither the read nor other blocks", async () => {
    const write = (store: BlockStore): Promise<boolean> => keep(store, id, info, testSegments(id, info, [0, 3]));
    const steps = await stepsOf(write, (store) => keep(store, other, info, testSegments(other, info)));
    for (let step = 0; step < steps; step++) {
      const fixture = await openStore();
      const { store, disk, clock } = fixture;
      await keep(store, other, info, testSegments(other, info));
      await readBlock(store, other, 0, 1);
      failAt(disk, code, (count, operation) => count >= step && operation !== "read");
      expect(await write(store)).toBe(false);
      expect(await keep(store, id, info, testSegments(id, info, [5]))).toBe(false);
      expect(areTestBytes(await readBlock(store, other, 0, BLOCK), 0, BLOCK)).toBe(true);
      disk.before = undefined;
      clock.advance(10_000);
      await new Promise(setImmediate);
      await expectSound(fixture);
      await expectRecovered(fixture);
    }
  });
});

describe("a volume", () => {
  it.each([
    ["EIO", "failing"],
    ["EROFS", "failing"],
    ["EACCES", "failing"],
    ["ENOSPC", "full"],
    ["EMFILE", "ok"],
  ])("has after %s the state %s, and is tried again after a while", async (code, state) => {
    const { store, disk, clock } = await openStore();
    failAt(disk, code, (_count, operation) => operation === "write");
    await keep(store, id, info, testSegments(id, info, [0]));
    expect(store.status().volumes[0]!.state).toBe(state);
    const count = failAt(disk, code, () => false);
    clock.advance(9_999);
    expect((await keep(store, id, info, testSegments(id, info, [0]))) || count() === 0 || state === "full").toBe(true);
    disk.before = undefined;
    clock.advance(1);
    expect(await keep(store, id, info, testSegments(id, info, [0]))).toBe(true);
    await store.close();
  });

  it("that fails caches nothing more, while another one caches new blocks", async () => {
    const { store, disk } = await openStore({ volumes: [{ path: "/a" }, { path: "/b" }] });
    await keep(store, id, info, testSegments(id, info, [0]));
    expect(store.status().volumes.map((volume) => volume.blocks)).toEqual([1, 0]);
    disk.before = (operation, path) => {
      if (operation === "write" && path.startsWith("/a")) throw systemError("EIO", path);
      return undefined;
    };
    expect(await keep(store, id, info, testSegments(id, info, [1]))).toBe(false);
    expect(await store.reserve(id, 1)).toBeUndefined();
    expect(await keep(store, other, info, testSegments(other, info))).toBe(true);
    expect(store.status().volumes.map(({ blocks, state }) => ({ blocks, state }))).toEqual([
      { blocks: 1, state: "failing" },
      { blocks: 1, state: "ok" },
    ]);
    await store.close();
  });

  it("survives the removal of its directory", async () => {
    const fixture = await openStore();
    const { store, disk } = fixture;
    await keep(store, id, info, testSegments(id, info));
    disk.removeDirectory("/cache");
    // The open file has its bytes still. The missing directory is found when the next block of that directory is written.
    expect(areTestBytes(await readBlock(store, id, 0, BLOCK), 0, BLOCK)).toBe(true);
    expect(await keep(store, other, info, testSegments(other, info))).toBe(true);
    await store.evict({ url: id.url });
    expect(await keep(store, id, info, testSegments(id, info))).toBe(false);
    await expectSound(fixture);
    await expectRecovered(fixture);
  });

  it("with a hung disk fails running operations at their time limit, and further ones immediately", async () => {
    const fixture = await openStore({ maxMappings: 1 });
    const { store, disk, clock } = fixture;
    await keep(store, id, info, testSegments(id, info));
    await keep(store, other, info, testSegments(other, info));
    let release = (): void => undefined;
    const released = new Promise<undefined>((resolve) => {
      release = () => resolve(undefined);
    });
    disk.before = () => released;
    const write = keep(store, testId("s3://bucket/new"), info, testSegments(testId("s3://bucket/new"), info));
    const read = readBlock(store, id, 0, BLOCK);
    await Promise.resolve();
    clock.advance(5_000);
    expect([await write, await read]).toEqual([false, undefined]);
    expect(store.status().volumes[0]!.state).toBe("failing");
    expect(await readBlock(store, other, 0, 1)).toBeUndefined();
    expect(await store.reserve(id, 1)).toBeUndefined();
    clock.advance(3_600_000);
    expect(store.status().volumes[0]!.state).toBe("failing");
    disk.before = undefined;
    release();
    await new Promise(setImmediate);
    clock.advance(10_000);
    expect(store.status().volumes[0]!.state).toBe("ok");
    expect(store.status().damages).toBe(0);
    expect(areTestBytes(await readBlock(store, other, 0, BLOCK), 0, BLOCK)).toBe(true);
    await expectRecovered(fixture);
  });
});
