import { FOOTER_BYTES, MAX_OBJECT_HEADERS_LENGTH, type ObjectInfo } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
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
import { storageTuning } from "./storage-tuning.js";

const BLOCK = testGeometry.blockBytes;
const url = "s3://bucket/key";
const SIZE = 3 * BLOCK;
const ids = [0, 1, 2].map((block) => testId(url, block * BLOCK));
const lacking: ObjectInfo = { ...testInfo(SIZE), lacks: "metadata" };

/** An object with this many bytes of headers. */
function withHeaders(length: number, value = "v"): ObjectInfo {
  const name = "x-amz-meta-a: ";
  return { ...testInfo(SIZE), headers: `${name}${value.repeat(length - name.length - 2)}\r\n` };
}

async function keepAll(store: BlockStore, info: ObjectInfo): Promise<void> {
  for (const id of ids) expect(await keep(store, id, info, testSegments(id, info, [0, 1]))).toBe(true);
}

/** What the store says of the object, by each cached block. */
function infosOf(store: BlockStore): (ObjectInfo | undefined)[] {
  return ids.map((id) => {
    const pin = store.pin(id);
    pin?.release();
    return pin?.info;
  });
}

/** The store that a later process opens, after a shutdown or a crash. */
async function restarted(fixture: StoreFixture): Promise<StoreFixture> {
  const disk = fixture.disk.crash();
  return openStore({ disk, clock: fixture.clock });
}

describe("the headers of an object in block files", () => {
  it.each([0, 100, 3_900, 4_100, 8_192, MAX_OBJECT_HEADERS_LENGTH])(
    "are there again after a restart: %i bytes",
    async (length) => {
      const info = length === 0 ? testInfo(SIZE) : withHeaders(length);
      const first = await openStore();
      await keepAll(first.store, info);
      expect(await faultsAtRest(first)).toEqual([]);
      const next = await restarted(first);
      expect(infosOf(next.store)).toEqual([info, info, info]);
      for (const id of ids) expect(areTestBytes(await readBlock(next.store, id, 0, 16_384), id.offset, 16_384)).toBe(true);
      expect(await faultsAtRest(next)).toEqual([]);
      await next.store.close();
    },
  );

  it("are unknown after a restart if they are long and the first block is not cached", async () => {
    const first = await openStore();
    const info = withHeaders(8_192);
    await keep(first.store, ids[1]!, info, testSegments(ids[1]!, info));
    const next = await restarted(first);
    expect(infosOf(next.store)).toEqual([undefined, lacking, undefined]);
    await next.store.close();
  });

  it("are replaced for all blocks at once, and in the first block's file", async () => {
    for (const before of [100, 8_192]) {
      for (const after of [100, 4_100, MAX_OBJECT_HEADERS_LENGTH]) {
        const fixture = await openStore();
        await keepAll(fixture.store, withHeaders(before));
        fixture.store.describe(url, withHeaders(after, "w"));
        expect(infosOf(fixture.store)).toEqual(ids.map(() => withHeaders(after, "w")));
        expect(await faultsAtRest(fixture)).toEqual([]);
        const next = await restarted(fixture);
        expect(infosOf(next.store)).toEqual(ids.map(() => withHeaders(after, "w")));
        expect(await faultsAtRest(next)).toEqual([]);
        await next.store.close();
      }
    }
  });

  it("replace those of a file of format 1 that gets more segments", async () => {
    const first = await openStore();
    await keepAll(first.store, lacking);
    expect(infosOf(first.store)).toEqual([lacking, lacking, lacking]);
    const next = await restarted(first);
    expect(infosOf(next.store)).toEqual([lacking, lacking, lacking]);
    const info = withHeaders(500);
    next.store.describe(url, info);
    expect(await keep(next.store, ids[1]!, info, testSegments(ids[1]!, info))).toBe(true);
    expect(await faultsAtRest(next)).toEqual([]);
    const last = await restarted(next);
    expect(infosOf(last.store)).toEqual([info, info, info]);
    expect(areTestBytes(await readBlock(last.store, ids[1]!, 0, BLOCK), BLOCK, BLOCK)).toBe(true);
    await last.store.close();
  });

  it("are not written again if nothing but the lack of checksums has changed", async () => {
    const { store, disk } = await openStore();
    await keepAll(store, { ...withHeaders(100), lacks: "checksums" });
    let writes = 0;
    disk.before = (operation) => {
      if (operation === "write") writes++;
      return undefined;
    };
    store.describe(url, withHeaders(100));
    await store.settled();
    expect([writes, infosOf(store)]).toEqual([0, ids.map(() => withHeaders(100))]);
    await store.close();
  });

  it("are known to readers even if the disk has no room for them", async () => {
    const fixture = await openStore({ volumes: [{ path: "/cache", limitBytes: 3 * (16_384 + FOOTER_BYTES) }], highWatermark: 1 });
    await keepAll(fixture.store, withHeaders(100));
    fixture.store.describe(url, withHeaders(8_192));
    expect(infosOf(fixture.store)).toEqual(ids.map(() => withHeaders(8_192)));
    expect(await faultsAtRest(fixture)).toEqual([]);
    const next = await restarted(fixture);
    expect(infosOf(next.store)).toEqual(ids.map(() => withHeaders(100)));
    await next.store.close();
  });

  it("are unknown if the memory for headers is used up, until some of it is free", async () => {
    const tuning = { ...storageTuning, headerMemoryBytes: 1_000 };
    const first = await openStore({ tuning });
    const other = testId("s3://bucket/other");
    const info = withHeaders(600);
    await keep(first.store, other, info, testSegments(other, info, [0]));
    await keepAll(first.store, info);
    expect(infosOf(first.store)).toEqual([lacking, lacking, lacking]);
    first.store.describe(url, withHeaders(600, "w"));
    expect(infosOf(first.store)).toEqual([lacking, lacking, lacking]);
    expect(await faultsAtRest(first)).toEqual([]);
    await first.store.evict({ url: other.url });
    first.store.describe(url, withHeaders(600, "w"));
    expect(infosOf(first.store)).toEqual(ids.map(() => withHeaders(600, "w")));
    expect(await faultsAtRest(first)).toEqual([]);
    const next = await openStore({ disk: first.disk.crash(), clock: first.clock, tuning: { ...tuning, headerMemoryBytes: 599 } });
    expect(infosOf(next.store)).toEqual([lacking, lacking, lacking]);
    await next.store.close();
  });

  it("cost the first block its file if they cannot be written", async () => {
    const fixture = await openStore();
    await keepAll(fixture.store, withHeaders(100));
    fixture.disk.before = (operation, path) => {
      if (operation === "write") throw systemError("EIO", path);
      return undefined;
    };
    fixture.store.describe(url, withHeaders(8_192));
    await fixture.store.settled();
    fixture.disk.before = undefined;
    expect(await faultsAtRest(fixture)).toEqual([]);
    expect(infosOf(fixture.store)).toEqual([undefined, withHeaders(8_192), withHeaders(8_192)]);
    await fixture.store.close();
  });

  it("are the old ones, the new ones or unknown if the process dies while they are written, and the bytes are there", async () => {
    const [before, after] = [withHeaders(5_000), withHeaders(9_000, "w")];
    for (let step = 0, died = true; died; step++) {
      const fixture = await openStore();
      await keepAll(fixture.store, before);
      let count = 0;
      died = false;
      fixture.disk.before = (operation) => {
        if (count++ !== step) return undefined;
        died = true;
        // Half of the footer is on the disk.
        return operation === "write" ? 2_000 : new Promise(() => undefined);
      };
      fixture.store.describe(url, after);
      for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate);
      const next = await restarted(fixture);
      const [info] = infosOf(next.store);
      if (info !== undefined) expect([before, after, lacking]).toContainEqual(info);
      for (const id of ids.slice(1))
        expect(areTestBytes(await readBlock(next.store, id, 0, 16_384), id.offset, 16_384)).toBe(true);
      expect(await faultsAtRest(next)).toEqual([]);
      await next.store.close();
    }
  });
});
