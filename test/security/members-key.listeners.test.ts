import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { connectMembers, type MemberConnections } from "@frontcache/client/members";
import { BufferLanding, CallerHandshake, PinnedObject, RunningCall, systemClock } from "@frontcache/client/testing";
import { RecordQuestion } from "@frontcache/proto";
import { ManualClock, MemberSecurity, memberAccess, RawClient, readSettings, silentLog } from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { temporaryDirectory } from "../e2e/member-process.js";
import { Authority, CertificateFiles } from "./authority.js";
import { BYTES, ListenersUnderTest, URL } from "./listeners-under-test.js";

const OLD = "old-key-of-the-members-0123456789abcdef";
const NEW = "new-key-of-the-members-0123456789abcdef";

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
const closing: (() => Promise<void>)[] = [];

beforeEach(async () => {
  directory = await temporaryDirectory();
});

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await directory[Symbol.asyncDispose]();
});

/** A file of keys, one per line, that can be replaced. */
function keyFile(name: string, ...keys: string[]) {
  const path = join(directory.path, name);
  const write = (...lines: string[]): void => writeFileSync(path, lines.map((line) => `${line}\n`).join(""));
  write(...keys);
  return { path, write };
}

/** Another member, which connects to the listeners under test as members do. */
class Caller {
  readonly clock: ManualClock;
  readonly lines: object[];
  readonly security: MemberSecurity;
  readonly connections: MemberConnections;

  private constructor(security: MemberSecurity, clock: ManualClock, lines: object[]) {
    this.security = security;
    this.clock = clock;
    this.lines = lines;
    const members = { clock: { ...systemClock, random: Math.random }, connectTimeoutMs: 60_000, mostConnections: 4 };
    this.connections = connectMembers({ ...members, access: memberAccess(security), transport: "http" });
    security.onRenewal(() => this.connections.renew());
  }

  static async open(flags: object): Promise<Caller> {
    const lines: object[] = [];
    const log = { ...silentLog, warn: (fields: object) => lines.push(fields) };
    const clock = new ManualClock();
    const security = await MemberSecurity.open(readSettings({ name: "cache-0", ...flags }, {}), clock, log as never);
    const caller = new Caller(security, clock, lines);
    closing.push(async () => {
      await caller.connections.close();
      await security.close();
    });
    return caller;
  }

  /** Whether the listeners take it for a member: asked by a forwarded read by HTTP, and a forwarded stat by gRPC. */
  async isMemberAt(listeners: ListenersUnderTest): Promise<{ http: boolean; grpc: boolean }> {
    const address = { grpcAddress: listeners.grpcAddress, httpAddress: `127.0.0.1:${listeners.httpPort}` };
    const call = new RunningCall({ clock: systemClock, subject: URL, deadlineMs: 60_000 });
    const pinned = new PinnedObject(URL, "");
    const place = (bytes: number): Buffer => Buffer.alloc(bytes);
    const landing = new BufferLanding({ blockOffset: 0, offset: 0, length: BYTES.length }, { pinned, place });
    const request = landing.nextRequest.bind(landing);
    landing.nextRequest = () => ({ ...request(), forwarded: true });
    try {
      await this.connections.blocks.read(address, landing, call);
      await this.connections.calls.stat(address, { url: URL, version: "", forwarded: true }, call);
    } finally {
      call.end();
    }
    const [read, stat] = [listeners.cache.requests.at(-1)!, listeners.cache.stats.at(-1)!];
    expect([read.principal.isMember, stat.principal.isMember]).toEqual([read.forwarded, stat.forwarded]);
    return { http: read.forwarded, grpc: stat.forwarded === true };
  }
}

const MEMBER = { http: true, grpc: true };
const CLIENT = { http: false, grpc: false };

async function openListeners(flags: object, clock = new ManualClock()): Promise<ListenersUnderTest> {
  const listeners = await ListenersUnderTest.open({ name: "cache-1", ...flags }, clock);
  closing.push(() => listeners[Symbol.asyncDispose]());
  return listeners;
}

describe("a member with the members' key", () => {
  it("is a member by both protocols, and its requests carry its name", async () => {
    const { path } = keyFile("keys", NEW);
    const listeners = await openListeners({ membersKeyFile: path });
    const caller = await Caller.open({ membersKeyFile: path });
    expect(await caller.isMemberAt(listeners)).toEqual(MEMBER);
    expect(listeners.cache.stats.at(-1)!.principal.name).toBe("member cache-0");
    expect(listeners.security.members.refusals.counts).toMatchObject({ grpc: 0, http: 0 });
  });

  it("asks about objects, renews leases and takes over only in the name that it proved", async () => {
    const { path } = keyFile("keys", NEW);
    const listeners = await openListeners({ membersKeyFile: path });
    const { connections } = await Caller.open({ membersKeyFile: path });
    const address = { grpcAddress: listeners.grpcAddress };
    const call = new RunningCall({ clock: systemClock, subject: URL, deadlineMs: 60_000 });
    const calls = (name: string): Promise<unknown>[] => [
      connections.objects.lookUpRecords(
        address,
        { name, hops: 0, questions: [RecordQuestion.fromPartial({ key: URL })] },
        () => {},
        call,
      ),
      connections.objects.renewLeases(address, { name, ids: [1] }, call),
      connections.objects.handOver(address, { name, hash: "", home: "" }, () => {}, call),
    ];
    const outcomes = async (name: string): Promise<string[]> =>
      (await Promise.allSettled(calls(name))).map((outcome) =>
        outcome.status === "fulfilled" ? "answered" : outcome.reason.code,
      );
    expect(await outcomes("cache-0")).toEqual(["answered", "answered", "answered"]);
    expect(await outcomes("cache-2")).toEqual(["PERMISSION_DENIED", "PERMISSION_DENIED", "PERMISSION_DENIED"]);
    expect(listeners.security.members.refusals.counts).toMatchObject({ grpc: 3, http: 0 });
    call.end();
  });

  it("is one within TLS, too", async () => {
    const { path } = keyFile("keys", NEW);
    const authority = await Authority.create("ours");
    const files = new CertificateFiles(directory.path);
    files.write(await authority.issue("frontcache"), authority.pem);
    const flags = { membersKeyFile: path, tlsCert: files.cert, tlsKey: files.key, tlsCa: files.ca, tlsServerName: "frontcache" };
    const listeners = await openListeners({ ...flags, membersName: "another.name" });
    expect(await (await Caller.open(flags)).isMemberAt(listeners)).toEqual(MEMBER);
  });

  it("does not speak to a listener that is another member than the list says", async () => {
    const { path } = keyFile("keys", NEW);
    const listeners = await openListeners({ membersKeyFile: path });
    const caller = await Caller.open({ membersKeyFile: path });
    const httpAddress = `127.0.0.1:${listeners.httpPort}`;
    caller.security.followMembers(() => [{ name: "cache-2", grpcAddress: listeners.grpcAddress, httpAddress }]);
    await expect(caller.isMemberAt(listeners)).rejects.toThrow(
      `cannot connect to ${httpAddress}: it is the member cache-1, not cache-2`,
    );
    const call = new RunningCall({ clock: systemClock, subject: URL, deadlineMs: 60_000 });
    const stat = caller.connections.calls.stat(listeners, { url: URL, version: "" }, call).finally(() => call.end());
    await expect(stat).rejects.toThrow(`cannot connect to ${listeners.grpcAddress}: it is the member cache-1, not cache-2`);
  });
});

describe("any other caller", () => {
  it.each([
    ["without a key", () => ({})],
    ["with another key", () => ({ membersKeyFile: keyFile("theirs", OLD).path })],
  ])("%s is a client, even at a member's address: what only members may send is ignored and counted", async (_, flags) => {
    const listeners = await openListeners({ membersKeyFile: keyFile("ours", NEW).path });
    listeners.security.followMembers(() => [{ name: "cache-0", grpcAddress: "127.0.0.1:8080" }]);
    expect(await (await Caller.open(flags())).isMemberAt(listeners)).toEqual(CLIENT);
    expect(listeners.security.members.refusals.counts).toMatchObject({ grpc: 1, http: 1 });
  });

  it("that replays a recorded handshake is disconnected and counted", async () => {
    const { path } = keyFile("keys", NEW);
    const listeners = await openListeners({ membersKeyFile: path });
    const { security } = await Caller.open({ membersKeyFile: path });
    const recorded = new CallerHandshake(security.caller!, `127.0.0.1:${listeners.httpPort}`);
    let proof: string | undefined;
    for (const port of [listeners.httpPort, listeners.grpc.address.port]) {
      await using genuine = await RawClient.connect(port);
      genuine.send(recorded.hello);
      proof ??= recorded.take(await genuine.line());
      await using replaying = await RawClient.connect(port);
      replaying.send(recorded.hello);
      await replaying.line();
      replaying.send(`${proof}GET /s3/bucket/object HTTP/1.1\r\nHost: m\r\nfrontcache-forwarded: 1\r\n\r\n`);
      expect(await replaying.rest()).toBe("");
    }
    expect(listeners.cache.requests).toEqual([]);
    expect(listeners.security.members.refusals.counts).toMatchObject({ grpc: 1, http: 1 });
  });

  it.each(["frontcache-member/1 \n", "frontcache-member/1 a b c\nproven\n", `frontcache-member/1 ${"x".repeat(5_000)}`])(
    "that sends %j is disconnected",
    async (text) => {
      const listeners = await openListeners({ membersKeyFile: keyFile("keys", NEW).path });
      for (const port of [listeners.httpPort, listeners.grpc.address.port]) {
        await using client = await RawClient.connect(port);
        client.send(text);
        expect(await client.rest()).toBe("");
      }
      expect(listeners.security.members.refusals.counts).toMatchObject({ grpc: 1, http: 1 });
    },
  );
});

describe("a key that is replaced", () => {
  /** Reads the changed file: the clock's next second has come, and the new keys count. */
  async function read(security: MemberSecurity, clock: ManualClock): Promise<void> {
    const before = security.members.revision;
    await expect
      .poll(() => {
        clock.advance(1_000);
        return security.members.revision;
      })
      .toBeGreaterThan(before);
  }

  it("never makes a member a client: first both are valid, then the new one alone", async () => {
    const [ours, theirs] = [keyFile("ours", OLD), keyFile("theirs", OLD)];
    const clock = new ManualClock();
    const listeners = await openListeners({ membersKeyFile: ours.path }, clock);
    const caller = await Caller.open({ membersKeyFile: theirs.path });
    expect(await caller.isMemberAt(listeners)).toEqual(MEMBER);
    theirs.write(NEW, OLD);
    await read(caller.security, caller.clock);
    expect(await caller.isMemberAt(listeners)).toEqual(MEMBER);
    ours.write(NEW, OLD);
    await read(listeners.security, clock);
    expect(await caller.isMemberAt(listeners)).toEqual(MEMBER);
    // By now the caller has learned that its connections are by the old key, and replaces them.
    caller.clock.advance(30_000);
    ours.write(NEW);
    await read(listeners.security, clock);
    expect(await caller.isMemberAt(listeners)).toEqual(MEMBER);
    theirs.write(NEW);
    await read(caller.security, caller.clock);
    expect(await caller.isMemberAt(listeners)).toEqual(MEMBER);
  });

  it("proves nothing any more once it is removed, not even on connections that it has proven", async () => {
    const ours = keyFile("ours", OLD);
    const clock = new ManualClock();
    const listeners = await openListeners({ membersKeyFile: ours.path }, clock);
    const caller = await Caller.open({ membersKeyFile: keyFile("theirs", OLD).path });
    expect(await caller.isMemberAt(listeners)).toEqual(MEMBER);
    ours.write(NEW);
    await read(listeners.security, clock);
    expect(await caller.isMemberAt(listeners)).toEqual(CLIENT);
  });

  it("is introduced while members run: without a common key they continue as clients, and prove themselves when they have one", async () => {
    const [ours, theirs] = [keyFile("ours", OLD), keyFile("theirs", NEW)];
    const clock = new ManualClock();
    const listeners = await openListeners({ membersKeyFile: ours.path }, clock);
    const caller = await Caller.open({ membersKeyFile: theirs.path });
    expect(await caller.isMemberAt(listeners)).toEqual(CLIENT);
    expect(caller.lines).toMatchObject([{ event: "members-key-unknown" }]);
    ours.write(NEW);
    await read(listeners.security, clock);
    caller.clock.advance(30_000);
    expect(await caller.isMemberAt(listeners)).toEqual(MEMBER);
  });
});

describe("a file of keys that can't be used", () => {
  it.each([
    ["without a key", "\n\n", "the file contains no key"],
    ["with a key that can be guessed", "secret\n", "the key in line 1 has 6 characters"],
    ["with too many keys", `${`${NEW}\n`.repeat(9)}`, "the file contains more than 8 keys"],
  ])("%s ends the start, and its content is not shown", async (_, text, message) => {
    const { path } = keyFile("keys");
    writeFileSync(path, text);
    const opening = MemberSecurity.open(readSettings({ membersKeyFile: path }, {}), new ManualClock(), silentLog);
    await expect(opening).rejects.toThrow(message);
    await expect(opening).rejects.not.toThrow(NEW);
    await expect(opening).rejects.not.toThrow("secret");
  });
});
