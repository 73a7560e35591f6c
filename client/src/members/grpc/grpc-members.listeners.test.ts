import { getEventListeners, once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { CacheError } from "@frontcache/proto";
import { eventually, ManualClock } from "@frontcache/proto/testing";
import { status } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { ramp } from "../../testing/ramp.js";
import { type MemberScript, type ReadCall, ScriptedMember, sendRamp } from "../../testing/scripted-member.js";
import { plainAccess } from "../access.js";
import { BufferLanding, PinnedObject } from "../block-landing.js";
import { type Clock, systemClock } from "../clock.js";
import { Unreachable } from "../ports.js";
import { RunningCall } from "../running-call.js";
import { silenceOf } from "../silence-watch.js";
import { answeredTrailers } from "./call-metadata.js";
import { GrpcChannels } from "./grpc-channels.js";
import { GrpcMembers } from "./grpc-members.js";

const url = "s3://bucket/file";
const size = 10_000;
const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** In real time the timeout detects a hang; a test that moves the clock knows it. */
async function setUp(
  script: MemberScript,
  clock: Clock = systemClock,
  connectTimeoutMs = clock === systemClock ? 60_000 : 1_000,
) {
  const member = await ScriptedMember.start(script);
  const options = { clock, access: plainAccess };
  const transport = new GrpcMembers(new GrpcChannels({ ...options, connectTimeoutMs }), options);
  cleanups.push(
    () => transport.close(),
    () => member.kill(),
  );
  const address = { grpcAddress: member.address };
  let onLanded = (): void => undefined;
  const landed = new Promise<void>((resolve) => {
    onLanded = resolve;
  });
  const landing = new BufferLanding(
    { blockOffset: 0, offset: 0, length: size },
    { pinned: new PinnedObject(url, "v1"), place: (bytes) => Buffer.alloc(bytes), onLanded: () => onLanded() },
  );
  const begin = (deadlineMs?: number) => {
    const call = new RunningCall({ clock: systemClock, subject: url, ...(deadlineMs === undefined ? {} : { deadlineMs }) });
    cleanups.push(async () => call.end());
    return call;
  };
  const read = (call = begin(60_000)) => transport.read(address, landing, call);
  return { member, transport, address, landing, landed, begin, read };
}

/** Sends the beginning of the ramp and nothing more. */
function sendBeginning(call: ReadCall, bytes: number): void {
  call.write({ data: ramp(0, bytes), version: "v1", objectSize: size });
}

const failWith = (code: status, details: string) =>
  Object.assign(new Error(details), { code, details, metadata: answeredTrailers({ isOriginTried: false, s3Code: undefined }) });

describe("calls to members over gRPC", () => {
  it("send url, range, version and deadline, and receive the member's bytes", async () => {
    const asked: ReadCall[] = [];
    const { landing, read } = await setUp({
      readRange(call) {
        asked.push(call);
        sendRamp(call, size);
      },
    });
    await read();
    expect(landing.take()?.equals(ramp(0, size))).toBe(true);
    expect(asked[0]!.request).toEqual({ key: url, offset: 0, length: size, version: "v1", forwarded: false, cachedOnly: false });
    const remainingMs = Number(asked[0]!.getDeadline()) - Date.now();
    expect(remainingMs).toBeGreaterThan(0);
    expect(remainingMs).toBeLessThanOrEqual(61_000);
  });

  it("fail with INTERNAL if the member sends fewer or more bytes than requested", async () => {
    const short = await setUp({
      readRange(call) {
        sendBeginning(call, 100);
        call.end();
      },
    });
    await expect(short.read()).rejects.toMatchObject({ code: "INTERNAL", message: expect.stringContaining("sent 100 bytes") });
    const long = await setUp({
      readRange(call) {
        sendBeginning(call, size);
        call.write({ data: ramp(0, 1), version: "", objectSize: 0 });
        call.end();
      },
    });
    await expect(long.read()).rejects.toMatchObject({ code: "INTERNAL", message: expect.stringContaining("sent more than") });
    const nothing = await setUp({ readRange: (call) => void call.end() });
    await expect(nothing.read()).rejects.toMatchObject({ code: "INTERNAL", message: expect.stringContaining("nothing at all") });
  });

  it("cancel a response of another version immediately, also at the member", async () => {
    let cancelled: Promise<unknown> | undefined;
    const { read } = await setUp({
      readRange(call) {
        cancelled = once(call, "cancelled");
        call.write({ data: ramp(0, 10), version: "v2", objectSize: size });
      },
    });
    await expect(read()).rejects.toMatchObject({ code: "INTERNAL", message: expect.stringContaining("of version v2") });
    await cancelled;
  });

  it("return the member's error message, and keep the bytes received before", async () => {
    const { read, landing } = await setUp({
      readRange(call) {
        sendBeginning(call, 100);
        call.emit("error", failWith(status.UNAVAILABLE, `${url}: the origin is down, try later`));
      },
    });
    await expect(read()).rejects.toMatchObject({ code: "UNAVAILABLE", message: `${url}: the origin is down, try later` });
    await expect(read()).rejects.not.toBeInstanceOf(Unreachable);
    expect(landing.landedBytes).toBe(200);
  });

  it("add the object to a member's message that does not name it", async () => {
    const { read } = await setUp({ readRange: (call) => void call.emit("error", failWith(status.NOT_FOUND, "no such object")) });
    await expect(read()).rejects.toMatchObject({ code: "NOT_FOUND", message: `${url}: no such object` });
  });

  it("are Unreachable if the connection is lost in the middle", async () => {
    const { read, member, landing } = await setUp({
      readRange(call) {
        sendBeginning(call, 100);
        setImmediate(() => void member.kill());
      },
    });
    const error: unknown = await read().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Unreachable);
    expect(error).toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining(member.address) });
    expect(landing.complete).toBe(false);
  });

  it("are Unreachable if nothing arrives from a member and it does not answer a probe", async () => {
    const clock = new ManualClock(0);
    const { read, member, landed } = await setUp({ readRange: (call) => sendBeginning(call, 100) }, clock);
    const failed = expect(read()).rejects.toBeInstanceOf(Unreachable);
    await landed;
    // Its port is closed, the connection stands: all that a vanished machine shows.
    const stopped = member.stop();
    clock.advance(500);
    clock.advance(500);
    await failed;
    clock.advance(100);
    expect(clock.waits).toBe(0);
    await member.kill();
    await stopped;
  });

  it.each(["stat", "evict"] as const)("are Unreachable if neither a %s nor a probe is answered", async (kind) => {
    const clock = new ManualClock(0);
    let onAsked = (): void => undefined;
    const asked = new Promise<void>((resolve) => {
      onAsked = resolve;
    });
    const { transport, address, member, begin } = await setUp({ [kind]: () => onAsked() }, clock);
    const answer =
      kind === "stat" ? transport.stat(address, { url, version: "" }, begin()) : transport.evict(address, { url }, begin());
    const failed = expect(answer).rejects.toMatchObject({ isGone: true, message: expect.stringContaining("a probe was not") });
    await asked;
    const stopped = member.stop();
    clock.advance(500);
    clock.advance(500);
    await failed;
    await member.kill();
    await stopped;
  });

  it("are Unreachable if nothing listens", async () => {
    const { read, member } = await setUp({});
    await member.kill();
    await expect(read()).rejects.toBeInstanceOf(Unreachable);
  });

  it("are Unreachable if the listener supports only HTTP/1, like a member's HTTP listener", async () => {
    const listener = createServer((_request, response) => void response.end());
    await once(listener.listen(0, "127.0.0.1"), "listening");
    const { port } = listener.address() as AddressInfo;
    const { transport, begin } = await setUp({});
    await expect(transport.stat({ grpcAddress: `127.0.0.1:${port}` }, { url, version: "" }, begin())).rejects.toBeInstanceOf(
      Unreachable,
    );
    await new Promise((resolve) => listener.close(resolve));
  });

  it("find out that a member is frozen before they are connected, as soon as afterwards", async () => {
    // The kernel accepts connections for a stopped process.
    const listener = createTcpServer();
    await once(listener.listen(0, "127.0.0.1"), "listening");
    const grpcAddress = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
    const sockets: Socket[] = [];
    listener.on("connection", (socket) => sockets.push(socket));
    const clock = new ManualClock(0);
    const { transport, begin } = await setUp({}, clock, 60_000);
    let failure: unknown;
    const stat = transport.stat({ grpcAddress }, { url, version: "" }, begin()).catch((error: unknown) => (failure = error));
    await eventually(() => {
      clock.advance(100);
      expect(failure).toMatchObject({ isGone: true, message: expect.stringContaining(silenceOf(500)) });
    });
    await stat;
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => listener.close(resolve));
  });

  it("end with the deadline if no response arrives, also at the member", async () => {
    let cancelled: Promise<unknown> | undefined;
    const { read, begin } = await setUp({
      readRange(call) {
        cancelled = once(call, "cancelled");
      },
    });
    await expect(read(begin(50))).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    await cancelled;
  });

  it("end when the call is aborted in the middle, also at the member, and receive nothing more", async () => {
    let reached: (call: ReadCall) => void;
    const reading = new Promise<ReadCall>((resolve) => {
      reached = resolve;
    });
    const { read, begin, landing } = await setUp({
      readRange(call) {
        sendBeginning(call, 100);
        reached(call);
      },
    });
    const call = begin();
    const result = read(call);
    const cancelled = once(await reading, "cancelled");
    call.abort(new CacheError("CANCELLED", "enough"));
    await expect(result).rejects.toMatchObject({ code: "CANCELLED", message: "enough" });
    const landedBytes = landing.landedBytes;
    await cancelled;
    expect(landing.landedBytes).toBe(landedBytes);
    expect(getEventListeners(call.signal, "abort")).toEqual([]);
  });

  it("leave no timer and no listener at the signal after a successful read", async () => {
    const clock = new ManualClock(0);
    const { read, begin } = await setUp({ readRange: (call) => sendRamp(call, size) }, clock);
    const call = begin(60_000);
    await read(call);
    expect(getEventListeners(call.signal, "abort")).toEqual([]);
    clock.advance(100);
    expect(clock.waits).toBe(0);
  });

  it("succeed again after a member's absence", async () => {
    const script: MemberScript = { readRange: (call) => sendRamp(call, size) };
    const { read, member, transport, address, begin, landing } = await setUp(script);
    await read();
    await member.kill();
    const again = await ScriptedMember.start(script, member.address);
    cleanups.push(() => again.kill());
    const other = new BufferLanding(landing.span, { pinned: new PinnedObject(url, "v1"), place: (bytes) => Buffer.alloc(bytes) });
    await transport.read(address, other, begin(60_000));
    expect(other.complete).toBe(true);
  });

  it("return an object's metadata, without fields that the origin did not send", async () => {
    const answer = {
      version: "v1",
      objectSize: size,
      contentType: "",
      lastModifiedMs: 0,
      cachedBytes: 7,
      headers: [],
      lacks: "",
    };
    const { transport, address, begin } = await setUp({ stat: (_call, callback) => callback(null, answer) });
    expect(await transport.stat(address, { url, version: "" }, begin())).toEqual({
      version: "v1",
      objectSize: size,
      cachedBytes: 7,
    });
  });

  it("evict by URL or by prefix", async () => {
    const asked: unknown[] = [];
    const { transport, address, begin } = await setUp({
      evict(call, callback) {
        asked.push(call.request);
        callback(null, { blocks: 2, bytes: 9 });
      },
    });
    expect(await transport.evict(address, { url, version: "v1" }, begin())).toEqual({ blocks: 2, bytes: 9 });
    await transport.evict(address, { prefix: "s3://bucket/" }, begin());
    expect(asked).toEqual([
      { key: url, version: "v1", prefix: false, forwarded: false },
      { key: "s3://bucket/", version: "", prefix: true, forwarded: false },
    ]);
  });

  it("cancel a unary call with its signal", async () => {
    let cancelled: Promise<unknown> | undefined;
    const { transport, address, begin } = await setUp({
      stat(call) {
        cancelled = once(call, "cancelled");
      },
    });
    const call = begin(50);
    await expect(transport.stat(address, { url, version: "" }, call)).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    await cancelled;
  });

  it("report whether a member supports WatchMembers", async () => {
    const list = { members: [], hash: "h", blockBytes: 1, name: "a" };
    const knows = await setUp({
      watchMembers(call) {
        call.write(list);
        call.end();
      },
    });
    const heard: unknown[] = [];
    expect(await knows.transport.watchMembers(knows.address, (message) => heard.push(message), knows.begin())).toBe("ended");
    expect(heard).toEqual([list]);
    const older = await setUp({});
    expect(await older.transport.watchMembers(older.address, () => undefined, older.begin())).toBe("unsupported");
  });

  it("close the connections of removed members after their running calls", async () => {
    const { transport, read, landing, member } = await setUp({
      readRange(call) {
        sendBeginning(call, 100);
        transport.keepOnly(new Set());
        call.write({ data: ramp(100, size - 100), version: "", objectSize: 0 });
        call.end();
      },
    });
    await read();
    expect(landing.complete).toBe(true);
    // Ends only when no connection is left, which the member does not close by itself.
    await member.stop();
  });
});
