import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { FakeTransport, type ReadScript } from "../testing/fake-transport.js";
import { ManualClock } from "../testing/manual-clock.js";
import { ramp } from "../testing/ramp.js";
import { BlockLanding } from "./block-landing.js";
import { Gateways } from "./gateways.js";
import { Unintelligible } from "./http/unintelligible.js";
import { HttpFirstTransport, HttpTransport } from "./http-transports.js";
import { PinnedObject } from "./pinned-object.js";
import { RunningCall } from "./running-call.js";
import { Unreachable } from "./transport.js";

const url = "s3://bucket/file";
const size = 100;
const address = { grpcAddress: "a:80", httpAddress: "a:81" };
const gone = new Unreachable("gone");

function setUp(onHttpRead: (count: number) => ReadScript | undefined = () => undefined) {
  const clock = new ManualClock();
  const grpc = new FakeTransport({ version: "v1", size });
  const http = Object.assign(new FakeTransport({ version: "v1", size }), { close: async () => undefined });
  http.onRead = (_, count) => onHttpRead(count);
  const gateways = new Gateways({ clock, asideFor: { firstMs: 1_000, longestMs: 1_000 }, lookFor: async () => undefined });
  const transport = new HttpFirstTransport(grpc, http, gateways);
  const call = new RunningCall({ clock, subject: url });
  const read = async (version = "v1", at: { grpcAddress: string; httpAddress?: string } = address) => {
    const part = { blockOffset: 0, offset: 10, length: 50 };
    const landing = new BlockLanding(part, { pinned: new PinnedObject(url, version), place: (bytes) => Buffer.alloc(bytes) });
    await transport.read(at, landing.nextRequest(), landing, call);
    return landing.take()!;
  };
  const counts = () => ({ http: http.reads.length, grpc: grpc.reads.length });
  return { clock, grpc, http, transport, call, read, counts };
}

describe("reading by HTTP first", () => {
  it("asks the gateway alone", async () => {
    const { read, counts } = setUp();
    expect((await read()).equals(ramp(10, 50))).toBe(true);
    expect(counts()).toEqual({ http: 1, grpc: 0 });
  });

  it("asks by gRPC where there is no gateway, or the version can't be named by HTTP", async () => {
    const { read, counts, grpc, http } = setUp();
    await read("v1", { grpcAddress: "b:80" });
    for (const { object } of [grpc, http]) Object.assign(object, { version: "a b" });
    await read("a b");
    expect(counts()).toEqual({ http: 0, grpc: 2 });
  });

  it.each([gone, new Unintelligible("<html>")])(
    "goes on by gRPC at the same member, and leaves the gateway aside: %s",
    async (error) => {
      const { read, counts, grpc, clock } = setUp((count) => (count === 1 ? { error } : undefined));
      expect((await read()).equals(ramp(10, 50))).toBe(true);
      await read();
      expect(counts()).toEqual({ http: 1, grpc: 2 });
      expect(grpc.reads[0]!.address).toBe("a:80");
      clock.advance(1_000);
      await read();
      await read();
      expect(counts()).toEqual({ http: 2, grpc: 3 });
    },
  );

  it("goes on behind the last byte where an answer breaks off, of the same version", async () => {
    const { read, counts, grpc, http } = setUp((count) => (count === 1 ? { afterBytes: 20, error: gone } : undefined));
    expect((await read("")).equals(ramp(10, 50))).toBe(true);
    expect(grpc.reads[0]).toMatchObject({ offset: 30, length: 30, version: "v1" });
    expect(http.reads.length).toBe(1);
    await read();
    expect(counts()).toEqual({ http: 2, grpc: 1 });
  });

  it("fails where the rest is of another size than the beginning", async () => {
    const { read, grpc } = setUp(() => ({ afterBytes: 20, error: gone }));
    grpc.object = { version: "v1", size: size + 1 };
    await expect(read("")).rejects.toMatchObject({ code: "INTERNAL" });
  });

  it("begins again from nothing where what came can't be trusted", async () => {
    const { read, counts } = setUp(() => ({ afterBytes: 20, error: new Unintelligible("too much") }));
    await expect(read()).rejects.toBeInstanceOf(Unintelligible);
    expect((await read()).equals(ramp(10, 50))).toBe(true);
    expect(counts()).toEqual({ http: 1, grpc: 1 });
  });

  it.each(["NOT_FOUND", "UNAVAILABLE", "FAILED_PRECONDITION", "INTERNAL"] as const)("leaves %s as it is", async (code) => {
    const { read, counts } = setUp((count) => (count === 1 ? { error: new CacheError(code, "so it is") } : undefined));
    await expect(read()).rejects.toMatchObject({ code });
    await read();
    expect(counts()).toEqual({ http: 2, grpc: 0 });
  });

  it("ends with its call, without asking anybody else", async () => {
    const { read, counts, call } = setUp(() => ({ gate: new Promise(() => undefined) }));
    const failed = expect(read()).rejects.toMatchObject({ code: "CANCELLED" });
    call.abort(new CacheError("CANCELLED", "enough"));
    await failed;
    expect(counts()).toEqual({ http: 1, grpc: 0 });
  });
});

describe("reading by HTTP alone", () => {
  it("never reads by gRPC, and does all else by it", async () => {
    const { grpc, http, call } = setUp(() => ({ error: gone }));
    const transport = new HttpTransport(grpc, http);
    const landing = new BlockLanding(
      { blockOffset: 0, offset: 0, length: 1 },
      { pinned: new PinnedObject(url, ""), place: (bytes) => Buffer.alloc(bytes) },
    );
    await expect(transport.read(address, landing.nextRequest(), landing, call)).rejects.toBe(gone);
    expect(grpc.reads.length).toBe(0);
    expect(await transport.stat(address, url, "", call)).toMatchObject({ objectSize: size });
    expect(await transport.evict(address, { url }, call)).toEqual({ blocks: 0, bytes: 0 });
    expect(await transport.watchMembers(address, () => undefined, call)).toBe("unsupported");
    await transport.probe(address, call);
    transport.keepOnly([address]);
    await transport.close();
    expect([grpc.probes, grpc.kept, http.kept, grpc.closed]).toEqual([["a:80"], ["a:80"], ["a:80"], true]);
  });
});
