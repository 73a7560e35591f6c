import { CacheError } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { type CacheClient, clientOver } from "../cache-client.js";
import type { LogEntry } from "../client-log.js";
import { type MemberConnections, Unreachable } from "../members/ports.js";
import { completeOptions } from "../options.js";
import { FakeTransport } from "../testing/fake-transport.js";
import { noObjectRequests } from "../testing/no-object-requests.js";
import { ramp } from "../testing/ramp.js";
import type { FallbackOptions } from "./fallback.js";
import type { GcsFallback } from "./gcs-reads.js";
import type { S3Fallback } from "./s3-reads.js";

const url = "s3://bucket/some/key";
const size = 100_000;
const gone = (): Unreachable => new Unreachable("cannot connect to service:8080: connection refused", { isGone: true });

function httpError(name: string, httpStatusCode: number): Error {
  return Object.assign(new Error(name), { name, $metadata: { httpStatusCode } });
}

/** An S3 client whose objects are all the same ramp. */
class FakeS3 implements S3Fallback {
  etag = '"v1"';
  readonly requests: unknown[] = [];
  /** Called with the number of the request; may throw, or return after how many bytes the body fails. */
  onRequest: (count: number) => number | undefined = () => undefined;

  async getObject(input: Parameters<S3Fallback["getObject"]>[0]) {
    this.requests.push(input);
    const failsAfter = this.onRequest(this.requests.length);
    if (input.IfMatch !== undefined && input.IfMatch !== this.etag) throw httpError("PreconditionFailed", 412);
    const [from, to] = /bytes=(\d+)-(\d+)/.exec(input.Range)!.slice(1).map(Number) as [number, number];
    if (from >= size) throw httpError("InvalidRange", 416);
    const end = Math.min(to + 1, size);
    return {
      ETag: this.etag,
      ContentRange: `bytes ${from}-${end - 1}/${size}`,
      Body: (async function* () {
        for (let at = from; at < end; at += 1_000) {
          if (failsAfter !== undefined && at - from >= failsAfter) throw new Error("socket hang up");
          yield ramp(at, Math.min(1_000, end - at));
        }
      })(),
    };
  }

  async headObject(input: Parameters<S3Fallback["headObject"]>[0]) {
    this.requests.push(input);
    this.onRequest(this.requests.length);
    return {
      ETag: this.etag,
      ContentLength: size,
      ContentType: "text/plain",
      Metadata: { owner: "me" },
      CacheControl: "no-store",
    };
  }
}

const clock = new ManualClock(0);

async function connect(fallback: FallbackOptions) {
  const transport = new FakeTransport({ version: "v1", size });
  const entries: LogEntry[] = [];
  const options = completeOptions({ endpoint: "service:8080", fallback, log: (entry) => entries.push(entry) });
  const connections = transport as unknown as MemberConnections;
  const client: CacheClient = await clientOver(options, { clock, connections, requests: noObjectRequests });
  const breakAll = (): void => {
    transport.onRead = () => ({ error: gone() });
    transport.stat = () => Promise.reject(gone());
    transport.onProbe = () => Promise.reject(gone());
  };
  return { client, transport, entries, breakAll };
}

describe("a client with a fallback", () => {
  it("reads, streams and looks up objects in the object store while no member answers", async () => {
    const s3 = new FakeS3();
    const { client, breakAll, entries } = await connect({ s3 });
    breakAll();
    expect((await client.readRange(url, 17, 4_000)).equals(ramp(17, 4_000))).toBe(true);
    expect((await client.readRange(url, size - 5, 400, "v1")).equals(ramp(size - 5, 5))).toBe(true);
    expect((await client.readObject(url)).equals(ramp(0, size))).toBe(true);
    expect(Buffer.concat(await client.stream(url).toArray()).equals(ramp(0, size))).toBe(true);
    expect(await client.stat(url)).toEqual({
      version: "v1",
      objectSize: size,
      cachedBytes: 0,
      contentType: "text/plain",
      headers: { "cache-control": "no-store", "x-amz-meta-owner": "me" },
    });
    expect(s3.requests[0]).toEqual({ Bucket: "bucket", Key: "some/key", Range: "bytes=17-4016" });
    expect(client.fallbackReads()).toEqual({ reads: 4, bytes: 4_000 + 5 + 2 * size, failures: 0 });
    expect(entries.map(({ event }) => event)).toEqual(["member-unreachable", "fallback-started"]);
    await client.close();
  });

  it("resumes at the byte, and in the version, where a member was lost", async () => {
    const s3 = new FakeS3();
    const { client, transport } = await connect({ s3 });
    transport.onRead = (_read, count) => (count === 1 ? { afterBytes: 600, error: gone() } : { error: gone() });
    expect((await client.readRange(url, 0, 1_000)).equals(ramp(0, 1_000))).toBe(true);
    expect(s3.requests).toEqual([{ Bucket: "bucket", Key: "some/key", Range: "bytes=600-999", IfMatch: '"v1"' }]);
    await client.close();
  });

  it("does not call members while their circuits are open, and returns to them after a successful probe", async () => {
    const { client, transport, breakAll, entries } = await connect({ s3: new FakeS3() });
    breakAll();
    await client.readRange(url, 0, 10);
    const before = transport.reads.length;
    for (let i = 0; i < 10; i++) await client.readRange(url, 0, 10);
    expect(transport.reads.length).toBe(before);
    transport.onRead = () => undefined;
    transport.onProbe = async () => undefined;
    for (let i = 0; i < 3; i++) {
      // The first read starts the probe.
      clock.advance(2_000);
      await client.readRange(url, 0, 10);
    }
    expect(transport.reads.length).toBeGreaterThan(before);
    expect(entries.at(-1)?.event).toBe("fallback-ended");
    await client.close();
  });

  it("does not ask the object store if a member answered, even with an error", async () => {
    const s3 = new FakeS3();
    const { client, transport } = await connect({ s3 });
    transport.onRead = () => ({ error: new CacheError("UNAVAILABLE", "the origin is down", { isOriginTried: true }) });
    await expect(client.readRange(url, 0, 10)).rejects.toMatchObject({ message: "the origin is down" });
    transport.onRead = () => ({ error: new CacheError("NOT_FOUND", "no such object") });
    await expect(client.readRange(url, 0, 10)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(client.readRange("gs://bucket/other", 0, 10)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(s3.requests).toEqual([]);
    await client.close();
  });

  it("reports the object store's answers about the object as a member does", async () => {
    const s3 = new FakeS3();
    const { client, breakAll } = await connect({ s3 });
    breakAll();
    await expect(client.readRange(url, size, 1)).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    await expect(client.readRange(url, 0, 1, "v0")).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    s3.onRequest = () => {
      throw httpError("NoSuchKey", 404);
    };
    await expect(client.readRange(url, 0, 1)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(client.fallbackReads().failures).toBe(0);
    await client.close();
  });

  it("resumes an interrupted body", async () => {
    const s3 = new FakeS3();
    const { client, breakAll } = await connect({ s3 });
    breakAll();
    s3.onRequest = (count) => (count < 3 ? 2_000 : undefined);
    expect((await client.readRange(url, 0, 9_000)).equals(ramp(0, 9_000))).toBe(true);
    expect(s3.requests.map((request) => (request as { Range: string }).Range)).toEqual([
      "bytes=0-8999",
      "bytes=2000-8999",
      "bytes=4000-8999",
    ]);
    await client.close();
  });

  it("fails with one error that names both causes if the object store fails too", async () => {
    const s3 = new FakeS3();
    const { client, breakAll, entries } = await connect({ s3 });
    breakAll();
    const refused = new Error("connect ECONNREFUSED 10.0.0.1:443");
    s3.onRequest = () => {
      throw refused;
    };
    const error = await client.readRange(url, 0, 1).catch((thrown: unknown) => thrown as CacheError);
    expect(error).toMatchObject({
      code: "UNAVAILABLE",
      message:
        `${url}: fallback.s3 failed: Error: connect ECONNREFUSED 10.0.0.1:443; ` +
        "no member answered before: cannot connect to service:8080: connection refused",
      cause: { cause: refused },
    });
    expect(client.fallbackReads()).toEqual({ reads: 0, bytes: 0, failures: 1 });
    expect(entries.at(-1)).toMatchObject({ level: "warn", event: "fallback-failed" });
    await client.close();
  });

  it("reads objects in GCS by generation", async () => {
    const generations: unknown[] = [];
    const gcs: GcsFallback = {
      bucket: () => ({
        file: (_name, options) => ({
          getMetadata: async () => [{ generation: "17", size: String(size) }, {}],
          createReadStream({ start, end }) {
            generations.push(options);
            const body = (async function* () {
              yield ramp(start, end + 1 - start);
            })();
            return Object.assign(body, { destroy: () => undefined });
          },
        }),
      }),
    };
    const { client, transport, breakAll } = await connect({ gcs });
    transport.object = { version: "17", size };
    breakAll();
    expect((await client.readRange("gs://bucket/file", 5, 100)).equals(ramp(5, 100))).toBe(true);
    expect((await client.readRange("gs://bucket/file", 5, 100, "17")).equals(ramp(5, 100))).toBe(true);
    await expect(client.readRange("gs://bucket/file", 5, 1, "16")).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    await expect(client.readRange("gs://bucket/file", size, 1)).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    expect(generations).toEqual([{ generation: "17" }, { generation: "17" }]);
    await client.close();
  });
});
