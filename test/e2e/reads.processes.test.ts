import type { CacheClient } from "@frontcache/client";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { BUILT_PROGRAM, connectClient, MemberProcess, temporaryDirectory } from "./member-process.js";

const KiB = 1 << 10;
const MiB = 1 << 20;

describe("a member with a real S3 API", () => {
  let origin: S3Emulator;
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let member: MemberProcess;
  let client: CacheClient;
  let objects = 0;

  beforeAll(async () => {
    origin = await S3Emulator.start();
    directory = await temporaryDirectory();
    member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: directory.path, program: BUILT_PROGRAM });
    client = await connectClient({ endpoint: member.grpc });
  });

  afterAll(async () => {
    await client?.close();
    expect(await member?.stop()).toBe(0);
    await origin?.close();
    await directory?.[Symbol.asyncDispose]();
  });

  beforeEach(() => {
    origin.faults.clear();
    origin.traffic.reset();
  });

  /** Puts a new ramp object for a test. */
  function put(size: number, seed = ++objects): { url: string; version: string; seed: number; key: string } {
    const key = `object-${++objects}`;
    return { url: `s3://bucket/${key}`, version: origin.putRamp("bucket", key, size, seed), seed, key };
  }

  /** Returns the bytes that were requested from the origin, and whether any byte was requested twice. */
  function fetched(): { bytes: number; gets: number; twice: boolean } {
    const gets = origin.traffic.gets.filter((get) => get.status === 206).toSorted((a, b) => a.start - b.start);
    const twice = gets.some((get, i) => i > 0 && gets[i - 1]!.key === get.key && gets[i - 1]!.end > get.start);
    return { bytes: gets.reduce((sum, get) => sum + get.end - get.start, 0), gets: origin.traffic.gets.length, twice };
  }

  it("answers the second read of a range without an origin request", async () => {
    const { url, seed } = put(40 * MiB + 17);
    for (let round = 0; round < 2; round++) {
      const bytes = await client.readRange(url, 3 * MiB + 1, 30 * MiB);
      expect(bytes.equals(rampBytes(3 * MiB + 1, 30 * MiB, seed))).toBe(true);
      if (round === 0) origin.traffic.reset();
    }
    expect(origin.traffic.requests).toEqual({});
  });

  it("fetches each byte of a cold block once for 64 concurrent reads, with at most 4 GETs", async () => {
    const { url, version, seed } = put(16 * MiB);
    const expected = rampBytes(0, 16 * MiB, seed);
    const reads = Array.from({ length: 64 }, (_, i) => client.readRange(url, 0, 16 * MiB, i % 2 === 0 ? version : undefined));
    for (const bytes of await Promise.all(reads)) expect(bytes.equals(expected)).toBe(true);
    const { bytes, gets, twice } = fetched();
    expect({ bytes, twice }).toEqual({ bytes: 16 * MiB, twice: false });
    expect(gets).toBeLessThanOrEqual(4);
  });

  it("fetches no byte twice for 64 concurrent reads of overlapping ranges of a cold block", async () => {
    const { url, version, seed } = put(16 * MiB);
    const reads = Array.from({ length: 64 }, async (_, i) => {
      const offset = i * 200 * KiB;
      const length = Math.min(16 * MiB - offset, 3 * MiB + i);
      const bytes = await client.readRange(url, offset, length, version);
      expect(bytes.equals(rampBytes(offset, length, seed))).toBe(true);
    });
    await Promise.all(reads);
    expect(fetched().twice).toBe(false);
  });

  it("streams 24 blocks sequentially with an amplification of 1.00 and at most one GET per 4 MiB", async () => {
    const { url, seed } = put(384 * MiB);
    let at = 0;
    for await (const chunk of client.stream(url)) {
      const expected = rampBytes(at, chunk.length, seed);
      if (!expected.equals(chunk)) throw new Error(`wrong bytes at ${at}`);
      at += chunk.length;
    }
    expect(at).toBe(384 * MiB);
    const { bytes, gets, twice } = fetched();
    expect({ bytes, twice }).toEqual({ bytes: 384 * MiB, twice: false });
    expect(gets).toBeLessThanOrEqual(384 / 4);
  });

  it("answers invalid and unusual ranges according to the error table", async () => {
    const { url, version } = put(1000);
    const refused = (read: Promise<unknown>): Promise<string> =>
      read.then(
        () => "no error",
        (error) => error.code,
      );
    expect(await refused(client.readRange("http://bucket/key", 0, 1))).toBe("INVALID_ARGUMENT");
    expect(await refused(client.readRange("s3://b/", 0, 1))).toBe("INVALID_ARGUMENT");
    expect(await refused(client.readRange(url, 0, -1))).toBe("INVALID_ARGUMENT");
    expect(await refused(client.readRange(url, 2 ** 53, 1))).toBe("INVALID_ARGUMENT");
    expect(await refused(client.readRange(url, 1000, 1))).toBe("OUT_OF_RANGE");
    expect(await refused(client.readRange(url, 0, 10, "another"))).toBe("FAILED_PRECONDITION");
    expect(await refused(client.readRange(`${url}-missing`, 0, 1))).toBe("NOT_FOUND");
    expect(await refused(client.readRange("s3://no-such-bucket/key", 0, 1))).toBe("NOT_FOUND");
    expect(await client.readRange(url, 990, 1000, version)).toHaveLength(10);
    expect(await client.readRange(url, -10, 10, version)).toEqual(await client.readRange(url, 990, 10, version));
    expect(await client.readRange(url, 5, 0)).toHaveLength(0);
    expect(await client.readRange(url, 0, 2 ** 50)).toHaveLength(1000);
  });

  it("returns no bytes of an empty object, and OUT_OF_RANGE for any offset in it", async () => {
    origin.put("bucket", "empty", "");
    const chunks: Buffer[] = [];
    for await (const chunk of client.stream("s3://bucket/empty")) chunks.push(chunk);
    expect(Buffer.concat(chunks)).toHaveLength(0);
    await expect(client.readRange("s3://bucket/empty", 0, 1)).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    expect(await client.stat("s3://bucket/empty")).toMatchObject({ objectSize: 0 });
  });

  it.each([
    "a b",
    "100%",
    "%2F",
    "a+b",
    "a//b",
    "/leading",
    "..up/...",
    "x/../y",
    "./z",
    "日本/語",
    "q?a=b&c#d",
    "semi;colon",
    "trailing/",
  ])("reads the key %j", async (key) => {
    origin.put("bucket", key, `bytes of ${key}`);
    const expected = Buffer.from(`bytes of ${key}`);
    expect((await client.readRange(`s3://bucket/${key}`, 0, expected.length)).equals(expected)).toBe(true);
    expect(origin.traffic.gets.map((get) => get.key)).toEqual([key]);
  });

  it("returns correct bytes from an origin that resets connections, throttles and returns errors", async () => {
    const { url, seed } = put(16 * MiB);
    origin.faults.place({ error: { status: 503, code: "SlowDown" }, times: 2 });
    origin.faults.place({ body: { afterBytes: 700_000, how: "reset" }, times: 3 });
    origin.faults.place({ reset: true, times: 1 });
    const bytes = await client.readRange(url, 0, 16 * MiB);
    expect(bytes.equals(rampBytes(0, 16 * MiB, seed))).toBe(true);
  });

  it("never caches bytes of an origin that sends wrong responses", async () => {
    for (const fault of [{ range: "ignored" }, { range: "wrong" }, { version: "missing" }] as const) {
      const { url, seed } = put(6 * MiB);
      const remove = origin.faults.place(fault);
      const refused = client.readRange(url, MiB, 100, undefined, { deadlineMs: 1_000 });
      await expect(refused).rejects.toMatchObject({ name: "CacheError" });
      remove();
      expect((await client.readRange(url, MiB, 100)).equals(rampBytes(MiB, 100, seed))).toBe(true);
    }
  });
});
