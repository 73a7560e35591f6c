import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { CacheClient, ListedObject } from "@frontcache/client";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { rampBytes } from "../emulators/s3.js";
import { namesOf } from "./addresses.js";
import { Cluster, type Surroundings } from "./cluster.js";
import { staticPods } from "./cluster-pods.js";

const MEMBERS = 3;
const MiB = 1 << 20;
/** The shortest parts, so that few bytes need several. */
const partBytes = 5 * MiB;

let cluster: Cluster;
/** One client for each member: what one has written, the others read. */
let clients: CacheClient[];

beforeAll(async () => {
  const names = namesOf(MEMBERS);
  const pods = async ({ places, port }: Surroundings) => staticPods(places, port, undefined, true);
  cluster = await Cluster.start({ processes: [], names, pods, flags: ["--writes", "anonymous"] });
  clients = await Promise.all(names.map((name) => cluster.client(name)));
  cluster.origin.put("bucket", "existing", "bytes");
});

afterAll(() => cluster?.[Symbol.asyncDispose]());

afterEach(() => cluster.origin.faults.clear());

async function readEverywhere(url: string, version: string, expected: Buffer): Promise<void> {
  for (const client of clients) {
    expect((await client.readObject(url)).equals(expected)).toBe(true);
    expect((await client.stat(url)).version).toBe(version);
  }
}

async function* chunked(bytes: Buffer): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000);
}

describe("put", () => {
  const short = rampBytes(0, 70_000, 1);
  const long = rampBytes(0, 12 * MiB + 5, 2);

  it.each([
    ["empty", Buffer.alloc(0), ["memory", "stream", "web stream", "file"]],
    ["short", short, ["memory", "stream", "web stream", "file"]],
    ["of several parts", long, ["stream", "file"]],
    ["of exactly one part", long.subarray(0, partBytes), ["stream"]],
    ["of exactly two parts", long.subarray(0, 2 * partBytes), ["memory"]],
  ])("writes what is %s, and every member returns it", async (name, bytes, sources) => {
    const url = `s3://bucket/put/${name}`;
    const file = join(cluster.directory.path, "source");
    await writeFile(file, bytes);
    const bodies: Record<string, unknown> = {
      memory: bytes,
      stream: Readable.from(chunked(bytes)),
      "web stream": Readable.toWeb(Readable.from(chunked(bytes))),
      file: { file },
    };
    for (const [at, source] of sources.entries()) {
      const body = bodies[source];
      const progress: number[] = [];
      const writer = clients[at % MEMBERS]!;
      const options = { partBytes, metadata: { Round: `${at}` }, contentType: "text/csv" };
      const { version } = await writer.put(url, body as Buffer, { ...options, onProgress: (sent) => void progress.push(sent) });
      if (at === sources.length - 1) await readEverywhere(url, version, bytes);
      else expect((await clients[(at + 1) % MEMBERS]!.readObject(url)).equals(bytes)).toBe(true);
      expect(await clients[0]!.stat(url)).toMatchObject({
        objectSize: bytes.length,
        contentType: "text/csv",
        headers: { "x-amz-meta-round": `${at}` },
      });
      expect(progress.at(-1)).toBe(bytes.length);
    }
  });

  it("keeps to its conditions, with the parts of long objects removed", async () => {
    const url = "s3://bucket/conditional";
    const [client] = clients as [CacheClient];
    const { version } = await client.put(url, "first", { ifMissing: true });
    for (const body of ["second", long]) {
      await expect(client.put(url, body, { ifMissing: true, partBytes })).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
      await expect(client.put(url, body, { ifVersion: "other", partBytes })).rejects.toMatchObject({
        code: "FAILED_PRECONDITION",
      });
    }
    expect((await client.readObject(url)).toString()).toBe("first");
    expect(cluster.origin.writes.uploads).toBe(0);
    await client.put(url, long, { ifVersion: version, partBytes });
    expect((await client.readObject(url)).equals(long)).toBe(true);
  });

  it("leaves nothing behind if its stream fails, or its caller gives up", async () => {
    const url = "s3://bucket/failed";
    const [client] = clients as [CacheClient];
    async function* failing(): AsyncGenerator<Buffer, void> {
      yield long;
      throw new Error("the source has failed");
    }
    await expect(client.put(url, failing(), { partBytes })).rejects.toThrow("the source has failed");
    const controller = new AbortController();
    async function* stalling(): AsyncGenerator<Buffer, void> {
      yield long;
      controller.abort();
      await new Promise(() => {});
    }
    await expect(client.put(url, stalling(), { partBytes, signal: controller.signal })).rejects.toMatchObject({
      code: "CANCELLED",
    });
    expect(cluster.origin.writes.uploads).toBe(0);
    await expect(client.readObject(url)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("repeats what the store refuses for a moment, and reports what it refuses for good", async () => {
    const [client] = clients as [CacheClient];
    cluster.origin.faults.place({ when: ({ method }) => method === "PUT", error: { status: 503, code: "SlowDown" }, times: 1 });
    await client.put("s3://bucket/repeated", short);
    expect((await client.readObject("s3://bucket/repeated")).equals(short)).toBe(true);
    cluster.origin.faults.place({ when: ({ method }) => method === "PUT", error: { status: 403, code: "AccessDenied" } });
    await expect(client.put("s3://bucket/refused", short)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message: expect.stringContaining("s3://bucket/refused"),
    });
  });

  it.each<[string, unknown, object]>([
    ["a body of no known type", 7, {}],
    ["parts that are too short", "text", { partBytes: 5 }],
    ["metadata that cannot be a header", "text", { metadata: { name: "two\nlines" } }],
    ["two conditions", "text", { ifMissing: true, ifVersion: "1" }],
    ["an unknown option", "text", { contenttype: "text/csv" }],
  ])("refuses %s", async (_, body, options) => {
    await expect(clients[0]!.put("s3://bucket/invalid", body as string, options)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });
});

describe("copy, delete and list", () => {
  const names = ["a b", "a/1", "a/2", "b+c", "b&<d>", "ü"];
  const url = (name: string): string => `s3://listed/${name}`;

  async function listed(prefix: string, delimiter?: string): Promise<string[]> {
    const found: string[] = [];
    for await (const entry of clients[1]!.list(prefix, { delimiter })) found.push("prefix" in entry ? entry.prefix : entry.url);
    return found.sort();
  }

  beforeAll(async () => {
    for (const name of names) await clients[0]!.put(url(name), name);
  });

  it("list all objects of a prefix, or its folders", async () => {
    expect(await listed("s3://listed")).toEqual(names.map(url).sort());
    expect(await listed("s3://listed/a", "/")).toEqual([url("a b"), url("a/")]);
    const { value: first } = await clients[0]!.list("s3://listed/a/").next();
    const { version } = await clients[2]!.stat(url("a/1"));
    expect(first).toEqual({ url: url("a/1"), size: 3, version, lastModifiedMs: expect.any(Number) } satisfies ListedObject);
  });

  it("copy an object with its metadata", async () => {
    await clients[0]!.put(url("from é"), "copied", { contentType: "text/plain", metadata: { a: "b" } });
    const { version } = await clients[1]!.copy(url("from é"), url("to"));
    await readEverywhere(url("to"), version, Buffer.from("copied"));
    expect(await clients[2]!.stat(url("to"))).toMatchObject({ contentType: "text/plain", headers: { "x-amz-meta-a": "b" } });
    await expect(clients[0]!.copy(url("none"), url("to"))).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(clients[0]!.copy(url("to"), "gs://listed/to")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await clients[0]!.deleteObjects([url("from é"), url("to")]);
  });

  it("delete one object, or many", async () => {
    const [client] = clients as [CacheClient];
    await client.delete(url("a b"));
    await client.delete(url("a b"));
    for (const other of clients) await expect(other.readObject(url("a b"))).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(await client.deleteObjects(names.map(url))).toEqual({ deleted: names.length, failures: [] });
    expect(await listed("s3://listed")).toEqual([]);
  });
});
