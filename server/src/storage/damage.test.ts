import { type BlockFooter, decodeFooter, FOOTER_BYTES } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { storageFaults } from "../testing/storage-invariants.js";
import {
  areTestBytes,
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
import type { BlockStore } from "./block-store.js";
import { systemError } from "./disk/disk.js";

const { blockBytes: BLOCK, segmentBytes: SEGMENT } = testGeometry;
const id = testId("s3://bucket/key");
const info = testInfo();

/** Writes one block and starts anew, so that nothing of it counts as checked. */
async function restarted(): Promise<Awaited<ReturnType<typeof openStore>> & { path: string }> {
  const first = await openStore();
  await keep(first.store, id, info, testSegments(id, info));
  const again = await reopened(first);
  return { ...again, path: again.disk.paths().find((path) => path.endsWith(".blk"))! };
}

/** Reads as the cache does: what is a miss is fetched and written again. Resolves to the bytes and how much was fetched. */
async function readThrough(store: BlockStore): Promise<{ bytes: Buffer; fetched: number }> {
  const bytes = testBytes(0, 0);
  const parts = [bytes];
  let fetched = 0;
  for (let at = 0; at < BLOCK; ) {
    const part = await readBlock(store, id, at, at + SEGMENT);
    if (part === undefined) {
      fetched++;
      await keep(store, id, info, testSegments(id, info, [at / SEGMENT]));
    }
    parts.push(part ?? testBytes(at, SEGMENT));
    at += SEGMENT;
  }
  return { bytes: Buffer.concat(parts), fetched };
}

describe("a damaged block file", () => {
  it("with a flipped bit in its data is a miss of only that segment, and complete after the next write", async () => {
    const { store, disk, path } = await restarted();
    disk.file(path).flipBit(2 * SEGMENT + 77, 3);
    expect(await readBlock(store, id, 2 * SEGMENT, 3 * SEGMENT)).toBeUndefined();
    expect(areTestBytes(await readBlock(store, id, 0, 2 * SEGMENT), 0, 2 * SEGMENT)).toBe(true);
    expect(store.status().damages).toBe(1);
    await store.settled();
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    expect((await readThrough(store)).fetched).toBe(1);
    expect(disk.usedBytes).toBe(store.status().volumes[0]!.usedBytes);
    expect(areTestBytes(await readBlock(store, id, 0, BLOCK), 0, BLOCK)).toBe(true);
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
  });

  it("records a dropped segment in its footer permanently, before the segment's bytes change", async () => {
    const first = await openStore();
    await keep(first.store, id, info, testSegments(id, info, [0, 1, 2]));
    const { store, disk, clock } = await reopened(first);
    const path = disk.paths().find((name) => name.endsWith(".blk"))!;
    const read = (position: number, length: number): Buffer => {
      const bytes = Buffer.alloc(length);
      disk.file(path).read(bytes, position);
      return bytes;
    };
    const footer = (): BlockFooter | undefined => decodeFooter(read(BLOCK, FOOTER_BYTES), testGeometry);
    disk.file(path).flipBit(2 * SEGMENT + 77, 3);
    const damaged = read(2 * SEGMENT, SEGMENT);
    expect(areTestBytes(await readBlock(store, id, 0, 10), 0, 10)).toBe(true);

    let goOn: () => void = () => undefined;
    const found = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const seen: boolean[] = [];
    let writesSeen = 0;
    disk.before = (operation, of) => {
      if (of === path) seen.push(footer()?.drops === 1 || read(2 * SEGMENT, SEGMENT).equals(damaged));
      // The second write is the footer behind the first fill's segment.
      return operation === "write" && ++writesSeen === 2 ? found.then(() => undefined) : undefined;
    };
    // Both writes are queued before the damage is found. The second one then brings a segment that the file still lists.
    const writes = [keep(store, id, info, testSegments(id, info, [3]))];
    await eventually(() => expect(writesSeen).toBe(2));
    writes.push(keep(store, id, info, testSegments(id, info, [2])));
    expect(await readBlock(store, id, 2 * SEGMENT, 3 * SEGMENT)).toBeUndefined();
    goOn();
    await Promise.all(writes);
    await store.settled();
    expect(new Set(seen)).toEqual(new Set([true]));
    expect(footer()).toMatchObject({ drops: 1 });
    disk.before = undefined;
    const again = await reopened({ store, disk, clock });
    expect(areTestBytes(await readBlock(again.store, id, 0, 4 * SEGMENT), 0, 4 * SEGMENT)).toBe(true);
    await keep(again.store, id, info, testSegments(id, info, [5]));
    await again.store.close();
  });

  it("has each segment verified once for any number of reads", async () => {
    const { store, disk } = await restarted();
    let bytesRead = 0;
    disk.before = (operation) => {
      if (operation === "read") bytesRead++;
      return undefined;
    };
    const reads = await Promise.all(Array.from({ length: 20 }, () => readBlock(store, id, 100, 200)));
    expect(reads.every((bytes) => areTestBytes(bytes, 100, 100))).toBe(true);
    expect(bytesRead).toBe(1 + 20);
    await store.close();
  });

  it("truncated while it is cached is a miss, is counted once, and is complete after the next read", async () => {
    const { store, disk, path } = await restarted();
    expect(areTestBytes(await readBlock(store, id, 0, BLOCK), 0, BLOCK)).toBe(true);
    disk.file(path).truncate(5 * SEGMENT + 10);
    expect(await readBlock(store, id, 5 * SEGMENT, BLOCK)).toBeUndefined();
    expect(store.pin(id)).toBeUndefined();
    expect(store.status().damages).toBe(1);
    expect((await readThrough(store)).fetched).toBe(8);
    await store.settled();
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
  });

  it("that was unlinked is a miss when it has to be opened", async () => {
    const { store, disk, path } = await restarted();
    disk.removeDirectory(path);
    expect(await readBlock(store, id, 0, BLOCK)).toBeUndefined();
    await store.settled();
    expect(store.status()).toMatchObject({ damages: 1, volumes: [{ blocks: 0, usedBytes: 0, state: "ok" }] });
    await store.close();
  });

  it.each(["EIO", "EACCES"])("that cannot be opened (%s) is a miss and is dropped", async (code) => {
    const { store, disk, clock } = await restarted();
    disk.before = (operation, path) => {
      if (operation === "open") throw systemError(code, path);
      return undefined;
    };
    expect(await readBlock(store, id, 0, BLOCK)).toBeUndefined();
    disk.before = undefined;
    await store.settled();
    clock.advance(10_000);
    expect((await readThrough(store)).fetched).toBe(8);
    expect(store.status().damages).toBe(1);
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
  });

  it("that cannot be opened for lack of descriptors is a miss and stays cached", async () => {
    const { store, disk } = await restarted();
    disk.before = (operation, path) => {
      if (operation === "open") throw systemError("EMFILE", path);
      return undefined;
    };
    expect(await readBlock(store, id, 0, BLOCK)).toBeUndefined();
    disk.before = undefined;
    expect(areTestBytes(await readBlock(store, id, 0, BLOCK), 0, BLOCK)).toBe(true);
    expect(store.status()).toMatchObject({ damages: 0, volumes: [{ state: "ok" }] });
    await store.close();
  });

  it.each([
    ["loses that segment if its bytes were not verified and sent before", false, 1],
    ["is dropped if the segment's bytes may have been sent: its file does not change any more", true, 8],
  ])("with a bad sector %s", async (_, isSent, fetched) => {
    const { store, disk, clock } = await restarted();
    if (isSent) expect(areTestBytes(await readBlock(store, id, 0, SEGMENT), 0, SEGMENT)).toBe(true);
    disk.before = (operation, path) => {
      if (operation === "read") throw systemError("EIO", path);
      return undefined;
    };
    expect(await readBlock(store, id, 0, SEGMENT)).toBeUndefined();
    disk.before = undefined;
    expect(store.status().damages).toBe(1);
    clock.advance(10_000);
    await store.settled();
    expect((await readThrough(store)).fetched).toBe(fetched);
    expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
    await store.close();
  });

  it("without any segment left is removed", async () => {
    const { store, disk, path } = await restarted();
    for (let segment = 0; segment < 8; segment++) disk.file(path).flipBit(segment * SEGMENT, 0);
    for (let segment = 0; segment < 8; segment++) expect(await readBlock(store, id, segment * SEGMENT, BLOCK)).toBeUndefined();
    await store.settled();
    expect(disk.paths()).toEqual([]);
    expect(store.status()).toMatchObject({ damages: 8, volumes: [{ blocks: 0, usedBytes: 0 }] });
    await store.close();
  });

  it("damaged between two starts never causes a wrong byte, is counted, and is complete after the next read", async () => {
    const damage = fc.oneof(
      fc.record({ kind: fc.constant("flip" as const), at: fc.nat(BLOCK + FOOTER_BYTES - 1), bit: fc.nat(7) }),
      fc.record({ kind: fc.constant("cut" as const), at: fc.nat(BLOCK + FOOTER_BYTES - 1), bit: fc.constant(0) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 3 }), async (damages) => {
        const first = await openStore();
        await keep(first.store, id, info, testSegments(id, info));
        await first.store.close();
        const disk = first.disk.crash();
        const path = disk.paths().find((name) => name.endsWith(".blk"))!;
        const before = Buffer.alloc(BLOCK + FOOTER_BYTES);
        disk.file(path).read(before, 0);
        for (const { kind, at, bit } of damages) {
          if (kind === "flip") disk.file(path).flipBit(at, bit);
          else disk.file(path).truncate(at);
        }
        const after = Buffer.alloc(BLOCK + FOOTER_BYTES);
        const isWhole = disk.file(path).read(after, 0) === after.length && after.equals(before);
        // A file without its whole footer counts as incomplete.
        const isComplete = disk.file(path).sizeBytes >= BLOCK + FOOTER_BYTES;
        const { store } = await openStore({ disk, clock: first.clock });
        expect(areTestBytes((await readThrough(store)).bytes, 0, BLOCK)).toBe(true);
        expect(store.status().damages > 0).toBe(!isWhole && isComplete);
        await store.settled();
        expect(areTestBytes(await readBlock(store, id, 0, BLOCK), 0, BLOCK)).toBe(true);
        expect(await storageFaults(store, disk, testGeometry)).toEqual([]);
        expect(disk.usedBytes).toBe(store.status().volumes[0]!.usedBytes);
        await store.close();
      }),
      { numRuns: 100 },
    );
  });
});
