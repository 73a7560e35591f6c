import { parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { bucketPatterns } from "../config/bucket-pattern.js";
import { MemoryReader } from "../testing/memory-reader.js";
import { onlyAllowed } from "./allowed-reader.js";

const { signal } = new AbortController();
const denied = { code: "PERMISSION_DENIED" };

function fixture(allowed: string) {
  const memory = new MemoryReader();
  for (const url of ["s3://lake/k", "s3://lake-2/k", "s3://logs-1/k"]) memory.objects.set(url, Buffer.from("bytes"));
  const reader = onlyAllowed(memory, bucketPatterns.parse(allowed));
  const read = (url: string) =>
    reader.read({ ref: parseObjectUrl(url), offset: 0, length: 1, forwarded: false, cachedOnly: false, signal });
  const evict = (selector: { url: string } | { prefix: string }) => reader.evict({ ...selector, forwarded: false }, signal);
  return { memory, reader, read, evict };
}

describe("allowed buckets", () => {
  it("are read, and others are not, held or not, forwarded or not", async () => {
    const { memory, reader, read } = fixture("s3://lake,s3://logs-*");
    (await read("s3://lake/k")).close();
    (await read("s3://logs-1/k")).close();
    memory.requests.length = 0;
    for (const url of ["s3://lake-2/k", "gs://lake/k", "s3://log/k"]) expect(() => read(url)).toThrow(/is not served here/);
    const forwarded = { ref: parseObjectUrl("s3://lake-2/k"), offset: 0, length: 1, forwarded: true, cachedOnly: true, signal };
    expect(() => reader.read(forwarded)).toThrow(expect.objectContaining(denied));
    expect(memory.requests).toEqual([]);
  });

  it("are looked at, and others are not", async () => {
    const { reader } = fixture("s3://lake");
    expect((await reader.stat(parseObjectUrl("s3://lake/k"), undefined, signal)).info.objectSize).toBe(5);
    await expect(reader.stat(parseObjectUrl("s3://lake-2/k"), undefined, signal)).rejects.toMatchObject(denied);
  });

  it("are listed, and others are not, nor are they told to be there", async () => {
    const { memory, reader } = fixture("s3://lake");
    const page = { delimiter: "", maxKeys: 10 };
    await reader.list(parsePrefixUrl("s3://lake/a"), page, signal);
    await reader.statBucket(parsePrefixUrl("s3://lake"), signal);
    await expect(reader.list(parsePrefixUrl("s3://lake-2/a"), page, signal)).rejects.toMatchObject(denied);
    await expect(reader.statBucket(parsePrefixUrl("s3://lake-2"), signal)).rejects.toMatchObject(denied);
    expect(memory.lists).toHaveLength(1);
  });

  it("are evicted from, and a prefix that takes others in is refused", async () => {
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

  it("are named to whoever evicts others, at bounded length", async () => {
    const { evict } = fixture("s3://lake");
    const short = { message: expect.stringMatching(/^s3:\/\/lake-2\/k: s3:\/\/lake-2 is not served here: ask for /) };
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

  it("are all where none are named", () => {
    const memory = new MemoryReader();
    expect(onlyAllowed(memory, undefined)).toBe(memory);
  });

  it("are warmed, and others are not, by name, by prefix or by block", async () => {
    const { memory, reader } = fixture("s3://lake");
    const tell = async () => {};
    const warm = (url: string, prefix: string) =>
      reader.warm(
        { objects: [{ ref: parseObjectUrl(url) }], prefixes: [parsePrefixUrl(prefix)], concurrency: 1, dryRun: false, signal },
        tell,
      );
    await warm("s3://lake/k", "s3://lake/");
    await expect(warm("s3://other/k", "s3://lake/")).rejects.toMatchObject(denied);
    await expect(warm("s3://lake/k", "s3://other/")).rejects.toMatchObject(denied);
    const block = { version: undefined, blockOffset: 0, objectSize: undefined, dryRun: false, signal };
    await expect(reader.warmBlock({ ref: parseObjectUrl("s3://other/k"), ...block })).rejects.toMatchObject(denied);
    expect([memory.warmings.length, memory.warmedBlocks.length]).toEqual([1, 0]);
  });
});
