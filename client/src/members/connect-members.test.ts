import { CacheError } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { FakeTransport, type ReadScript } from "../testing/fake-transport.js";
import { ramp } from "../testing/ramp.js";
import { BufferLanding, PinnedObject } from "./block-landing.js";
import { CircuitBreaker } from "./circuit-breaker.js";
import { httpFirst } from "./connect-members.js";
import { Unintelligible } from "./http/answer-head.js";
import { UnnameableVersion } from "./http/http-transport.js";
import { Unreachable } from "./ports.js";
import { RunningCall } from "./running-call.js";

const url = "s3://bucket/file";
const size = 100;
const address = { grpcAddress: "a:80", httpAddress: "a:81" };
const gone = new Unreachable("gone");
const interrupted = new Unreachable("gone", { hadBegun: true });

function setUp(onHttpRead: (count: number) => ReadScript | undefined = () => undefined) {
  const clock = new ManualClock(0);
  const grpc = new FakeTransport({ version: "v1", size });
  const http = new FakeTransport({ version: "v1", size });
  http.onRead = (_, count) => onHttpRead(count);
  const openFor = { firstMs: 1_000, longestMs: 1_000 };
  const breaker = new CircuitBreaker({ clock, openFor, probe: async () => undefined });
  const transport = httpFirst(http, grpc, breaker);
  const call = new RunningCall({ clock, subject: url });
  const read = async (version = "v1", at: { grpcAddress: string; httpAddress?: string } = address) => {
    const part = { blockOffset: 0, offset: 10, length: 50 };
    const landing = new BufferLanding(part, { pinned: new PinnedObject(url, version), place: (bytes) => Buffer.alloc(bytes) });
    await transport.read(at, landing, call);
    return landing.take()!;
  };
  const counts = () => ({ http: http.reads.length, grpc: grpc.reads.length });
  return { clock, grpc, http, transport, call, read, counts };
}

describe("a transport that prefers HTTP", () => {
  it("uses only the HTTP listener", async () => {
    const { read, counts } = setUp();
    expect((await read()).equals(ramp(10, 50))).toBe(true);
    expect(counts()).toEqual({ http: 1, grpc: 0 });
  });

  it("uses gRPC if there is no HTTP listener, or HTTP cannot express the version", async () => {
    const { read, counts, grpc } = setUp(() => ({ error: new UnnameableVersion(url) }));
    await read("v1", { grpcAddress: "b:80" });
    expect(counts()).toEqual({ http: 0, grpc: 1 });
    Object.assign(grpc.object, { version: "a b" });
    await read("a b");
    expect(counts()).toEqual({ http: 1, grpc: 2 });
  });

  it.each([gone, new Unintelligible("<html>")])(
    "resumes over gRPC at the same member, and does not use its HTTP listener for a while: %s",
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

  it("resumes after the last byte of an interrupted response, with the same version", async () => {
    const { read, counts, grpc, http } = setUp((count) => (count === 1 ? { afterBytes: 20, error: interrupted } : undefined));
    expect((await read("")).equals(ramp(10, 50))).toBe(true);
    expect(grpc.reads[0]).toMatchObject({ offset: 30, length: 30, version: "v1" });
    expect(http.reads.length).toBe(1);
    await read();
    expect(counts()).toEqual({ http: 2, grpc: 1 });
  });

  it("fails if the rest has another object size than the start", async () => {
    const { read, grpc } = setUp(() => ({ afterBytes: 20, error: interrupted }));
    grpc.object = { version: "v1", size: size + 1 };
    await expect(read("")).rejects.toMatchObject({ code: "INTERNAL" });
  });

  it("does not try gRPC at a member that does not respond at all", async () => {
    const { read, counts } = setUp(() => ({ error: new Unreachable("gone", { isGone: true }) }));
    await expect(read()).rejects.toBeInstanceOf(Unreachable);
    expect(counts()).toEqual({ http: 1, grpc: 0 });
  });

  it.each(["NOT_FOUND", "UNAVAILABLE", "FAILED_PRECONDITION", "INTERNAL"] as const)("returns %s unchanged", async (code) => {
    const { read, counts } = setUp((count) => (count === 1 ? { error: new CacheError(code, "so it is") } : undefined));
    await expect(read()).rejects.toMatchObject({ code });
    await read();
    expect(counts()).toEqual({ http: 2, grpc: 0 });
  });

  it("ends with its call without another request", async () => {
    const { read, counts, call } = setUp(() => ({ gate: new Promise(() => undefined) }));
    const failed = expect(read()).rejects.toMatchObject({ code: "CANCELLED" });
    call.abort(new CacheError("CANCELLED", "enough"));
    await failed;
    expect(counts()).toEqual({ http: 1, grpc: 0 });
  });
});
