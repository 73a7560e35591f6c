import { Membership } from "@frontcache/proto";
import { until } from "@frontcache/proto/testing";
import { afterEach, describe, expect, it } from "vitest";
import { CacheClient } from "./cache-client.js";
import type { ConnectOptions } from "./options.js";
import { ramp } from "./testing/ramp.js";
import { type Asked, answerRamp, errorAnswer, rampAnswer, ScriptedListener } from "./testing/scripted-listener.js";
import { type ReadCall, ScriptedMember, sendRamp } from "./testing/scripted-member.js";

const url = "s3://bucket/file";
const size = 10_000;
const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A member with a HTTP listener and a client of it; blocks are of 1,000 bytes. */
async function setUp(options: Partial<ConnectOptions>, onAsked: (asked: Asked) => void = (asked) => answerRamp(asked, size)) {
  const listener = await ScriptedListener.start(onAsked);
  const byGrpc: ReadCall[] = [];
  let list: Membership | undefined;
  const member = await ScriptedMember.start({
    readRange(call) {
      byGrpc.push(call);
      sendRamp(call, size);
    },
    watchMembers: (call) => void call.write(list!.toMessage("a")),
  });
  list = Membership.of([{ name: "a", grpcAddress: member.address, httpAddress: listener.address }], 1_000);
  const client = await CacheClient.connect({ endpoint: member.address, connectTimeoutMs: 60_000, ...options });
  cleanups.push(
    () => listener.kill(),
    () => member.kill(),
    () => client.close(),
  );
  return { listener, client, byGrpc };
}

describe("a client of members with HTTP listeners", () => {
  it.each(["auto", "http"] as const)("reads and streams only over HTTP (transport %s)", async (transport) => {
    const { client, byGrpc, listener } = await setUp({ transport });
    expect((await client.readRange(url, 17, 4_000)).equals(ramp(17, 4_000))).toBe(true);
    expect((await client.readRange(url, size - 5, 400, "v1")).equals(ramp(size - 5, 5))).toBe(true);
    expect(Buffer.concat(await client.stream(url).toArray()).equals(ramp(0, size))).toBe(true);
    expect([byGrpc.length, listener.asked.length > 10]).toEqual([0, true]);
  });

  it("opens no connection to the HTTP listener with transport grpc", async () => {
    const { client, listener } = await setUp({ transport: "grpc" });
    expect((await client.readRange(url, 0, size)).equals(ramp(0, size))).toBe(true);
    expect(listener.connections).toBe(0);
  });

  it("reads into the caller's buffer, also from several blocks", async () => {
    const { client } = await setUp({});
    const into = Buffer.alloc(5_000, 0xee);
    const bytes = await client.readRange(url, 500, 4_000, "v1", { into });
    expect([bytes.buffer, bytes.byteOffset, bytes.length]).toEqual([into.buffer, into.byteOffset, 4_000]);
    expect(bytes.equals(ramp(500, 4_000))).toBe(true);
    expect(into.subarray(4_000)).toEqual(Buffer.alloc(1_000, 0xee));
    expect((await client.readRange(url, size - 5, 400, "v1", { into })).equals(ramp(size - 5, 5))).toBe(true);
    const tooSmall = client.readRange(url, 0, 5_001, "v1", { into });
    await expect(tooSmall).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("reads over gRPC if the HTTP listener is closed, or another server listens on its port", async () => {
    const { client, byGrpc, listener } = await setUp({});
    await client.readRange(url, 0, 1);
    await listener.kill();
    expect((await client.readRange(url, 0, size)).equals(ramp(0, size))).toBe(true);
    expect(byGrpc.length).toBe(10);
    const other = await setUp({}, ({ socket }) => socket.write("SSH-2.0-OpenSSH_9.6\r\n"));
    expect((await other.client.readRange(url, 0, size)).equals(ramp(0, size))).toBe(true);
    expect(other.byGrpc.length).toBe(10);
  });

  it("resumes over gRPC after the last received byte when a response is aborted", async () => {
    const { client, byGrpc } = await setUp({}, ({ socket, count }) => {
      if (count === 1) socket.end(rampAnswer({ first: 0, end: 1_000, objectSize: size }).subarray(0, 700));
    });
    const bytes = await client.readRange(url, 0, 1_000, "v1");
    expect(bytes.equals(ramp(0, 1_000))).toBe(true);
    const { offset, length, version } = byGrpc[0]!.request;
    expect([offset + length, version]).toEqual([1_000, "v1"]);
    expect(offset).toBeGreaterThan(0);
  });

  it("retries an invalid response once and then fails, as over gRPC", async () => {
    const { client, listener, byGrpc } = await setUp({}, ({ socket }) =>
      socket.write(rampAnswer({ first: 1, end: 1_001, objectSize: size })),
    );
    await expect(client.readRange(url, 0, 1_000)).rejects.toMatchObject({ code: "INTERNAL" });
    expect([listener.asked.length, byGrpc.length]).toEqual([2, 0]);
  });

  it("returns the member's error message", async () => {
    const { client, byGrpc } = await setUp({}, ({ socket }) =>
      socket.write(errorAnswer("404 Not Found", "NoSuchKey", `${url}: no such object`)),
    );
    await expect(client.readRange(url, 0, 1)).rejects.toMatchObject({ code: "NOT_FOUND", message: `${url}: no such object` });
    expect(byGrpc.length).toBe(0);
  });

  it("has no open connections after it is closed during reads of every kind", async () => {
    const { client, listener } = await setUp({}, (asked) => {
      if (asked.count === 1) answerRamp(asked, size);
    });
    await client.readRange(url, 0, 1);
    const running = expect(client.readRange(url, 0, size, "v1")).rejects.toMatchObject({ code: "CANCELLED" });
    await until(() => listener.asked.length >= 5);
    await client.close();
    await running;
    await until(() => listener.sockets.size === 0);
  });
});
