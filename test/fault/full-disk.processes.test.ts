import type { CacheClient } from "@frontcache/client";
import { eventually } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MemberInProcess } from "../e2e/member-in-process.js";
import { connectClient } from "../e2e/member-process.js";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { mayMount, SmallDisk } from "./small-disk.js";
import { volumeFiles } from "./volume-files.js";
import { ticks, volumeReports } from "./volume-report.js";

const MiB = 1 << 20;
const DISK_BYTES = 64 * MiB;
const OBJECT_BYTES = 10 * DISK_BYTES;
const READERS = 8;
/** A purge may evict at most one file more than necessary: a block with its footer. */
const FILE_BYTES = MiB + 4096;
const FLAGS = [
  "--block-size",
  "1MiB",
  "--part-size",
  "1MiB",
  "--purge-interval",
  "200ms",
  "--fill-memory",
  "32MiB",
  "--log-level",
  "debug",
  "--keep-free",
  "0",
];

describe.skipIf(!mayMount())("a member on a disk of 64 MiB (where a tmpfs may be mounted)", () => {
  let disk: SmallDisk;
  let origin: S3Emulator;
  let member: MemberInProcess;
  let client: CacheClient;
  let version: string;

  beforeEach(async () => {
    disk = new SmallDisk(DISK_BYTES);
    origin = await S3Emulator.start();
    version = origin.putRamp("bucket", "large", OBJECT_BYTES, 5);
    member = await MemberInProcess.start({ endpoint: origin.endpoint, cacheDirectory: disk.path, ownDisk: true, flags: FLAGS });
    client = await connectClient({ endpoint: member.grpc });
  });

  afterEach(async () => {
    await client?.close();
    const exitCode = await member?.stop();
    await origin?.close();
    disk?.[Symbol.dispose]();
    expect(exitCode).toBe(0);
  });

  /** Reads from `start` to `end` in reads of 1 MiB, eight concurrently; rejects if a read fails or is wrong. */
  async function readThrough(start: number, end: number): Promise<void> {
    let next = start;
    const reader = async (): Promise<void> => {
      for (let at = next; at < end; at = next) {
        next += MiB;
        const bytes = await client.readRange("s3://bucket/large", at, MiB, version);
        if (!bytes.equals(rampBytes(at, bytes.length, 5))) throw new Error(`wrong bytes at ${at}`);
      }
    };
    await Promise.all(Array.from({ length: READERS }, reader));
  }

  it("serves ten times its size without a failed read, and settles between the watermarks", async () => {
    await readThrough(0, OBJECT_BYTES);
    // The last blocks may still be written, and evicted, after their bytes were read.
    await eventually(async () => {
      const { usedBytes, reservedBytes, limitBytes } = await ticks(member, 1);
      expect([reservedBytes, limitBytes]).toEqual([0, DISK_BYTES]);
      expect(disk.usedBytes).toBeLessThanOrEqual(0.95 * DISK_BYTES);
      expect(disk.usedBytes).toBeGreaterThan(0.9 * DISK_BYTES - FILE_BYTES);
      expect(volumeFiles(disk.path)).toMatchObject({ allocatedBytes: usedBytes });
    });
    expect(member.log.filter((entry) => entry.event === "volume-failed")).toEqual([]);
    for (const report of volumeReports(member)) expect(report.usedBytes).toBeLessThanOrEqual(report.limitBytes);
  });

  it("fails no read while another program fills the disk, and caches blocks again afterwards", async () => {
    await readThrough(0, DISK_BYTES);
    let at = DISK_BYTES;
    // The other program also takes the space that the purger releases.
    for (let blocks = 1; blocks > 0; at += 8 * MiB) {
      disk.fillUp();
      await readThrough(at, at + 8 * MiB);
      ({ blocks } = await ticks(member, 1));
    }
    await eventually(() => {
      disk.fillUp();
      expect(disk.usedBytes).toBe(DISK_BYTES);
    });
    await readThrough(at, at + 8 * MiB);
    disk.clearUp();
    // Until the member has noticed the free space, reads pass the full volume uncached.
    await eventually(async () => {
      origin.traffic.reset();
      await readThrough(0, DISK_BYTES / 2);
      expect(origin.traffic.gets).toEqual([]);
    });
    await eventually(async () => {
      const { usedBytes } = await ticks(member, 1);
      expect(volumeFiles(disk.path)).toMatchObject({ allocatedBytes: usedBytes });
    });
  });
});
