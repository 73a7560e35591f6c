import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CacheError } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { clientOver } from "../cache-client.js";
import type { MemberConnections } from "../members/ports.js";
import { completeOptions, type NearOptions } from "../options.js";
import { FakeTransport } from "../testing/fake-transport.js";
import { noObjectRequests } from "../testing/no-object-requests.js";
import { ramp } from "../testing/ramp.js";
import { PAGE_BYTES } from "./page-memory.js";
import { PageTarget } from "./page-target.js";

/** Numbers that look random, below `below`. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

const url = "s3://bucket/file";
/** Ten pages and a half. */
const size = 10 * PAGE_BYTES + PAGE_BYTES / 2;

async function connect(memory: number | string = "1MiB", objectSize = size) {
  return await connectNear({ memory }, objectSize);
}

async function connectNear(near: NearOptions, objectSize = size) {
  const transport = new FakeTransport({ version: "v1", size: objectSize });
  const options = completeOptions({ endpoint: "a:1", near });
  const connections = transport as unknown as MemberConnections;
  const clock = new ManualClock(0);
  const client = await clientOver(options, { clock, connections, requests: noObjectRequests });
  return { client, transport, clock };
}

describe("the near cache", () => {
  it("answers repeated reads of a version without a request", async () => {
    const { client, transport } = await connect();
    for (let i = 0; i < 3; i++) {
      expect((await client.readRange(url, 70_000, 4_096, "v1")).equals(ramp(70_000, 4_096))).toBe(true);
      expect((await client.readRange(url, size - 10, 100, '"v1"')).equals(ramp(size - 10, 10))).toBe(true);
    }
    expect(transport.reads.map(({ offset, length }) => [offset, length])).toEqual([
      [PAGE_BYTES, PAGE_BYTES],
      [10 * PAGE_BYTES, PAGE_BYTES],
    ]);
    expect(client.nearReads()).toEqual({ hits: 4, misses: 2, diskHits: 0, cachedBytes: 1.5 * PAGE_BYTES });
    await client.close();
    await expect(client.readRange(url, 70_000, 10, "v1")).rejects.toMatchObject({ code: "CANCELLED" });
  });

  it("requests only from the first missing page on", async () => {
    const { client, transport } = await connect();
    await client.readRange(url, 0, 2 * PAGE_BYTES, "v1");
    expect((await client.readRange(url, 100, 3 * PAGE_BYTES, "v1")).equals(ramp(100, 3 * PAGE_BYTES))).toBe(true);
    expect(transport.reads.at(-1)).toMatchObject({ offset: 2 * PAGE_BYTES, length: 2 * PAGE_BYTES });
    await client.close();
  });

  it("asks the cluster which version is current, so it is never staler than the cluster", async () => {
    const { client, transport } = await connect();
    expect(await client.readRange(url, 0, size)).toHaveLength(size);
    expect(await client.readRange(url, 0, size)).toHaveLength(size);
    expect(transport.reads.length).toBe(1);
    transport.object = { version: "v2", size: 100 };
    expect(await client.readRange(url, 0, size)).toHaveLength(100);
    expect(await client.readObject(url)).toHaveLength(100);
    expect(transport.reads.slice(1).map(({ version }) => version)).toEqual(["v2"]);
    await expect(client.readRange(url, 100, 1)).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    await client.close();
  });

  it("asks no question while a lease says which version is current", async () => {
    const { client, transport, clock } = await connect();
    let questions = 0;
    transport.stat = async (_address, { lease }) => {
      questions++;
      return { ...transport.object, objectSize: transport.object.size, cachedBytes: 0, leaseMs: lease ? 200 : 0 };
    };
    for (let read = 0; read < 3; read++) await client.readRange(url, 0, 10);
    expect((await client.readObject(url)).equals(ramp(0, size))).toBe(true);
    expect((await client.readRange(url, -10, 10)).equals(ramp(size - 10, 10))).toBe(true);
    await expect(client.readRange(url, size, 1)).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    expect(questions).toBe(1);
    clock.advance(199);
    await client.readRange(url, 0, 10);
    expect(questions).toBe(1);
    clock.advance(1);
    await client.readRange(url, 0, 10);
    expect(questions).toBe(2);
    await client.evict({ url });
    await client.readRange(url, 0, 10);
    expect(questions).toBe(3);
    await client.stat(url);
    expect(questions).toBe(4);
    await client.close();
  });

  it("ignores the lease of a question that was asked before its pages were dropped", async () => {
    const { client, transport } = await connect();
    let [questions, answer] = [0, (): void => {}];
    const gate = new Promise<void>((resolve) => {
      answer = resolve;
    });
    transport.stat = async () => {
      if (++questions === 1) await gate;
      return { version: "v1", objectSize: size, cachedBytes: 0, leaseMs: 200 };
    };
    const reading = client.readRange(url, 0, 10);
    await client.evict({ url });
    answer();
    await reading;
    await client.readRange(url, 0, 10);
    expect(questions).toBe(2);
    await client.close();
  });

  it("asks at once if the store has another version than a lease says", async () => {
    const { client, transport } = await connect();
    let version = "v0";
    transport.stat = async () => ({ version, objectSize: size, cachedBytes: 0, leaseMs: 200 });
    transport.onRead = (read) =>
      read.version === "v0" ? { error: new CacheError("FAILED_PRECONDITION", "another version is current") } : undefined;
    await expect(client.readRange(url, 0, 10)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    version = "v1";
    expect((await client.readRange(url, 0, 10)).equals(ramp(0, 10))).toBe(true);
    await client.close();
  });

  it("looks the version up again if the object is overwritten between the question and the read, up to three times", async () => {
    for (const [outdated, length] of [
      [1, 10],
      [3, 10],
      [4, "FAILED_PRECONDITION"],
    ] as const) {
      const { client, transport } = await connect();
      let questions = 0;
      transport.stat = async () => ({ version: ++questions <= outdated ? "v0" : "v1", objectSize: size, cachedBytes: 0 });
      for (const read of [() => client.readRange(url, 5, 10), () => collected(client.stream(url, 5, 10))]) {
        questions = 0;
        const outcome = await read().then(
          (bytes) => bytes.length,
          (error: CacheError) => error.code,
        );
        expect([outcome, questions]).toEqual([length, Math.min(4, outdated + 1)]);
      }
      await client.close();
    }
  });

  it.each([4, 20])("returns exactly the object's bytes for any ranges and any use of memory of %i pages", async (pages) => {
    for (const objectSize of [1, PAGE_BYTES, 10 * PAGE_BYTES, size]) {
      const { client } = await connect(pages * PAGE_BYTES, objectSize);
      const random = numbers(7);
      const readOnce = async (): Promise<void> => {
        const offset = random(objectSize);
        const length = 1 + random(4 * PAGE_BYTES);
        const expected = ramp(offset, Math.min(length, objectSize - offset));
        const into = random(2) === 0 ? Buffer.alloc(length) : undefined;
        const bytes = await client.readRange(url, offset, length, random(3) === 0 ? "" : "v1", { into });
        expect(bytes.equals(expected)).toBe(true);
        // The result is the caller's.
        bytes.fill(0);
        expect(client.nearReads().cachedBytes).toBeLessThanOrEqual(pages * PAGE_BYTES);
      };
      for (let i = 0; i < 40; i++) await Promise.all([readOnce(), readOnce(), readOnce()]);
      await client.close();
    }
  });

  it("names the requested offset if it is past the object's end", async () => {
    const { client } = await connect();
    for (const offset of [size, size + 10, 11 * PAGE_BYTES, 20 * PAGE_BYTES + 5]) {
      for (const repeated of [1, 2]) {
        const error = await client.readRange(url, offset, 5, "v1").catch((thrown: unknown) => thrown as CacheError);
        expect(error, `${offset}, ${repeated}`).toMatchObject({
          code: "OUT_OF_RANGE",
          message: expect.stringContaining(`${offset}`),
        });
      }
    }
    await client.close();
  });

  it("keeps nothing of failed reads, and drops evicted objects", async () => {
    const { client, transport } = await connect();
    transport.onRead = () => ({ error: new CacheError("NOT_FOUND", "no such object") });
    await expect(client.readRange(url, 0, 10, "v1")).rejects.toMatchObject({ code: "NOT_FOUND" });
    transport.onRead = () => undefined;
    await client.readRange(url, 0, 10, "v1");
    await client.evict({ url: "s3://bucket/other" });
    expect(client.nearReads().cachedBytes).toBe(PAGE_BYTES);
    await client.evict({ url, version: "v0" });
    expect(client.nearReads().cachedBytes).toBe(PAGE_BYTES);
    await client.evict({ prefix: "s3://bucket/f" });
    expect(client.nearReads().cachedBytes).toBe(0);
    await client.close();
  });

  it("reads whole pages into the caller's memory, and only those at the ends of a range into memory of their own", () => {
    const into = Buffer.alloc(4 * PAGE_BYTES);
    const range = { offset: 10, length: into.length, memory: into, from: 0, end: 5 * PAGE_BYTES };
    const target = new PageTarget({ ...range, objectSize: undefined });
    expect([0, PAGE_BYTES, 4 * PAGE_BYTES].map((at) => target.contiguousEnd(at))).toEqual([
      PAGE_BYTES,
      4 * PAGE_BYTES,
      5 * PAGE_BYTES,
    ]);
    const inner = target.place(PAGE_BYTES, 3 * PAGE_BYTES, size);
    expect([inner.buffer === into.buffer, inner.byteOffset]).toEqual([true, PAGE_BYTES - 10]);
    for (const at of [0, 4 * PAGE_BYTES]) expect(target.place(at, PAGE_BYTES, size).buffer).not.toBe(into.buffer);
    expect(target.rest(PAGE_BYTES)).toBeUndefined();
    // An object that ends with the range has no page that the range has only a part of.
    const whole = new PageTarget({ ...range, objectSize: 10 + into.length });
    expect(whole.rest(PAGE_BYTES)?.byteOffset).toBe(PAGE_BYTES - 10);
  });

  it.each([
    { memory: "12" },
    { memory: "1TB" },
    { memory: 1_000 },
    { memory: -1 },
    {},
    7,
    { memory: "1MiB", disk: "/x" },
    { disk: "/x:" },
    { disk: ":1GiB" },
    { disk: "/x:63MiB" },
    { disk: "/x:1 GiB" },
    { disk: "/x\0:1GiB" },
    { disk: 7 },
    { disk: { path: "/x" } },
  ])("refuses the option %j in one line", (near) => {
    expect(() => completeOptions({ endpoint: "a:1", near: near as never })).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/^[^\n]+$/) }),
    );
  });
});

async function collected(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) {
    pieces.push(Buffer.from(piece));
    // Chunks are the consumer's.
    piece.fill(0);
  }
  return Buffer.concat(pieces);
}

/** A MiB more than two blocks, so that a stream has several parts. */
const longSize = (33 << 20) + 100;

describe("streams of a client with a near cache", () => {
  it("need no request for what was read before, and keep what they read", async () => {
    const { client, transport } = await connect("64MiB", longSize);
    for (let i = 0; i < 2; i++) expect((await collected(client.stream(url))).equals(ramp(0, longSize))).toBe(true);
    expect((await client.readRange(url, 20 << 20, 100, "v1")).equals(ramp(20 << 20, 100))).toBe(true);
    const web = client.webStream(url, 1_000, 2 << 20, "v1");
    expect((await collected(web)).equals(ramp(1_000, 2 << 20))).toBe(true);
    const requests = transport.reads.map(({ offset, length }) => [offset, length]);
    expect(requests.toSorted((a, b) => a[0]! - b[0]!)).toEqual([
      [0, 1 << 20],
      [1 << 20, 15 << 20],
      [16 << 20, 16 << 20],
      [32 << 20, (1 << 20) + 100],
    ]);
    await client.close();
  });

  it("return exactly the object's bytes for any ranges, versions and use of memory, with buffers that are reused or not", async () => {
    const { client } = await connect(4 * PAGE_BYTES);
    const random = numbers(13);
    const streamOnce = async (): Promise<void> => {
      const offset = random(size);
      const length = random(3) === 0 ? undefined : 1 + random(6 * PAGE_BYTES);
      const reuse = random(2) === 0;
      const bytes = await collected(client.stream(url, offset, length, random(2) === 0 ? "" : "v1", { reuse }));
      expect(bytes.equals(ramp(offset, Math.min(length ?? size, size - offset)))).toBe(true);
    };
    for (let i = 0; i < 40; i++) await Promise.all([streamOnce(), streamOnce(), streamOnce()]);
    expect(client.nearReads().cachedBytes).toBeLessThanOrEqual(4 * PAGE_BYTES);
    await client.close();
  });

  it("ask which version is current, and once more if it is replaced before they begin", async () => {
    const { client, transport } = await connect();
    let questions = 0;
    transport.stat = async () => ({ version: ++questions === 1 ? "v0" : "v1", objectSize: size, cachedBytes: 0, leaseMs: 200 });
    expect((await collected(client.stream(url))).equals(ramp(0, size))).toBe(true);
    expect(questions).toBe(2);
    expect((await collected(client.stream(url, -0, 10))).equals(ramp(0, 10))).toBe(true);
    expect(questions).toBe(2);
    await client.close();
  });

  it("yield nothing for an empty object, and fail past an object's end", async () => {
    const { client } = await connect("1MiB", 0);
    for (const version of ["", "v1"]) {
      expect(await collected(client.stream(url, 0, undefined, version))).toHaveLength(0);
      await expect(collected(client.stream(url, 1, undefined, version))).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
      await expect(collected(client.stream(url, 0, 1, version))).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    }
    await client.close();
  });

  it("fail with the error of a block after the bytes before it", async () => {
    const { client, transport } = await connect("64MiB", longSize);
    const error = new CacheError("NOT_FOUND", "no such object");
    transport.onRead = ({ offset }) => (offset === 16 << 20 ? { error } : undefined);
    let bytes = 0;
    const reading = (async () => {
      for await (const piece of client.stream(url, 0, undefined, "v1")) bytes += piece.length;
    })();
    await expect(reading).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(bytes).toBe(16 << 20);
    expect(transport.running).toBe(0);
    await client.close();
  });

  it("end their reads when they are destroyed", async () => {
    const { client, transport } = await connect("64MiB", longSize);
    for await (const piece of client.stream(url, 0, undefined, "v1")) {
      expect(piece.equals(ramp(0, piece.length))).toBe(true);
      break;
    }
    expect(transport.running).toBe(0);
    await client.close();
  });
});

describe("the near cache with a disk", () => {
  let path: string;
  const near = (memory?: number): NearOptions => ({ memory, disk: `${path}:64MiB` });

  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), "frontcache-near-"));
  });
  afterEach(() => rmSync(path, { recursive: true }));

  it("answers reads of a version from the disk after a restart, and then from memory", async () => {
    const first = await connectNear(near(PAGE_BYTES));
    expect((await first.client.readRange(url, 0, size, "v1")).equals(ramp(0, size))).toBe(true);
    await first.client.close();
    const { client, transport } = await connectNear(near(PAGE_BYTES));
    for (let i = 0; i < 2; i++) expect((await client.readRange(url, 70_000, 100, "v1")).equals(ramp(70_000, 100))).toBe(true);
    expect(transport.reads).toEqual([]);
    expect(client.nearReads()).toMatchObject({ hits: 1, diskHits: 1, misses: 0, disk: { readBytes: PAGE_BYTES } });
    await client.close();
  });

  it("requests only what is neither in memory nor on the disk", async () => {
    const first = await connectNear(near());
    await first.client.readRange(url, 0, 2 * PAGE_BYTES, "v1");
    await first.client.close();
    const { client, transport } = await connectNear(near(64 * PAGE_BYTES));
    await client.readRange(url, 0, PAGE_BYTES, "v1");
    expect((await client.readRange(url, 5, 4 * PAGE_BYTES, "v1")).equals(ramp(5, 4 * PAGE_BYTES))).toBe(true);
    // The disk has the first pages, but not all of the block that were requested.
    expect(transport.reads.map(({ offset, length }) => [offset, length])).toEqual([[PAGE_BYTES, 4 * PAGE_BYTES]]);
    await client.close();
  });

  it("answers streams from the disk after a restart", async () => {
    const first = await connectNear(near(), longSize);
    await first.client.readRange(url, 0, 18 << 20, "v1");
    await first.client.close();
    const { client, transport } = await connectNear(near(), longSize);
    expect((await collected(client.stream(url, 100, 17 << 20))).equals(ramp(100, 17 << 20))).toBe(true);
    expect(transport.reads).toEqual([]);
    await client.close();
  });

  it("asks the cluster which version is current", async () => {
    const first = await connectNear(near());
    await first.client.readRange(url, 0, size);
    await first.client.close();
    const { client, transport } = await connectNear(near());
    let questions = 0;
    transport.stat = async () => {
      questions++;
      return { ...transport.object, objectSize: transport.object.size, cachedBytes: 0 };
    };
    expect((await client.readRange(url, 0, size)).equals(ramp(0, size))).toBe(true);
    expect([questions, transport.reads.length]).toEqual([1, 0]);
    transport.object = { version: "v2", size: 100 };
    expect(await client.readObject(url)).toHaveLength(100);
    expect([questions, transport.reads.length]).toEqual([2, 1]);
    await client.close();
  });

  it("evicts an object's blocks from the disk, too", async () => {
    const first = await connectNear(near());
    await first.client.readRange(url, 0, size, "v1");
    await first.client.evict({ url });
    await first.client.close();
    const { client, transport } = await connectNear(near());
    await client.readRange(url, 0, 10, "v1");
    expect(transport.reads).toHaveLength(1);
    await client.close();
  });

  it("refuses a directory that can't be used when it connects", async () => {
    writeFileSync(join(path, "frontcache-near"), "");
    await expect(connectNear(near())).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message: expect.stringMatching(/^[^\n]+$/),
    });
  });

  it.each([0, 4])(
    "returns exactly the object's bytes for any ranges and memory of %i pages, which the caller may change",
    async (pages) => {
      for (const objectSize of [1, PAGE_BYTES, size]) {
        const { client, clock } = await connectNear(
          { memory: pages === 0 ? undefined : pages * PAGE_BYTES, disk: `${path}/${objectSize}:64MiB` },
          objectSize,
        );
        const random = numbers(11);
        const readOnce = async (): Promise<void> => {
          const offset = random(objectSize);
          const length = 1 + random(4 * PAGE_BYTES);
          const into = random(2) === 0 ? Buffer.alloc(length) : undefined;
          const bytes = await client.readRange(url, offset, length, random(3) === 0 ? "" : "v1", { into });
          expect(bytes.equals(ramp(offset, Math.min(length, objectSize - offset)))).toBe(true);
          bytes.fill(0);
          if (random(4) === 0) clock.advance(60);
        };
        for (let i = 0; i < 40; i++) await Promise.all([readOnce(), readOnce(), readOnce()]);
        await client.close();
        const { diskHits = 0, disk } = client.nearReads();
        expect(diskHits + (disk?.writtenBytes ?? 0)).toBeGreaterThan(0);
        expect(disk).toMatchObject({ failures: 0, damagedBlocks: 0 });
      }
    },
  );
});
