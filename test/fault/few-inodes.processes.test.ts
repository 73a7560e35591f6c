import type { CacheClient } from "@frontcache/client";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MemberInProcess } from "../e2e/member-in-process.js";
import { connectClient } from "../e2e/member-process.js";
import { S3Emulator } from "../emulators/s3.js";
import { scrape, sumOf } from "../metrics/scrape.js";
import { mayMount, SmallDisk } from "./small-disk.js";

const INODES = 400;
const OBJECTS = 800;
const READERS = 16;

describe.skipIf(!mayMount())("a member on a disk with 400 inodes (where a tmpfs may be mounted)", () => {
  let disk: SmallDisk;
  let origin: S3Emulator;
  let member: MemberInProcess;
  let client: CacheClient;

  beforeEach(async () => {
    disk = new SmallDisk(256 << 20, INODES);
    origin = await S3Emulator.start();
    for (let object = 0; object < OBJECTS; object++) origin.putRamp("bucket", `small-${object}`, 1_000);
    const flags = ["--purge-interval", "200ms"];
    member = await MemberInProcess.start({ endpoint: origin.endpoint, cacheDirectory: disk.path, ownDisk: true, flags });
    client = await connectClient({ endpoint: member.grpc });
  });

  afterEach(async () => {
    await client?.close();
    const exitCode = await member?.stop();
    await origin?.close();
    disk?.[Symbol.dispose]();
    expect(exitCode).toBe(0);
  });

  it("caches small objects without end, and leaves 15 % of the bytes and of the inodes to others", async () => {
    let next = 0;
    const read = async (): Promise<void> => {
      while (next < OBJECTS) await client.readRange(`s3://bucket/small-${next++}`, 0, 1_000);
    };
    await Promise.all(Array.from({ length: READERS }, read));
    await expect.poll(() => disk.freeShares.inodes).toBeGreaterThanOrEqual(0.15);
    expect(disk.freeShares.bytes).toBeGreaterThanOrEqual(0.15);
    expect(member.log.filter(({ event }) => event === "volume-failed")).toEqual([]);
    const last = `s3://bucket/small-${OBJECTS - 1}`;
    // A read whose file does not fit, because the purger has not yet made room, is not cached; a later read is.
    const readAgain = async (): Promise<number> => {
      await client.readRange(last, 0, 1_000);
      return (await client.stat(last)).cachedBytes;
    };
    await expect.poll(readAgain).toBe(1_000);
    await expect.poll(() => member.log.findLast(({ event }) => event === "purged")).toMatchObject({ reasons: ["inodes"] });
    const free = async (): Promise<number> => sumOf(await scrape(member.http), "frontcache_volume_free_files");
    await expect.poll(free).toBeLessThan(INODES);
  });
});
