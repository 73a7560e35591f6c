import type { CacheClient } from "@frontcache/client";
import { describe, expect, it } from "vitest";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { seededRandom } from "../seeded-random.js";
import { connectClient, MemberProcess, temporaryDirectory } from "./member-process.js";

const KiB = 1 << 10;
const MiB = 1 << 20;

/** Four blocks. */
const LARGE_BYTES = 64 * MiB;

/** Runs `work` with a new member in a fill mode. */
async function withMember(mode: string, work: (client: CacheClient, origin: S3Emulator) => Promise<void>): Promise<void> {
  await using origin = await S3Emulator.start();
  await using directory = await temporaryDirectory();
  await using member = await MemberProcess.start({
    endpoint: origin.endpoint,
    cacheDirectory: directory.path,
    flags: ["--fill", mode],
  });
  await using client = await connectClient({ endpoint: member.grpc });
  await work(client, origin);
}

describe("the bytes fetched for a read", () => {
  it("are at most 260 times the bytes of random 4 KiB reads, three of each block, with --fill wanted", async () => {
    await withMember("wanted", async (client, origin) => {
      const [bytes, reads] = [40 * 16 * MiB, 120];
      const version = origin.putRamp("bucket", "large", bytes, 3);
      const random = seededRandom(7);
      const read = async (): Promise<void> => {
        const offset = Math.floor(random() * (bytes - 4 * KiB));
        const read = await client.readRange("s3://bucket/large", offset, 4 * KiB, version);
        expect(read.equals(rampBytes(offset, 4 * KiB, 3))).toBe(true);
      };
      for (let round = 0; round < reads / 20; round++) await Promise.all(Array.from({ length: 20 }, read));
      expect(origin.traffic.bytesSent).toBeLessThanOrEqual(260 * reads * 4 * KiB);
    });
  });

  it.each(["wanted", "auto", "whole"])(
    "are fetched once, in GETs of 4 MiB or more, for a sequential read with --fill %s",
    async (mode) => {
      await withMember(mode, async (client, origin) => {
        origin.putRamp("bucket", "large", LARGE_BYTES, 5);
        for (let at = 0; at < LARGE_BYTES; at += 8 * MiB) {
          const bytes = await client.readRange("s3://bucket/large", at, 8 * MiB);
          expect(bytes.equals(rampBytes(at, 8 * MiB, 5))).toBe(true);
        }
        expect(origin.traffic.bytesSent).toBe(LARGE_BYTES);
        expect(origin.traffic.gets.length).toBeLessThanOrEqual(LARGE_BYTES / (4 * MiB));
      });
    },
  );

  it.each([
    { mode: "wanted", reads: 2, blocks: 0 },
    { mode: "auto", reads: 1, blocks: 0 },
    { mode: "auto", reads: 2, blocks: 1 },
    { mode: "whole", reads: 1, blocks: 1 },
  ])("include the rest of the block after $reads small reads with --fill $mode: $blocks", async ({ mode, reads, blocks }) => {
    await withMember(mode, async (client, origin) => {
      const version = origin.putRamp("bucket", "object", 16 * MiB, 9);
      for (let i = 0; i < reads; i++) await client.readRange("s3://bucket/object", i * 5 * MiB, KiB, version);
      const expected = blocks === 1 ? 16 * MiB : reads * MiB;
      await expect.poll(() => origin.traffic.bytesSent).toBe(expected);
      if (blocks === 0) return;
      await expect.poll(async () => (await client.stat("s3://bucket/object", version)).cachedBytes).toBe(16 * MiB);
    });
  });
});
