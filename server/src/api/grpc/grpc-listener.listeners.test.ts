import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { eventually } from "@frontcache/proto/testing";
import { Client, credentials, loadPackageDefinition, type ServiceError, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { protoPath as healthProtoPath } from "grpc-health-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DRAIN_MS, GrpcFixture, readRequest, URL } from "../../testing/grpc-fixture.js";
import { rampBytes } from "../../testing/origin/ramp.js";

let member: GrpcFixture;

beforeEach(async () => {
  member = await GrpcFixture.open({ starting: true });
  member.cache.objects.set(URL, rampBytes(0, 100_000, 3));
});

afterEach(() => member[Symbol.asyncDispose]());

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
  return new (found as new (address: string, creds: unknown) => DynamicClient)(member.address, credentials.createInsecure());
}

describe("the methods", () => {
  beforeEach(() => member.serve());

  it("return the owner of a block", async () => {
    expect(await answerOf((done) => member.client.lookupOwner({ key: URL, offset: 5 }, done))).toEqual({ addr: "bucket:8080" });
  });

  it("return the metadata of an object", async () => {
    expect(
      await answerOf((done) => member.client.stat({ key: URL, version: "", forwarded: false, checksums: false }, done)),
    ).toEqual({
      version: "v1",
      objectSize: 100_000,
      contentType: "text/plain",
      lastModifiedMs: 0,
      headers: [],
      lacks: "",
      cachedBytes: 100_000,
      leaseMs: 0,
    });
    const missing = answerOf((done) =>
      member.client.stat({ key: `${URL}2`, version: "", forwarded: false, checksums: false }, done),
    );
    await expect(missing).rejects.toMatchObject({ code: status.NOT_FOUND, details: `${URL}2: no such object` });
  });

  it("have one debug log line per call with a request id and the outcome", async () => {
    const stat = (key: string) =>
      answerOf((done) => member.client.stat({ key, version: "", forwarded: false, checksums: false }, done));
    await stat(URL);
    await expect(stat(`${URL}2`)).rejects.toThrow();
    const line = { event: "request", method: "Stat", requestId: expect.any(String), client: expect.any(String) };
    await eventually(() =>
      expect(member.debugLogged).toMatchObject([
        { ...line, url: URL, code: "OK" },
        { ...line, url: `${URL}2`, code: "NOT_FOUND" },
      ]),
    );
  });

  it.each([
    [
      { key: URL, version: "", prefix: false, forwarded: true },
      { selector: { url: URL }, forwarded: true },
    ],
    [
      { key: URL, version: "v", prefix: false, forwarded: false },
      { selector: { url: URL, version: "v" }, forwarded: false },
    ],
    [
      { key: "s3://", version: "", prefix: true, forwarded: false },
      { selector: { prefix: "s3://" }, forwarded: false },
    ],
  ])("evict what %j names", async (request, question) => {
    expect(await answerOf((done) => member.client.evict(request, done))).toEqual({ blocks: 2, bytes: 3 });
    expect(member.cache.evictions).toEqual([expect.objectContaining(question)]);
  });

  it.each([
    { key: "", version: "", prefix: true, forwarded: false },
    { key: "bucket", version: "", prefix: true, forwarded: false },
    { key: "s3://", version: "", prefix: false, forwarded: false },
  ])("evict nothing for %j", async (request) => {
    await expect(answerOf((done) => member.client.evict(request, done))).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    expect(member.cache.evictions).toEqual([]);
  });

  it("record uses of blocks that clients on the host read from files", async () => {
    const blocks = [{ key: URL, version: "v1", offset: 16 << 20 }];
    expect(await answerOf((done) => member.client.touch({ blocks }, done))).toEqual({ cached: 1 });
    expect(member.cache.touched).toEqual([{ url: URL, version: "v1", offset: 16 << 20 }]);
  });

  it("are aborted when the caller disconnects", async () => {
    const aborted = new Promise<void>((resolve) => {
      member.cache.beforeAnswer = (signal) =>
        new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason))).finally(
          resolve,
        ) as Promise<void>;
    });
    const answer = new Promise((resolve) => {
      const call = member.client.stat({ key: URL, version: "", forwarded: false, checksums: false }, (error) =>
        resolve(error?.code),
      );
      eventually(() => expect(member.listener.runningCalls).toBe(1)).then(() => call.cancel());
    });
    expect(await answer).toBe(status.CANCELLED);
    await aborted;
  });
});

describe("a client with FrontCache's contract", () => {
  it("looks up owners and reads ranges", async () => {
    member.serve();
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
  it("is NOT_SERVING before the cache is available and after the close began, in checks and in watches", async () => {
    const health = dynamicClient(healthProtoPath, "grpc.health.v1.Health");
    const check = health.Check as (request: object, done: (error: ServiceError | null, response: object) => void) => void;
    const statusOf = (service: string) => answerOf((done) => check.call(health, { service }, done));
    const seen: string[] = [];
    const watch = (health.Watch as (request: object) => NodeJS.ReadableStream).call(health, { service: "cache.CacheService" });
    watch.on("data", ({ status }) => seen.push(status)).on("error", () => seen.push("cut off"));

    await eventually(() => expect(seen).toEqual(["NOT_SERVING"]));
    expect(await statusOf("")).toEqual({ status: "NOT_SERVING" });
    const early = answerOf((done) => member.client.stat({ key: URL, version: "", forwarded: false, checksums: false }, done));
    await expect(early).rejects.toMatchObject({ code: status.UNAVAILABLE, details: expect.stringMatching(/is starting/) });

    member.serve();
    expect(await statusOf("")).toEqual({ status: "SERVING" });
    expect(await statusOf("cache.CacheService")).toEqual({ status: "SERVING" });
    expect(await statusOf("cache.RouterService")).toEqual({ status: "SERVING" });
    await expect(statusOf("other")).rejects.toMatchObject({ code: status.NOT_FOUND });
    await eventually(() => expect(seen).toEqual(["NOT_SERVING", "SERVING"]));

    const closed = member.listener.close();
    await eventually(() => expect(seen).toEqual(["NOT_SERVING", "SERVING", "NOT_SERVING"]));
    member.clock.advance(100);
    await closed;
    await eventually(() => expect(seen.at(-1)).toBe("cut off"));
    health.close();
  });
});

describe("reflection", () => {
  type Stream = NodeJS.ReadWriteStream & { write(message: object): void };

  function open(version: string): { stream: Stream; close(): void } {
    const folder = dirname(createRequire(import.meta.url).resolve("@grpc/reflection/package.json"));
    const file = join(folder, `build/proto/grpc/reflection/${version}/reflection.proto`);
    const reflection = dynamicClient(file, `grpc.reflection.${version}.ServerReflection`);
    return { stream: (reflection.ServerReflectionInfo as () => Stream).call(reflection), close: () => reflection.close() };
  }

  it.each(["v1", "v1alpha"])("lists and describes the services by %s of its contract", async (version) => {
    const { stream, close } = open(version);
    const ask = (request: object): Promise<Record<string, never>> =>
      new Promise((resolve) => {
        stream.once("data", (response) => resolve(response));
        stream.write(request);
      });
    expect(await ask({ list_services: "*" })).toMatchObject({
      list_services_response: {
        service: [
          { name: "cache.RouterService" },
          { name: "cache.CacheService" },
          { name: "cache.ValueService" },
          { name: "grpc.health.v1.Health" },
        ],
      },
    });
    const described = await ask({ file_containing_symbol: "cache.CacheService.ReadRange" });
    expect(JSON.stringify(described)).toContain("file_descriptor_proto");
    expect(described).not.toHaveProperty("error_response");
    stream.end();
    await once(stream.resume(), "end");
    close();
  });

  it("ends a call with INTERNAL whose message cannot be parsed", async () => {
    const same = (bytes: Buffer): Buffer => bytes;
    const client = new Client(member.address, credentials.createInsecure());
    const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    const call = client.makeBidiStreamRequest(path, same, same);
    call.write(Buffer.from([0x0f, 0xff]));
    expect(await once(call.resume(), "error")).toMatchObject([{ code: status.INTERNAL }]);
    client.close();
  });
});

describe("the listener", () => {
  it("reports its address", async () => {
    expect(member.listener.address).toEqual({ host: "127.0.0.1", port: expect.any(Number) });
    expect(member.listener.address.port).toBeGreaterThan(0);
  });

  it("rejects an address that is in use", async () => {
    await expect(GrpcFixture.open({ listen: { tcp: member.listener.address } })).rejects.toThrow("EADDRINUSE");
  });

  it("lets running reads finish before it closes, and rejects new ones", async () => {
    member.serve();
    let answer!: () => void;
    member.cache.beforeAnswer = () => new Promise((resolve) => (answer = resolve));
    const read = (async () => {
      let bytes = 0;
      for await (const { data } of member.client.readRange(readRequest())) bytes += data.length;
      return bytes;
    })();
    await eventually(() => expect(member.listener.runningCalls).toBe(1));
    const closed = member.listener.close();
    expect(member.listener.close()).toBe(closed);
    await expect(
      answerOf((done) => member.client.stat({ key: URL, version: "", forwarded: false, checksums: false }, done)),
    ).rejects.toMatchObject({
      code: status.UNAVAILABLE,
    });
    answer();
    expect(await read).toBe(100_000);
    await closed;
  });

  it("aborts calls that exceed the drain timeout", async () => {
    member.serve();
    member.cache.beforeSlice = (_, signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const call = member.client.readRange(readRequest());
    const error = new Promise<ServiceError>((resolve) => call.on("error", resolve).resume());
    await eventually(() => expect(member.cache.openReads).toBe(1));
    const closed = member.listener.close();
    member.clock.advance(DRAIN_MS - 1);
    expect(member.cache.openReads).toBe(1);
    member.clock.advance(1);
    await closed;
    expect([status.UNAVAILABLE, status.CANCELLED, status.INTERNAL]).toContain((await error).code);
    await eventually(() => expect([member.cache.openReads, member.listener.runningCalls]).toEqual([0, 0]));
  });

  it("listens on IPv6", async () => {
    await using six = await GrpcFixture.open({ listen: { tcp: { host: "::1", port: 0 } } });
    expect(await answerOf((done) => six.client.lookupOwner({ key: URL, offset: 0 }, done))).toEqual({ addr: "bucket:8080" });
  });
});
