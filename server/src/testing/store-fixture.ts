import { crc32 } from "node:zlib";
import { blockLength, type Geometry, type ObjectInfo, segmentCount, segmentLength } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import type { BlockId, FilledSegment } from "../storage/block.js";
import type { BlockStore, BlockStoreOptions } from "../storage/block-store.js";
import { openTestStore } from "./member-fixture.js";
import { MemoryDisk } from "./memory-disk.js";
import { rampBytes } from "./origin/ramp.js";
import { storageFaults } from "./storage-invariants.js";

const KiB = 1 << 10;

/** Blocks of 8 segments of 8 KiB: small for fast tests, but with whole pages. */
export const testGeometry: Geometry = { blockBytes: 64 * KiB, segmentBytes: 8 * KiB };

/** Returns bytes of a test object: a ramp modulo a prime, so that any byte proves its offset. `seed` distinguishes versions. */
export function testBytes(offset: number, length: number, seed = 0): Buffer {
  return rampBytes(offset, length, seed * 17);
}

/** Returns whether bytes are those of a test object at `offset`; false for undefined. */
export function areTestBytes(bytes: Buffer | undefined, offset: number, length: number, seed = 0): boolean {
  return bytes?.equals(testBytes(offset, length, seed)) ?? false;
}

/** Returns the id of a test object's block. */
export function testId(url: string, offset = 0, version = "v1"): BlockId {
  return { url, version, offset };
}

/** Returns the metadata of a test object. */
export function testInfo(objectSize = 64 * KiB, version = "v1"): ObjectInfo {
  return { version, objectSize, contentType: "text/plain", lastModifiedMs: 1_700_000_000_000 };
}

/** Returns segments of a test object's block as a fill writes them; default: all segments of the block. */
export function testSegments(
  id: BlockId,
  info: ObjectInfo,
  indexes?: readonly number[],
  geometry: Geometry = testGeometry,
  seed = 0,
): FilledSegment[] {
  const length = blockLength(id.offset, info.objectSize, geometry);
  const all = Array.from({ length: segmentCount(length, geometry) }, (_, index) => index);
  return (indexes ?? all).map((index) => {
    const start = index * geometry.segmentBytes;
    const bytes = testBytes(id.offset + start, segmentLength(index, length, geometry), seed);
    return { index, bytes, crc: crc32(bytes) };
  });
}

/** Size of the fake disk of test stores, bytes. */
export const testDiskBytes = 2048 * KiB;

/** A store on a disk in memory, with a manual clock. */
export interface StoreFixture {
  readonly store: BlockStore;
  readonly disk: MemoryDisk;
  readonly clock: ManualClock;
}

/** Opens a store on a fake disk (default: a new one) with the options of a test. */
export async function openStore(
  options: Partial<BlockStoreOptions> & { disk?: MemoryDisk; clock?: ManualClock } = {},
): Promise<StoreFixture> {
  const clock = options.clock ?? new ManualClock();
  const disk = options.disk ?? new MemoryDisk({ totalBytes: testDiskBytes, nowMs: () => clock.nowMs() });
  const store = await openTestStore({ geometry: testGeometry, ...options, disk, clock });
  return { store, disk, clock };
}

/** Closes a store, and opens another one on what its disk has kept. */
export async function reopened(
  { store, disk, clock }: StoreFixture,
  options: Partial<BlockStoreOptions> = {},
): Promise<StoreFixture> {
  await store.close();
  return openStore({ ...options, disk: disk.crash(), clock });
}

/** Returns what is wrong with a store and its disk when nothing runs any more; empty if nothing is. */
export async function faultsAtRest({ store, disk }: StoreFixture): Promise<string[]> {
  await store.settled();
  const faults = await storageFaults(store, disk, testGeometry);
  const { usedBytes } = store.status().volumes[0]!;
  if (disk.usedBytes !== usedBytes) faults.push(`${disk.usedBytes} bytes of the disk used, ${usedBytes} counted`);
  return faults;
}

/** Reserves and writes segments, as a fill does; resolves with whether they were cached. */
export async function keep(
  store: BlockStore,
  id: BlockId,
  info: ObjectInfo,
  segments: readonly FilledSegment[],
  createdAtMs = 0,
): Promise<boolean> {
  const bytes = segments.reduce((sum, segment) => sum + segment.bytes.length, 0);
  const reservation = await store.reserve(id, bytes);
  if (reservation === undefined) return false;
  try {
    return await store.write({ id, info, createdAtMs }, segments, reservation);
  } finally {
    reservation.release();
  }
}

/** Reads a range of a block slice by slice; undefined if any of it is missing. */
export async function readBlock(store: BlockStore, id: BlockId, start: number, end: number): Promise<Buffer | undefined> {
  const pin = store.pin(id);
  if (pin === undefined) return undefined;
  const parts: Buffer[] = [];
  try {
    for (let at = start; at < end; ) {
      const slice = await pin.read(at, end);
      if (slice === undefined) return undefined;
      parts.push(Buffer.from(slice.bytes));
      at += slice.bytes.length;
      slice.release();
    }
    return Buffer.concat(parts);
  } finally {
    pin.release();
  }
}
