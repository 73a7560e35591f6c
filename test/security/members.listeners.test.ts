import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { ManualClock } from "@frontcache/server/testing";
import { type ServiceError, status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { temporaryDirectory } from "../e2e/member-process.js";
import { Authority, CertificateFiles } from "./authority.js";
import { ListenersUnderTest, type Shown, URL } from "./listeners-under-test.js";

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let authority: Authority;
let files: CertificateFiles;

beforeAll(async () => {
  directory = await temporaryDirectory();
  authority = await Authority.create("ours");
  files = new CertificateFiles(directory.path);
  files.write(await authority.issue("frontcache"), authority.pem);
});

afterAll(() => directory[Symbol.asyncDispose]());

/** Members of the list, one at each host. */
const at = (...hosts: string[]) => hosts.map((host, index) => ({ name: `cache-${index}`, grpcAddress: `${host}:8080` }));

/** Ends when the answer has come. */
function getForwarded(port: number, { tls }: Shown): Promise<void> {
  const headers = { range: "bytes=0-3", "frontcache-forwarded": "1", "frontcache-open-ended": "1" };
  const address = { host: "127.0.0.1", port, path: "/s3/bucket/object", headers, agent: false as const };
  return new Promise((resolve, reject) => {
    const request = tls === undefined ? requestHttp(address) : requestHttps({ ...address, ...tls });
    request.on("response", (response) => response.resume().on("end", resolve));
    request.on("error", reject).end();
  });
}

function unary(start: (done: (error: ServiceError | null) => void) => unknown): Promise<void> {
  return new Promise((resolve, reject) => start((error) => (error === null ? resolve() : reject(error))));
}

/** Sends a forwarded request of each kind by both protocols, and returns how the cache was asked. */
async function sendForwarded(listeners: ListenersUnderTest, shown: Shown): Promise<object[]> {
  const { client, metadata } = listeners.caller(shown);
  const request = { key: URL, offset: 0, length: 4, version: "", forwarded: true, cachedOnly: false };
  for await (const _ of client.readRange(request, metadata) as AsyncIterable<unknown>);
  await getForwarded(listeners.httpPort, shown);
  await unary((done) => client.stat({ key: URL, version: "", forwarded: true, checksums: false }, metadata, done));
  const { requests, stats } = listeners.cache;
  return [...requests, ...stats.slice(-1)].map(({ forwarded, principal }) => ({ forwarded, isMember: principal.isMember }));
}

const AS_MEMBER = Array.from({ length: 3 }, () => ({ forwarded: true, isMember: true }));
const AS_CLIENT = Array.from({ length: 3 }, () => ({ forwarded: false, isMember: false }));

/** One more than its three requests: each of the two headers of the read by HTTP is refused. */
const REFUSALS = { grpc: 2, http: 2 };

function evictHere(listeners: ListenersUnderTest, shown: Shown): Promise<void> {
  const { client, metadata } = listeners.caller(shown);
  return unary((done) => client.evict({ key: URL, version: "", prefix: false, forwarded: true }, metadata, done));
}

async function warmOneBlock(listeners: ListenersUnderTest, shown: Shown): Promise<void> {
  const { client, metadata } = listeners.caller(shown);
  const block = { offset: 0, objectSize: 0, from: "" };
  const request = { keys: [URL], prefixes: [], version: "", concurrency: 0, dryRun: false, block };
  for await (const _ of client.warm(request, metadata) as AsyncIterable<unknown>);
}

describe("a caller whose address is in the member list", () => {
  it("is a member: its forwarded requests are accepted", async () => {
    await using listeners = await ListenersUnderTest.open({}, new ManualClock());
    listeners.security.followMembers(() => at("127.0.0.1"));
    expect(await sendForwarded(listeners, {})).toEqual(AS_MEMBER);
    await warmOneBlock(listeners, {});
    expect(listeners.cache.warmedBlocks).toMatchObject([{ principal: { isMember: true } }]);
    await evictHere(listeners, {});
    expect(listeners.cache.evictions).toMatchObject([{ forwarded: true, principal: { isMember: true } }]);
    expect(listeners.security.members.refusals.counts).toMatchObject({ grpc: 0, http: 0 });
  });

  it("becomes one, and is one no longer, on the connection that it has", async () => {
    await using listeners = await ListenersUnderTest.open({}, new ManualClock());
    const { client } = listeners.caller({});
    const stat = async (): Promise<boolean | undefined> => {
      await unary((done) => client.stat({ key: URL, version: "", forwarded: true, checksums: false }, done));
      return listeners.cache.stats.at(-1)?.forwarded;
    };
    expect(await stat()).toBe(false);
    let others = at("localhost-of-nobody.invalid", "[::1]");
    listeners.security.followMembers(() => others);
    expect(await stat()).toBe(true);
    others = at("10.0.0.7");
    listeners.security.membersChanged();
    expect(await stat()).toBe(false);
  });
});

describe("any other caller", () => {
  it("is a client: what only members may send is ignored, counted and logged", async () => {
    const lines: object[] = [];
    const log = { warn: (fields: object) => lines.push(fields) };
    await using listeners = await ListenersUnderTest.open({}, new ManualClock(), log as never);
    listeners.security.followMembers(() => at("10.0.0.7"));
    expect(await sendForwarded(listeners, {})).toEqual(AS_CLIENT);
    expect(listeners.security.members.refusals.counts).toMatchObject(REFUSALS);
    expect(lines).toMatchObject([{ event: "members-by-address" }, { event: "not-a-member", listener: "grpc" }]);
  });

  it("can't have single blocks warmed, or evict at one member alone", async () => {
    await using listeners = await ListenersUnderTest.open({}, new ManualClock());
    await expect(warmOneBlock(listeners, {})).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
    await expect(evictHere(listeners, {})).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
    expect([listeners.cache.warmedBlocks, listeners.cache.evictions]).toEqual([[], []]);
    expect(listeners.security.members.refusals.counts).toMatchObject({ grpc: 2, http: 0 });
  });

  it.each([
    ["LookUpRecords", { name: "cache-1", hops: 0, questions: [] }],
    ["HandOver", { name: "cache-1", hash: "" }],
  ] as const)("gets no answer to %s", async (method, request) => {
    await using listeners = await ListenersUnderTest.open({}, new ManualClock());
    const { client } = listeners.caller({});
    const call = method === "HandOver" ? client.handOver(request as never) : client.lookUpRecords(request as never);
    const answers = async (): Promise<void> => {
      for await (const _ of call as AsyncIterable<unknown>);
    };
    await expect(answers()).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
    expect(listeners.security.members.refusals.counts).toMatchObject({ grpc: 1, http: 0 });
  });

  it("revokes and renews no lease", async () => {
    await using listeners = await ListenersUnderTest.open({}, new ManualClock());
    const { client } = listeners.caller({});
    const denied = { code: status.PERMISSION_DENIED };
    await expect(unary((done) => client.versionChanged({ keys: [URL] }, done))).rejects.toMatchObject(denied);
    await expect(unary((done) => client.renewLeases({ name: "cache-1", ids: [1] }, done))).rejects.toMatchObject(denied);
    expect(listeners.security.members.refusals.counts).toMatchObject({ grpc: 2, http: 0 });
  });
});

describe("with mutual TLS", () => {
  const mutual = () => ({ tlsCert: files.cert, tlsKey: files.key, tlsCa: files.ca });
  const showing = async (...names: string[]): Promise<Shown> => ({
    tls: { ca: authority.pem, ...(await authority.issue(...names)) },
  });

  it.each([
    ["--tls-server-name", { tlsServerName: "frontcache" }, ["frontcache"]],
    ["--tls-server-name, whose certificate has further names", { tlsServerName: "frontcache" }, ["cache-0", "frontcache"]],
    ["--members-name", { tlsServerName: "frontcache", membersName: "members.frontcache" }, ["members.frontcache"]],
    ["a URI", { membersName: "spiffe://cluster/ns/cache/sa/frontcache" }, ["spiffe://cluster/ns/cache/sa/frontcache"]],
  ])("a caller with the members' name is a member: %s", async (_, flags, names) => {
    await using listeners = await ListenersUnderTest.open({ ...mutual(), ...flags }, new ManualClock());
    expect(await sendForwarded(listeners, await showing(...names))).toEqual(AS_MEMBER);
  });

  it.each([
    ["another name", { tlsServerName: "frontcache" }, ["a client"]],
    ["a name that the members' is a part of", { tlsServerName: "frontcache" }, ["x.frontcache"]],
    ["the servers' name instead of the members'", { tlsServerName: "frontcache", membersName: "member" }, ["frontcache"]],
  ])("a caller with %s is none, even at a member's address", async (_, flags, names) => {
    await using listeners = await ListenersUnderTest.open({ ...mutual(), ...flags }, new ManualClock());
    listeners.security.followMembers(() => at("127.0.0.1"));
    expect(await sendForwarded(listeners, await showing(...names))).toEqual(AS_CLIENT);
    expect(listeners.security.members.refusals.counts).toMatchObject(REFUSALS);
  });
});
