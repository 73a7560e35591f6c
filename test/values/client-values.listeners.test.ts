import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FoundValue, ValueConflict, type ValueEvent, type ValueObjects } from "@frontcache/client";
import { valuesAt } from "@frontcache/client/testing";
import { eventually } from "@frontcache/proto/testing";
import { GrpcFixture, ValueListener, valueApi } from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { rampBytes } from "../emulators/s3.js";

const MiB = 1 << 20;

let listener: ValueListener | GrpcFixture;
let client: ReturnType<typeof valuesAt>;
let values: ValueObjects;

async function conflictOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: unknown) => (error instanceof ValueConflict ? error.reason : (error as { code: string }).code),
  );
}

async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Looks a value up until its writer has begun: the member has not seen everything that the writer has sent. */
async function foundWhileWritten(key: string): Promise<FoundValue> {
  return await eventually(async () => {
    const found = await values.lookup(key);
    if (found === undefined) throw new Error("the writer has not begun");
    return found;
  });
}

describe.each(["http", "grpc"] as const)("over %s,", (by) => {
  beforeEach(async () => {
    listener = by === "http" ? await ValueListener.open("http", () => valueApi()) : await GrpcFixture.open();
    client = valuesAt("bucket", "port" in listener ? { http: `127.0.0.1:${listener.port}` } : { grpc: listener.address });
    values = client.values;
  });
  afterEach(async () => {
    await client[Symbol.asyncDispose]();
    await listener[Symbol.asyncDispose]();
  });

  describe("the calls of ElCache's SDK", () => {
    it("put, get, exists and metadata", async () => {
      const bytes = rampBytes(0, 2 * MiB + 3, 1);
      const options = { ttlSeconds: 60, flags: 7, contentType: "image/png", metadata: { "made-by": "a model, é" } };
      const info = await values.put("a/b c/é", bytes, options);
      expect(info).toMatchObject({ url: "cache://bucket/a/b c/é", size: bytes.length, flags: 7, contentType: "image/png" });
      expect(info.expiresMs).toBe(info.createdMs + 60_000);
      expect(await values.metadata("a/b c/é")).toEqual({ ...info, metadata: { "made-by": "a model, é" } });
      expect((await values.get("a/b c/é")).equals(bytes)).toBe(true);
      expect((await values.get("a/b c/é", { offset: MiB, length: 5 })).equals(bytes.subarray(MiB, MiB + 5))).toBe(true);
      expect((await values.get("a/b c/é", { offset: 2 * MiB })).equals(bytes.subarray(2 * MiB))).toBe(true);
      expect(await values.exists("a/b c/é")).toBe(true);
      expect([await values.exists("b"), await values.metadata("b")]).toEqual([false, undefined]);
      await expect(values.get("b")).rejects.toMatchObject({ code: "NOT_FOUND" });
      listener.clock.advance(60_000);
      expect(await values.exists("a/b c/é")).toBe(false);
    });

    it("readRange and checkAvailability", async () => {
      await values.put("a", "0123456789");
      expect((await values.readRange("a", 3, 4)).toString()).toBe("3456");
      expect((await values.readRange("a", 8, 100)).toString()).toBe("89");
      await expect(values.readRange("a", 10, 1)).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
      expect(await values.checkAvailability("a", 5, 100)).toEqual({ available: [{ start: 5, end: 10 }], missing: [] });
      await expect(values.checkAvailability("b", 0, 1)).rejects.toMatchObject({ code: "NOT_FOUND" });
    });

    it("createSparse, writeRange and finalize", async () => {
      await values.createSparse("s", 10, { flags: 3 });
      expect(await conflictOf(values.createSparse("s", 10))).toBe("already_started");
      await values.writeRange("s", 6, Buffer.from("6789"));
      expect(await values.checkAvailability("s", 5, 3)).toEqual({
        available: [{ start: 6, end: 8 }],
        missing: [{ start: 5, end: 6 }],
      });
      const early = await values.finalize("s").catch((error: unknown) => error);
      expect(early).toBeInstanceOf(ValueConflict);
      expect(early).toMatchObject({ reason: "incomplete", completion: { missing: [{ start: 0, end: 6 }] } });
      expect(await values.writeRange("s", 0, Buffer.from("012345"))).toMatchObject({ presentBytes: 10, missing: [] });
      expect(await values.finalize("s", { ttlSeconds: 5 })).toMatchObject({ size: 10, flags: 3 });
      expect((await values.get("s")).toString()).toBe("0123456789");
      await values.createSparse("t", 1);
      await values.abort("t");
      await expect(values.finalize("t")).rejects.toMatchObject({ code: "NOT_FOUND" });
    });

    it("streaming write and read", async () => {
      const bytes = rampBytes(0, 3 * MiB, 2);
      const writer = values.writeStream("w", bytes.length);
      for (let at = 0; at < bytes.length; at += 500_000) await writer.write(bytes.subarray(at, at + 500_000));
      expect((await writer.finish()).size).toBe(bytes.length);
      const { info, stream } = await values.readStream("w");
      expect([info.size, (await bytesOf(stream)).equals(bytes)]).toEqual([bytes.length, true]);
      const unsized = values.writeStream("u");
      await unsized.write("some ");
      await unsized.write("text");
      expect((await unsized.finish()).size).toBe(9);
      const short = values.writeStream("short", 5);
      await short.write("abc");
      await expect(short.finish()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
      expect(await values.exists("short")).toBe(false);
      const aborted = values.writeStream("aborted");
      await aborted.write("abc");
      await aborted.abort();
      await expect(aborted.write("d")).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
      expect(await values.exists("aborted")).toBe(false);
    });

    it("stats with average and p99", async () => {
      await values.put("a", "1");
      await values.get("a");
      await values.get("b").catch(() => {});
      const { averageMs, p99Ms, ...counts } = values.stats();
      expect(counts).toEqual({ gets: 2, puts: 1, hits: 1, misses: 1, failures: 0 });
      expect(p99Ms).toBeGreaterThanOrEqual(averageMs);
    });
  });

  describe("the calls of filezcache", () => {
    it("insert, insertFile, lookup, lookupFile, access and delete", async () => {
      const directory = await mkdtemp(join(tmpdir(), "frontcache-values-"));
      try {
        const path = join(directory, "file");
        await writeFile(path, rampBytes(0, 100_000, 3));
        await values.insertFile("f", path);
        const found = await values.lookup("f");
        expect((await bytesOf(found!.stream)).equals(rampBytes(0, 100_000, 3))).toBe(true);
        const copy = join(directory, "copy");
        expect(await values.lookupFile("f", copy)).toMatchObject({ size: 100_000 });
        expect((await readFile(copy)).equals(rampBytes(0, 100_000, 3))).toBe(true);
        expect([await values.lookup("none"), await values.lookupFile("none", copy)]).toEqual([undefined, undefined]);
        await values.access("f");
        await values.access("none");
        expect(values.where("f")).toEqual([by === "http" ? "member:1" : expect.stringContaining(":")]);
        expect([await values.delete("f"), await values.delete("f")]).toEqual([true, false]);
      } finally {
        await rm(directory, { recursive: true });
      }
    });

    it("insertStream: a reader follows the writer, and a second writer is told that one has started", async () => {
      const writer = values.insertStream("s");
      await values.appendStream(writer, "first ");
      const found = await foundWhileWritten("s");
      const pieces = found.stream[Symbol.asyncIterator]();
      let text = "";
      while (text.length < "first ".length) text += Buffer.from((await pieces.next()).value as Uint8Array).toString();
      expect(text).toBe("first ");
      expect(await conflictOf(values.insert("s", "other"))).toBe("already_started");
      await values.appendStream(writer, "second");
      await values.finishStream(writer);
      let rest = "";
      for (let next = await pieces.next(); next.done !== true; next = await pieces.next())
        rest += Buffer.from(next.value).toString();
      expect(rest).toBe("second");
      expect((await values.get("s")).toString()).toBe("first second");
    });

    it("insertStream: readers of a writer that ends early get an error, and the key is free", async () => {
      const writer = values.insertStream("s");
      await writer.write("half");
      const found = await foundWhileWritten("s");
      const reading = bytesOf(found.stream);
      await writer.abort();
      await expect(reading).rejects.toMatchObject({ code: "UNAVAILABLE" });
      expect(await values.lookup("s")).toBeUndefined();
      await values.insert("s", "whole");
    });

    it("lock keeps a value until it is released", async () => {
      expect(await conflictOf(values.lock("a"))).toBe("NOT_FOUND");
      await values.put("a", "1");
      {
        await using _lock = await values.lock("a");
        expect(await conflictOf(values.delete("a"))).toBe("locked");
        expect(await conflictOf(values.put("a", "2"))).toBe("locked");
      }
      expect(await values.delete("a")).toBe(true);
    });

    it("monitor reports what happens to the keys with a prefix", async () => {
      const end = new AbortController();
      const events: ValueEvent[] = [];
      const watching = (async () => {
        for await (const event of values.monitor("m/", { signal: end.signal })) {
          events.push(event);
          if (events.length === 3) end.abort();
        }
      })();
      await expect.poll(() => listener.values.monitors).toBe(1);
      await values.put("other", "1");
      await values.put("m/1", "1");
      await values.delete("m/1");
      await watching;
      expect(events.map(({ event, url }) => [event, url])).toEqual(
        ["insert", "ready", "delete"].map((event) => [event, "cache://bucket/m/1"]),
      );
    });

    it("list yields the keys with a prefix, in order, over pages", async () => {
      for (const key of ["b/2", "b/1", "a", "b/é"]) await values.put(key, key);
      const keys: string[] = [];
      for await (const { url } of values.list("b/")) keys.push(url);
      expect(keys).toEqual(["cache://bucket/b/1", "cache://bucket/b/2", "cache://bucket/b/é"]);
    });
  });

  it("memcache-filestore's Store is put with ifMissing, and tells a file that exists from one that is too large", async () => {
    await values.put("file", "1", { ifMissing: true });
    expect(await conflictOf(values.put("file", "2", { ifMissing: true }))).toBe("exists");
    expect((await values.get("file")).toString()).toBe("1");
  });

  it("rejects invalid keys, options and times to live before or at the member", async () => {
    await expect(values.put("", "1")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(values.put("k".repeat(8_193), "1")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await values.put("k".repeat(8_192), "1");
    await expect(values.put("a", "1", { ttl: 1 } as never)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    for (const ttlSeconds of [-1, 1.5, 1e15]) {
      await expect(values.put("a", "1", { ttlSeconds })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
    await expect(values.put("a", "1", { metadata: { "a b": "x" } })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});
