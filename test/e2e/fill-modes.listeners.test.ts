import { join } from "node:path";
import type { CacheClient } from "@frontcache/client";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { seededRandom } from "../seeded-random.js";
import { MemberInProcess } from "./member-in-process.js";
import { connectClient, temporaryDirectory } from "./member-process.js";

const KiB = 1 << 10;
const MiB = 1 << 20;

/** Four blocks. */
const LARGE_BYTES = 64 * MiB;

let origin: S3Emulator;
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
/** One member for each fill mode. */
const members = new Map<string, { readonly member: MemberInProcess; readonly client: CacheClient }>();
let objects = 0;

beforeAll(async () => {
  origin = await S3Emulator.start();
  directory = await temporaryDirectory();
  const started = ["wanted", "auto", "whole"].map(async (mode) => {
    const cacheDirectory = join(directory.path, mode);
    const member = await MemberInProcess.start({ endpoint: origin.endpoint, cacheDirectory, flags: ["--fill", mode] });
    members.set(mode, { member, client: await connectClient({ endpoint: member.grpc }) });
  });
  await Promise.all(started);
});

afterAll(async () => {
  for (const { member, client } of members.values()) {
    await client.close();
    expect(await member.stop()).toBe(0);
  }
  await origin?.close();
  await directory?.[Symbol.asyncDispose]();
});

beforeEach(() => origin.traffic.reset());

/** Puts a new object, and returns it with the client of the member in a fill mode. */
function put(mode: string, bytes: number, seed: number): { client: CacheClient; url: string; version: string } {
  const key = `object-${objects++}`;
  return { client: members.get(mode)!.client, url: `s3://bucket/${key}`, version: origin.putRamp("bucket", key, bytes, seed) };
}

describe("the bytes fetched for a read", () => {
  it("are at most 260 times the bytes of random 4 KiB reads, three of each block, with --fill wanted", async () => {
    const [bytes, reads] = [40 * 16 * MiB, 120];
    const { client, url, version } = put("wanted", bytes, 3);
    const random = seededRandom(7);
    const read = async (): Promise<void> => {
      const offset = Math.floor(random() * (bytes - 4 * KiB));
      const read = await client.readRange(url, offset, 4 * KiB, version);
      expect(read.equals(rampBytes(offset, 4 * KiB, 3))).toBe(true);
    };
    for (let round = 0; round < reads / 20; round++) await Promise.all(Array.from({ length: 20 }, read));
    expect(origin.traffic.bytesSent).toBeLessThanOrEqual(260 * reads * 4 * KiB);
  });

  it.each(["wanted", "auto", "whole"])(
    "are fetched once, in GETs of 4 MiB or more, for a sequential read with --fill %s",
    async (mode) => {
      const { client, url } = put(mode, LARGE_BYTES, 5);
      for (let at = 0; at < LARGE_BYTES; at += 8 * MiB) {
        const bytes = await client.readRange(url, at, 8 * MiB);
        expect(bytes.equals(rampBytes(at, 8 * MiB, 5))).toBe(true);
      }
      expect(origin.traffic.bytesSent).toBe(LARGE_BYTES);
      expect(origin.traffic.gets.length).toBeLessThanOrEqual(LARGE_BYTES / (4 * MiB));
    },
  );

  it.each([
    { mode: "wanted", reads: 2, blocks: 0 },
    { mode: "auto", reads: 1, blocks: 0 },
    { mode: "auto", reads: 2, blocks: 1 },
    { mode: "whole", reads: 1, blocks: 1 },
  ])("include the rest of the block after $reads small reads with --fill $mode: $blocks", async ({ mode, reads, blocks }) => {
    const { client, url, version } = put(mode, 16 * MiB, 9);
    for (let i = 0; i < reads; i++) await client.readRange(url, i * 5 * MiB, KiB, version);
    const expected = blocks === 1 ? 16 * MiB : reads * MiB;
    await expect.poll(() => origin.traffic.bytesSent).toBe(expected);
    if (blocks === 0) return;
    await expect.poll(async () => (await client.stat(url, version)).cachedBytes).toBe(16 * MiB);
  });
});
