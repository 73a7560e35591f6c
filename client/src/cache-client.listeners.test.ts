import { getEventListeners, once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CacheError, type MemberInfo, Membership } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import { afterEach, describe, expect, it } from "vitest";
import { CacheClient } from "./cache-client.js";
import type { ConnectOptions } from "./options.js";
import { ramp } from "./testing/ramp.js";
import { type MemberScript, type ReadCall, ScriptedMember, sendRamp } from "./testing/scripted-member.js";

const url = "s3://bucket/file";
const size = 10_000;
const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startMember(
  script: MemberScript = { readRange: (call) => sendRamp(call, size) },
  address?: string,
): Promise<ScriptedMember> {
  const member = await ScriptedMember.start(script, address);
  cleanups.push(() => member.kill());
  return member;
}

async function connect(member: ScriptedMember, options: Partial<ConnectOptions> = {}): Promise<CacheClient> {
  const client = await CacheClient.connect({ endpoint: member.address, connectTimeoutMs: 60_000, ...options });
  cleanups.push(() => client.close());
  return client;
}

/** Members that have cached a ramp object, know each other's addresses, and count the reads they get. */
async function startCluster(names: readonly string[], blockBytes: number) {
  const reads = new Map<string, ReadCall[]>(names.map((name) => [name, []]));
  const members = new Map<string, ScriptedMember>();
  let list: Membership | undefined;
  for (const name of names) {
    const script: MemberScript = {
      readRange(call) {
        reads.get(name)!.push(call);
        sendRamp(call, size);
      },
      watchMembers: (call) => void call.write(list!.toMessage(name)),
    };
    members.set(name, await startMember(script));
  }
  const infos: MemberInfo[] = [...members].map(([name, { address }]) => ({ name, grpcAddress: address }));
  list = Membership.of(infos, blockBytes);
  return { members, reads, list };
}

describe("connecting", () => {
  it("is aborted by its signal, before or while no member answers, and leaves no listener at it", async () => {
    const silent = createServer().listen(0, "127.0.0.1");
    await once(silent, "listening");
    const caller = new AbortController();
    const endpoint = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const connecting = CacheClient.connect({ endpoint, signal: caller.signal });
    const [socket] = (await once(silent, "connection")) as [Socket];
    const hungUp = once(socket.resume(), "close");
    caller.abort();
    await expect(connecting).rejects.toMatchObject({
      code: "CANCELLED",
      message: `connecting to ${endpoint}: cancelled by the caller`,
    });
    await hungUp;
    await expect(CacheClient.connect({ endpoint, signal: caller.signal })).rejects.toMatchObject({ code: "CANCELLED" });
    expect(getEventListeners(caller.signal, "abort")).toEqual([]);
    silent.close();
    await once(silent, "close");
  });

  it("does not use its signal after it has succeeded", async () => {
    const caller = new AbortController();
    const client = await connect(await startMember(), { signal: caller.signal });
    expect(getEventListeners(caller.signal, "abort")).toEqual([]);
    caller.abort();
    expect(await client.readRange(url, 0, 10)).toHaveLength(10);
  });
});

describe("a client", () => {
  it("reads ranges, with and without a version", async () => {
    const client = await connect(await startMember());
    expect((await client.readRange(url, 17, 4_000)).equals(ramp(17, 4_000))).toBe(true);
    expect((await client.readRange(url, size - 5, 400, "v1")).equals(ramp(size - 5, 5))).toBe(true);
    await expect(client.readRange("not a url", 0, 1)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(client.readRange(url, 0, -1)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("reads a range of length 0 without a request", async () => {
    const client = await connect(await startMember({}));
    expect((await client.readRange(url, 5, 0)).length).toBe(0);
    expect(await client.stream(url, 5, 0).toArray()).toEqual([]);
  });

  it("streams, and cancels the member's work when the consumer stops", async () => {
    let cancelled: Promise<unknown> | undefined;
    const member = await startMember({
      readRange(call) {
        if (call.request.key === url) return sendRamp(call, size);
        cancelled = once(call, "cancelled");
        call.write({ data: ramp(0, 10), version: "v1", objectSize: size });
      },
    });
    const client = await connect(member);
    expect(Buffer.concat(await client.stream(url).toArray()).equals(ramp(0, size))).toBe(true);
    for await (const piece of client.stream("s3://bucket/endless")) {
      expect(piece).toEqual(ramp(0, 10));
      break;
    }
    await cancelled;
  });

  it("calls stat and evict, and rejects prefixes without a scheme", async () => {
    const member = await startMember({
      stat: (call, callback) =>
        callback(null, {
          version: "v1",
          objectSize: call.request.key.length,
          contentType: "text/plain",
          lastModifiedMs: 5,
          headers: [{ name: "content-encoding", value: "gzip" }],
          lacks: "",
          cachedBytes: 1,
        }),
      evict: (_call, callback) => callback(null, { blocks: 3, bytes: 4 }),
    });
    const client = await connect(member);
    expect(await client.stat(url)).toEqual({
      version: "v1",
      objectSize: url.length,
      contentType: "text/plain",
      lastModifiedMs: 5,
      headers: { "content-encoding": "gzip" },
      cachedBytes: 1,
    });
    expect(await client.evict({ prefix: "s3://bucket/" })).toEqual({ blocks: 3, bytes: 4 });
    await expect(client.evict({ prefix: "" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(client.evict({ url: "s3://bucket" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("fails to connect in one line if nothing listens", async () => {
    const member = await startMember();
    await member.kill();
    await expect(CacheClient.connect({ endpoint: member.address })).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining(member.address),
    });
  });

  it("reads each block from its owner after the owner has answered once", async () => {
    const { members, reads, list } = await startCluster(["a", "b", "c"], 1_000);
    const client = await connect(members.get("a")!);
    expect(client.members()).toEqual(list.members);
    // The first reads may go through the endpoint, while the others are being reached.
    await eventually(async () => {
      for (const calls of reads.values()) calls.splice(0);
      expect((await client.readRange(url, 0, size, "v1")).equals(ramp(0, size))).toBe(true);
      for (const [name, calls] of reads) {
        for (const { request } of calls) expect(list.owner(url, request.offset)?.name).toBe(name);
      }
    });
    expect([...reads.values()].flat().length).toBe(10);
  });

  it("continues reads when members die, with one failed attempt per member", async () => {
    const { members, reads } = await startCluster(["a", "b", "c"], 1_000);
    const client = await connect(members.get("a")!);
    await eventually(async () => {
      await client.readRange(url, 0, size, "v1");
      expect([reads.get("b")!.length, reads.get("c")!.length]).not.toContain(0);
    });
    await members.get("b")!.kill();
    for (let round = 0; round < 5; round++) {
      expect((await client.readRange(url, 0, size)).equals(ramp(0, size))).toBe(true);
    }
    await members.get("a")!.kill();
    expect((await client.readRange(url, 0, size)).equals(ramp(0, size))).toBe(true);
  });

  it("reads through the endpoint if no other address is reachable, without waiting for them", async () => {
    const asked: ReadCall[] = [];
    // An address of a network that is for documentation only: nothing answers, not even with a refusal.
    const infos: MemberInfo[] = [1, 2, 3].map((n) => ({ name: `m${n}`, grpcAddress: `192.0.2.${n}:8080` }));
    const member = await startMember({
      readRange(call) {
        asked.push(call);
        sendRamp(call, size);
      },
      watchMembers: (call) => void call.write(Membership.of(infos, 1_000).toMessage("m1")),
    });
    const client = await connect(member, { connectTimeoutMs: 60_000, deadlineMs: 30_000 });
    expect((await client.readRange(url, 0, size)).equals(ramp(0, size))).toBe(true);
    expect(asked.length).toBe(10);
  });

  it("survives the restart of the only member", async () => {
    const script: MemberScript = { readRange: (call) => sendRamp(call, size) };
    const member = await startMember(script);
    const client = await connect(member, { attempts: 50 });
    await client.readRange(url, 0, size);
    await member.kill();
    const reading = client.readRange(url, 0, size);
    await startMember(script, member.address);
    expect((await reading).equals(ramp(0, size))).toBe(true);
  });

  it("ends all calls with CANCELLED and closes all connections when it is closed", async () => {
    const member = await ScriptedMember.start({ readRange: () => undefined });
    const client = await connect(member);
    const read = client.readRange(url, 0, size);
    const stream = client.stream(url);
    const failed = Promise.all([expect(read).rejects.toMatchObject({ code: "CANCELLED" }), once(stream, "error")]);
    await client.close();
    const [, [error]] = await failed;
    expect(error).toBeInstanceOf(CacheError);
    await expect(client.readRange(url, 0, 1)).rejects.toMatchObject({
      code: "CANCELLED",
      message: `${url}: the client is closed`,
    });
    expect(() => client.stream(url)).toThrow("the client is closed");
    // Ends only when no connection is left, which the member does not close by itself.
    await member.stop();
  });

  it("closes at the end of its scope with `await using`", async () => {
    const member = await ScriptedMember.start({});
    {
      await using client = await CacheClient.connect({ endpoint: member.address });
      expect(client.members()).toEqual([]);
    }
    await member.stop();
  });
});

describe("a caller of the client", () => {
  it("finds its own functions in the stack of an error", async () => {
    const client = await connect(await startMember({}));
    async function readOfMine(): Promise<Buffer> {
      return await client.readRange(url, 0, 10);
    }
    async function statOfMine(): Promise<unknown> {
      return await client.stat(url);
    }
    for (const [work, name] of [
      [readOfMine, "readOfMine"],
      [statOfMine, "statOfMine"],
    ] as const) {
      const error = await work().catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(CacheError);
      expect((error as CacheError).stack).toContain(name);
    }
  });

  it("gets an AbortError if its signal aborts a read, or the stream of a pipeline", async () => {
    const client = await connect(await startMember({ readRange: () => undefined }));
    const caller = new AbortController();
    const reading = client.readRange(url, 0, 10, "", { signal: caller.signal });
    const piping = pipeline(client.stream(url, 0, 10, "", { signal: caller.signal }), new PassThrough());
    caller.abort();
    for (const work of [reading, piping]) await expect(work).rejects.toMatchObject({ name: "AbortError", code: "CANCELLED" });
  });

  it("gets a stream whose type has Buffers as chunks", async () => {
    const client = await connect(await startMember());
    let bytes = 0;
    // Compiles only if pieces are typed: a number has no length.
    for await (const piece of client.stream(url, 0, 100)) bytes += piece.readUInt8(0) === 0 ? piece.length : 0;
    expect(bytes).toBe(100);
  });

  it("gets an error with the cause if no connection can be made", async () => {
    const unused = createServer().listen(0, "127.0.0.1");
    await once(unused, "listening");
    const { port } = unused.address() as AddressInfo;
    unused.close();
    await once(unused, "close");
    const refused = `cannot connect to 127.0.0.1:${port}: connection refused`;
    let error: unknown = await CacheClient.connect({ endpoint: `127.0.0.1:${port}` }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "UNAVAILABLE", message: refused });
    const codes: unknown[] = [];
    for (; error instanceof Error; error = error.cause) codes.push((error as NodeJS.ErrnoException).code);
    expect(codes).toContain("ECONNREFUSED");
    await expect(CacheClient.connect({ endpoint: "no-such-host.invalid:80" })).rejects.toMatchObject({
      message: expect.stringMatching(/^cannot connect to no-such-host\.invalid:80: name not resolved/),
    });
  });
});
