import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { CacheServiceClient } from "@frontcache/proto";
import { type Client, credentials, loadPackageDefinition, type ServiceError, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { protoPath as healthProtoPath } from "grpc-health-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { formatHostPort } from "../config/addresses.js";
import { openDoor } from "../doors/doors.js";
import { rampBytes } from "../origin/ramp.js";
import { systemClock } from "../runtime/clock.js";
import { silentLog } from "../runtime/log.js";
import { ManualClock } from "../runtime/manual-clock.js";
import { GrpcListener } from "./grpc-listener.js";
import { Clients, noLimits } from "./limits/clients.js";
import { MemoryReader } from "./memory-reader.js";

const URL = "s3://bucket/object";

let clock: ManualClock;
let reader: MemoryReader;
let listener: GrpcListener;
let client: CacheServiceClient;

beforeEach(async () => {
  clock = new ManualClock();
  reader = new MemoryReader();
  reader.objects.set(URL, rampBytes(0, 100_000, 3));
  listener = await open(0);
  client = new CacheServiceClient(address(), credentials.createInsecure());
});

afterEach(async () => {
  client.close();
  await vi.waitFor(() => expect(listener.runningCalls).toBe(0));
  const closed = listener.close();
  clock.advance(10_000);
  await closed;
  expect(clock.waits).toBe(0);
});

function open(port: number, host = "127.0.0.1"): Promise<GrpcListener> {
  return GrpcListener.open({
    listen: { host, port },
    drainMs: 10_000,
    door: openDoor,
    clients: new Clients(noLimits, systemClock),
    clock,
    log: silentLog,
  });
}

function address(): string {
  return formatHostPort(listener.address);
}

/** A unary call's answer, or the error that it ended with. */
function answerOf<Response>(
  call: (callback: (error: ServiceError | null, response: Response) => void) => void,
): Promise<Response> {
  return new Promise((resolve, reject) => call((error, response) => (error === null ? resolve(response) : reject(error))));
}

interface DynamicClient extends Client {
  [method: string]: unknown;
}

/** A client of a service that is known by its .proto file alone, made as dynamic clients are. */
function dynamicClient(protoFile: string, service: string): DynamicClient {
  const definition = loadPackageDefinition(loadSync(protoFile, { keepCase: true, longs: Number, enums: String, defaults: true }));
  const found = service.split(".").reduce<unknown>((at, name) => (at as Record<string, unknown>)[name], definition);
  return new (found as new (address: string, creds: unknown) => DynamicClient)(address(), credentials.createInsecure());
}

describe("the methods", () => {
  beforeEach(() => listener.serve(reader));

  it("answer who owns a block", async () => {
    expect(await answerOf((done) => client.lookupOwner({ key: URL, offset: 5 }, done))).toEqual({ addr: "bucket:8080" });
  });

  it("tell what is known of an object", async () => {
    expect(await answerOf((done) => client.stat({ key: URL, version: "" }, done))).toEqual({
      version: "v1",
      objectSize: 100_000,
      contentType: "text/plain",
      lastModifiedMs: 0,
      heldBytes: 100_000,
    });
    const missing = answerOf((done) => client.stat({ key: `${URL}2`, version: "" }, done));
    await expect(missing).rejects.toMatchObject({ code: status.NOT_FOUND, details: `${URL}2: no such object` });
  });

  it.each([
    [
      { key: URL, version: "", prefix: false, forwarded: true },
      { url: URL, forwarded: true },
    ],
    [
      { key: URL, version: "v", prefix: false, forwarded: false },
      { url: URL, version: "v", forwarded: false },
    ],
    [
      { key: "s3://", version: "", prefix: true, forwarded: false },
      { prefix: "s3://", forwarded: false },
    ],
  ])("evict what %j names", async (request, selector) => {
    expect(await answerOf((done) => client.evict(request, done))).toEqual({ blocks: 2, bytes: 3 });
    expect(reader.evictions).toEqual([selector]);
  });

  it.each([
    { key: "", version: "", prefix: true, forwarded: false },
    { key: "bucket", version: "", prefix: true, forwarded: false },
    { key: "s3://", version: "", prefix: false, forwarded: false },
  ])("evict nothing for %j", async (request) => {
    await expect(answerOf((done) => client.evict(request, done))).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    expect(reader.evictions).toEqual([]);
  });

  it("note uses of blocks that readers on the host made themselves", async () => {
    const blocks = [{ key: URL, version: "v1", offset: 16 << 20 }];
    expect(await answerOf((done) => client.touch({ blocks }, done))).toEqual({ held: 1 });
    expect(reader.touched).toEqual([{ url: URL, version: "v1", offset: 16 << 20 }]);
  });

  it("stop when the caller leaves", async () => {
    const aborted = new Promise<void>((resolve) => {
      reader.beforeAnswer = (signal) =>
        new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason))).finally(
          resolve,
        ) as Promise<void>;
    });
    const answer = new Promise((resolve) => {
      const call = client.stat({ key: URL, version: "" }, (error) => resolve(error?.code));
      vi.waitFor(() => expect(listener.runningCalls).toBe(1)).then(() => call.cancel());
    });
    expect(await answer).toBe(status.CANCELLED);
    await aborted;
  });
});

describe("a client that knows FrontCache's contract alone", () => {
  it("finds owners and reads ranges", async () => {
    listener.serve(reader);
    const folder = mkdtempSync(join(tmpdir(), "frontcache-proto-"));
    const file = join(folder, "cache.proto");
    writeFileSync(
      file,
      `syntax = "proto3";
       package cache;
       service CacheService {
         rpc LookupOwner(LookupOwnerRequest) returns (LookupOwnerResponse);
         rpc ReadRange(ReadRangeRequest) returns (stream ReadRangeResponse);
       }
       message LookupOwnerRequest { string key = 1; uint64 offset = 2; }
       message LookupOwnerResponse { string addr = 1; }
       message ReadRangeRequest { string key = 1; uint64 offset = 2; uint64 length = 3; string version = 4; }
       message ReadRangeResponse { bytes data = 1; }`,
    );
    const other = dynamicClient(file, "cache.CacheService");
    try {
      const lookup = other.LookupOwner as (request: object, done: (error: ServiceError | null, response: object) => void) => void;
      expect(await answerOf((done) => lookup.call(other, { key: URL, offset: 0 }, done))).toEqual({ addr: "bucket:8080" });
      const read = other.ReadRange as (request: object) => AsyncIterable<{ data: Buffer }>;
      const parts: Buffer[] = [];
      for await (const { data } of read.call(other, { key: URL, offset: 7, length: 90_000, version: "" })) parts.push(data);
      expect(Buffer.concat(parts).equals(rampBytes(7, 90_000, 3))).toBe(true);
    } finally {
      other.close();
      rmSync(folder, { recursive: true });
    }
  });
});

describe("health", () => {
  it("is not serving before there is a reader and after the close began, in checks and in watches", async () => {
    const health = dynamicClient(healthProtoPath, "grpc.health.v1.Health");
    const check = health.Check as (request: object, done: (error: ServiceError | null, response: object) => void) => void;
    const statusOf = (service: string) => answerOf((done) => check.call(health, { service }, done));
    const seen: string[] = [];
    const watch = (health.Watch as (request: object) => NodeJS.ReadableStream).call(health, { service: "cache.CacheService" });
    watch.on("data", ({ status }) => seen.push(status)).on("error", () => seen.push("cut off"));

    await vi.waitFor(() => expect(seen).toEqual(["NOT_SERVING"]));
    expect(await statusOf("")).toEqual({ status: "NOT_SERVING" });
    const early = answerOf((done) => client.stat({ key: URL, version: "" }, done));
    await expect(early).rejects.toMatchObject({ code: status.UNAVAILABLE, details: expect.stringMatching(/is starting/) });

    listener.serve(reader);
    expect(await statusOf("")).toEqual({ status: "SERVING" });
    expect(await statusOf("cache.CacheService")).toEqual({ status: "SERVING" });
    await expect(statusOf("other")).rejects.toMatchObject({ code: status.NOT_FOUND });
    await vi.waitFor(() => expect(seen).toEqual(["NOT_SERVING", "SERVING"]));

    const closed = listener.close();
    await vi.waitFor(() => expect(seen).toEqual(["NOT_SERVING", "SERVING", "NOT_SERVING"]));
    clock.advance(100);
    await closed;
    await vi.waitFor(() => expect(seen.at(-1)).toBe("cut off"));
    health.close();
  });
});

describe("reflection", () => {
  it("names the services and describes them", async () => {
    const folder = dirname(createRequire(import.meta.url).resolve("@grpc/reflection/package.json"));
    const file = join(folder, "build/proto/grpc/reflection/v1/reflection.proto");
    const reflection = dynamicClient(file, "grpc.reflection.v1.ServerReflection");
    const open = reflection.ServerReflectionInfo as () => NodeJS.ReadWriteStream & { write(message: object): void };
    const stream = open.call(reflection);
    const ask = (request: object): Promise<Record<string, never>> =>
      new Promise((resolve) => {
        stream.once("data", (response) => resolve(response));
        stream.write(request);
      });
    expect(await ask({ list_services: "*" })).toMatchObject({
      list_services_response: { service: [{ name: "cache.CacheService" }, { name: "grpc.health.v1.Health" }] },
    });
    const described = await ask({ file_containing_symbol: "cache.CacheService.ReadRange" });
    expect(JSON.stringify(described)).toContain("file_descriptor_proto");
    expect(described).not.toHaveProperty("error_response");
    stream.end();
    await once(stream.resume(), "end");
    reflection.close();
  });
});

describe("the listener", () => {
  it("says what it listens on", async () => {
    expect(listener.address).toEqual({ host: "127.0.0.1", port: expect.any(Number) });
    expect(listener.address.port).toBeGreaterThan(0);
  });

  it("refuses an address that is taken", async () => {
    await expect(open(listener.address.port)).rejects.toThrow("EADDRINUSE");
  });

  it("lets running reads end before it closes, and takes no new ones", async () => {
    listener.serve(reader);
    let answer!: () => void;
    reader.beforeAnswer = () => new Promise((resolve) => (answer = resolve));
    const read = (async () => {
      let bytes = 0;
      for await (const { data } of client.readRange({ ...range, key: URL })) bytes += data.length;
      return bytes;
    })();
    await vi.waitFor(() => expect(listener.runningCalls).toBe(1));
    const closed = listener.close();
    expect(listener.close()).toBe(closed);
    await expect(answerOf((done) => client.stat({ key: URL, version: "" }, done))).rejects.toMatchObject({
      code: status.UNAVAILABLE,
    });
    answer();
    expect(await read).toBe(100_000);
    await closed;
  });

  it("cuts off what runs longer than it may", async () => {
    listener.serve(reader);
    reader.beforeSlice = (_, signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const call = client.readRange({ ...range, key: URL });
    const error = new Promise<ServiceError>((resolve) => call.on("error", resolve).resume());
    await vi.waitFor(() => expect(reader.openReads).toBe(1));
    const closed = listener.close();
    clock.advance(9_999);
    expect(reader.openReads).toBe(1);
    clock.advance(1);
    await closed;
    expect([status.UNAVAILABLE, status.CANCELLED, status.INTERNAL]).toContain((await error).code);
    await vi.waitFor(() => expect([reader.openReads, listener.runningCalls]).toEqual([0, 0]));
  });

  it("speaks IPv6", async () => {
    const six = await open(0, "::1");
    six.serve(reader);
    const other = new CacheServiceClient(formatHostPort(six.address), credentials.createInsecure());
    expect(await answerOf((done) => other.lookupOwner({ key: URL, offset: 0 }, done))).toEqual({ addr: "bucket:8080" });
    other.close();
    await six.close();
  });
});

const range = { offset: 0, length: 0, version: "", forwarded: false, cachedOnly: false };
