import { CacheError, parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { bucketPatterns } from "../config/bucket-pattern.js";
import type { ReadRequest } from "../routing/cache.js";
import { Authorization } from "../security/grants/authorization.js";
import { ANONYMOUS } from "../security/principal.js";
import type { EvictSelector } from "../storage/storage-report.js";
import { MemoryCache } from "../testing/memory-cache.js";
import { authorized } from "./authorized-cache.js";

const requested = { principal: ANONYMOUS, signal: new AbortController().signal };
const denied = { code: "PERMISSION_DENIED" };

function fixture(allowed: string) {
  const memory = new MemoryCache();
  for (const url of ["s3://lake/k", "s3://lake-2/k", "s3://logs-1/k"]) memory.objects.set(url, Buffer.from("bytes"));
  const cache = authorized(new Authorization({ buckets: bucketPatterns.parse(allowed), grants: () => undefined }))(memory);
  const read = (url: string, by: Partial<ReadRequest> = {}) => {
    const range = { offset: 0, length: 1, forwarded: false, cachedOnly: false };
    return cache.open({ ref: parseObjectUrl(url), ...range, ...requested, ...by });
  };
  const stat = (url: string) => cache.ask({ kind: "stat", ref: parseObjectUrl(url), version: undefined, ...requested });
  const evict = (selector: EvictSelector) => cache.ask({ kind: "evict", selector, forwarded: false, ...requested });
  return { memory, cache, read, stat, evict };
}

describe("allowed buckets", () => {
  it("can be read, and others cannot, cached or not, forwarded or not", async () => {
    const { memory, read } = fixture("s3://lake,s3://logs-*");
    (await read("s3://lake/k")).close();
    (await read("s3://logs-1/k")).close();
    memory.requests.length = 0;
    for (const url of ["s3://lake-2/k", "gs://lake/k", "s3://log/k"]) expect(() => read(url)).toThrow(/is not served here/);
    expect(() => read("s3://lake-2/k", { forwarded: true, cachedOnly: true })).toThrow(expect.objectContaining(denied));
    expect(memory.requests).toEqual([]);
  });

  it("are listed, and others are not; by their names if the origin refuses", async () => {
    const ref = { url: "s3://", scheme: "s3", bucket: "" } as const;
    const list = async ({ memory, cache }: ReturnType<typeof fixture>, names?: string[]) => {
      if (names === undefined) memory.beforeAnswer = () => Promise.reject(new CacheError("PERMISSION_DENIED", "no"));
      memory.bucketList = { buckets: (names ?? []).map((name) => ({ name })), owner: { id: "me" } };
      return cache.ask({ kind: "listBuckets", ref, ...requested });
    };
    const mixed = "s3://lake,s3://logs-*,gs://other";
    expect(await list(fixture(mixed), ["lake", "lake-2", "logs-1"])).toEqual({
      buckets: [{ name: "lake" }, { name: "logs-1" }],
      owner: { id: "me" },
    });
    expect((await list(fixture(mixed))).buckets).toEqual([{ name: "lake" }]);
    await expect(list(fixture("s3://logs-*"))).rejects.toMatchObject(denied);
  });

  it("can be queried, and others cannot", async () => {
    const { stat } = fixture("s3://lake");
    expect((await stat("s3://lake/k")).info.objectSize).toBe(5);
    await expect(stat("s3://lake-2/k")).rejects.toMatchObject(denied);
  });

  it("can be listed, and others cannot, and their existence is not revealed", async () => {
    const { memory, cache } = fixture("s3://lake");
    const page = { delimiter: "", maxKeys: 10 };
    const list = (url: string) => cache.ask({ kind: "list", ref: parsePrefixUrl(url), page, ...requested });
    const statBucket = (url: string) => cache.ask({ kind: "statBucket", ref: parsePrefixUrl(url), ...requested });
    await list("s3://lake/a");
    await statBucket("s3://lake");
    await expect(list("s3://lake-2/a")).rejects.toMatchObject(denied);
    await expect(statBucket("s3://lake-2")).rejects.toMatchObject(denied);
    expect(memory.lists).toHaveLength(1);
  });

  it("can be evicted from, and a prefix that includes other buckets is rejected", async () => {
    const { memory, evict } = fixture("s3://lake,s3://logs-*");
    await evict({ url: "s3://lake/k" });
    await evict({ prefix: "s3://lake/" });
    await evict({ prefix: "s3://logs-" });
    expect(memory.evictions).toHaveLength(3);
    for (const prefix of ["s3://", "s3://lake", "s3://log", "gs://"])
      await expect(evict({ prefix })).rejects.toMatchObject(denied);
    await expect(evict({ url: "s3://lake-2/k" })).rejects.toMatchObject(denied);
    expect(memory.evictions).toHaveLength(3);
  });

  it("are named in the error for other buckets, at bounded length", async () => {
    const { evict } = fixture("s3://lake");
    const short = { message: expect.stringMatching(/^s3:\/\/lake-2\/k: access denied: the bucket is not served here: ask for /) };
    await expect(evict({ prefix: "s3://lake-2/k" })).rejects.toMatchObject(short);
    for (const prefix of [`s3://${"b".repeat(100_000)}`, `s3://lake-2/${"k".repeat(100_000)}`]) {
      const error: Error = await evict({ prefix }).then(
        () => expect.unreachable(),
        (thrown) => thrown,
      );
      expect(error.message).toMatch(/\.\.\..* is not served here: ask for /);
      expect(error.message.length).toBeLessThan(2_800);
    }
  });

  it("are all buckets by default", () => {
    const memory = new MemoryCache();
    expect(authorized(new Authorization({ buckets: undefined, grants: () => undefined }))(memory)).toBe(memory);
  });

  it("can be warmed, and others cannot, by name, by prefix or by block", async () => {
    const { memory, cache } = fixture("s3://lake");
    const warm = (url: string, prefix: string) => {
      const objects = { objects: [{ ref: parseObjectUrl(url) }], prefixes: [parsePrefixUrl(prefix)] };
      return cache.ask({ kind: "warm", ...objects, concurrency: 1, dryRun: false, report: async () => {}, ...requested });
    };
    await warm("s3://lake/k", "s3://lake/");
    await expect(warm("s3://other/k", "s3://lake/")).rejects.toMatchObject(denied);
    await expect(warm("s3://lake/k", "s3://other/")).rejects.toMatchObject(denied);
    const block = { version: undefined, blockOffset: 0, objectSize: undefined, dryRun: false, ...requested };
    await expect(cache.ask({ kind: "warmBlock", ref: parseObjectUrl("s3://other/k"), ...block })).rejects.toMatchObject(denied);
    expect([memory.warmings.length, memory.warmedBlocks.length]).toEqual([1, 0]);
  });

  it("can be touched, and blocks of others cannot", async () => {
    const { memory, cache } = fixture("s3://lake");
    const blocks = ["s3://lake/k", "s3://lake-2/k"].map((url) => ({ url, version: "v1", offset: 0 }));
    expect(await cache.ask({ kind: "touch", blocks, ...requested })).toBe(1);
    expect(memory.touched).toEqual([blocks[0]]);
  });
});
