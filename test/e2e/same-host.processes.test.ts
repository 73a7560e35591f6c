import { statSync, utimesSync } from "node:fs";
import { open } from "node:fs/promises";
import { blockDigest, blockPath } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { MemberInProcess } from "./member-in-process.js";
import { connectClient, MemberProcess, temporaryDirectory } from "./member-process.js";

const MiB = 1 << 20;

const BLOCK = 16 * MiB;
/** Two blocks. */
const SIZE = BLOCK + MiB + 17;
const SEED = 5;

/** An object for each test, because the tests change its block files. */
const KEYS = ["still", "current", "recent", "evicted", "damaged"] as const;

describe("a client on the member's host that mounts its volume", () => {
  let origin: S3Emulator;
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let member: MemberProcess;
  const versions = new Map<string, string>();

  beforeAll(async () => {
    origin = await S3Emulator.start();
    directory = await temporaryDirectory();
    const flags = ["--fill", "whole", "--purge-interval", "1s"];
    const options = { endpoint: origin.endpoint, cacheDirectory: directory.path, flags };
    {
      await using filling = await MemberInProcess.start(options);
      await using client = await connectClient({ endpoint: filling.grpc });
      for (const key of KEYS) {
        const version = origin.putRamp("bucket", key, SIZE, SEED);
        versions.set(key, version);
        const url = `s3://bucket/${key}`;
        await client.readRange(url, 0, SIZE, version);
        await eventually(async () => expect((await client.stat(url, version)).cachedBytes).toBe(SIZE));
      }
    }
    member = await MemberProcess.start(options);
  });
  afterAll(async () => {
    await member?.stop();
    await origin?.close();
    await directory?.[Symbol.asyncDispose]();
  });

  /** Returns an object that is cached in two block files, and a client that reads them. */
  async function openCached(key: (typeof KEYS)[number]) {
    const [url, version] = [`s3://bucket/${key}`, versions.get(key)!];
    const client = await connectClient({ endpoint: member.grpc, localVolumes: ["/nowhere", directory.path] });
    origin.traffic.reset();
    return {
      client,
      url,
      version,
      size: SIZE,
      bytes: (offset: number, length: number) => rampBytes(offset, length, SEED),
      /** Paths of the block files. */
      files: [0, BLOCK].map((offset) => blockPath(directory.path, blockDigest({ url, version, offset }, BLOCK))),
      [Symbol.asyncDispose]: () => client.close(),
    };
  }

  it("reads and streams cached bytes from the files while the member is stopped", async () => {
    await using cached = await openCached("still");
    const { client, url, version, size, bytes } = cached;
    process.kill(member.pid, "SIGSTOP");
    try {
      const into = Buffer.alloc(size);
      const whole = await client.readRange(url, 0, size, version, { into });
      expect([whole.buffer === into.buffer, whole.equals(bytes(0, size))]).toEqual([true, true]);
      // The first reads of a segment use the thread pool, later small reads do not. All must return the same bytes.
      for (const [offset, length] of [
        [0, 1],
        [4_095, 65_536],
        [16 * MiB - 1_000, 2_000],
        [size - 5, 100],
      ] as const) {
        const expected = bytes(offset, Math.min(length, size - offset));
        expect((await client.readRange(url, offset, length, version)).equals(expected)).toBe(true);
      }
      expect(
        Buffer.concat(await client.stream(url, 1_000, undefined, version).toArray()).equals(bytes(1_000, size - 1_000)),
      ).toBe(true);
    } finally {
      process.kill(member.pid, "SIGCONT");
    }
    expect(client.localReads()).toMatchObject({ reads: 9, openFiles: 2 });
    expect(origin.traffic.requests).toEqual({});
    await client.close();
    expect(client.localReads().openFiles).toBe(0);
  });

  it("asks the member for the current version, for missing bytes, and past the object's end", async () => {
    await using cached = await openCached("current");
    const { client, url, version, size, bytes } = cached;
    expect((await client.readRange(url, 5, 10)).equals(bytes(5, 10))).toBe(true);
    expect(client.localReads().reads).toBe(0);
    await expect(client.readRange(url, size, 10, version)).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    const other = origin.putRamp("bucket", "elsewhere", 1_000, 6);
    expect((await client.readRange("s3://bucket/elsewhere", 0, 1_000, other)).equals(rampBytes(0, 1_000, 6))).toBe(true);
    expect(client.localReads().reads).toBe(0);
  });

  it("reports its reads to the owner, which keeps the blocks recently used", async () => {
    await using cached = await openCached("recent");
    const { client, url, version, files } = cached;
    const longAgo = new Date("2001-01-01");
    for (const path of files) utimesSync(path, longAgo, longAgo);
    await client.readRange(url, 0, 10, version);
    expect(client.localReads().reads).toBe(1);
    await client.close();
    // The purger writes the last use of touched blocks into their files' times.
    const touched = (): number => files.filter((path) => statSync(path).mtimeMs > longAgo.getTime()).length;
    await expect.poll(touched, { timeout: 90_000 }).toBe(1);
  });

  it("releases the space of an evicted block, and reads the block again when it is cached again", async () => {
    await using cached = await openCached("evicted");
    const { client, url, version, size, bytes } = cached;
    await client.readRange(url, 0, size, version);
    expect(client.localReads()).toMatchObject({ reads: 2, openFiles: 2 });
    await client.evict({ url });
    await expect.poll(() => client.localReads().openFiles, { timeout: 90_000 }).toBe(0);
    expect((await client.readRange(url, 3, 70_000, version)).equals(bytes(3, 70_000))).toBe(true);
    expect(client.localReads().reads).toBe(2);
    expect(origin.traffic.requests).not.toEqual({});
  });

  it("never returns a wrong byte from a damaged file; the member fetches the segment again", async () => {
    await using cached = await openCached("damaged");
    const { client, url, version, size, bytes, files } = cached;
    for (const path of files) {
      await using file = await open(path, "r+");
      await file.write(Buffer.from("damaged"), 0, 7, 100_000);
    }
    expect((await client.readRange(url, 0, size, version)).equals(bytes(0, size))).toBe(true);
    for (let at = 0; at < size; at += 3 * MiB + 5) {
      const length = Math.min(50_000, size - at);
      expect((await client.readRange(url, at, length, version)).equals(bytes(at, length))).toBe(true);
    }
  });
});
