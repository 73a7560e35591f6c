import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { CacheServiceClient, callMetadata } from "@frontcache/client/grpc";
import { accessOf } from "@frontcache/client/testing";
import { ReadRangeRequest, type ReadRangeResponse, StatRequest } from "@frontcache/proto";
import { credentials, type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { MemberInProcess } from "../e2e/member-in-process.js";
import { temporaryDirectory } from "../e2e/member-process.js";
import type { SeenRequest } from "../emulators/faults.js";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { Chance } from "../seeded-random.js";
import { startMemberPair } from "./member-pair.js";

const KEY = "key-of-the-members-0123456789abcdef";
const TOKENS = { ada: "token-of-ada-0123456789", bob: "token-of-bob-0123456789", ops: "token-of-ops-0123456789" };
const OBJECTS = 6;
const BYTES = 1_000;

const hashed = (token: string): string => createHash("sha256").update(token).digest("hex");

const IDENTITIES = `
identities:
  - { name: ada, tokens: ${hashed(TOKENS.ada)}, origin: { accessKeyId: AKIAADA, secretAccessKey: secret-of-ada } }
  - { name: bob, tokens: ${hashed(TOKENS.bob)}, origin: { accessKeyId: AKIABOB, secretAccessKey: secret-of-bob } }
  - { name: ops, tokens: ${hashed(TOKENS.ops)} }
  - { name: anonymous, origin: unsigned }
grants:
  - { to: [ada, bob, anonymous], operations: [read, list], buckets: s3://bucket }
  - { to: ops, operations: status }
`;

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let origin: S3Emulator;
let members: MemberInProcess[];
/** Who may read at the origin, by the IDs of access keys; `unsigned`: everybody. */
let allowed: Set<string>;
/** Whether the origin lets the holder of an access key do something with a key, or list a prefix. */
let mayUse: (signer: string, key: string) => boolean;
let signers: string[];

beforeEach(async () => {
  directory = await temporaryDirectory();
  origin = await S3Emulator.start();
  members = [];
  allowed = new Set();
  signers = [];
  mayUse = (signer) => allowed.has(signer);
  const isDenied = ({ headers, key, query }: SeenRequest): boolean => {
    const signer = /Credential=([^/]+)/.exec(headers.authorization ?? "")?.[1] ?? "unsigned";
    signers.push(signer);
    return !mayUse(signer, key === "" ? (query.get("prefix") ?? "") : key);
  };
  origin.faults.place({ when: isDenied, error: { status: 403, code: "AccessDenied" } });
});

afterEach(async () => {
  await Promise.all(members.map((member) => member.stop()));
  await origin.close();
  await directory[Symbol.asyncDispose]();
});

async function startMembers(...flags: string[]): Promise<void> {
  const identitiesFile = join(directory.path, "identities.yaml");
  const keyFile = join(directory.path, "key");
  writeFileSync(identitiesFile, IDENTITIES);
  writeFileSync(keyFile, `${KEY}\n`);
  const flagsOf = (): string[] => ["--identities-file", identitiesFile, "--members-key-file", keyFile, ...flags];
  members = await startMemberPair({ endpoint: origin.endpoint, directory: directory.path, flagsOf });
}

type Caller = keyof typeof TOKENS | "anonymous";

/** Calls the gRPC service; returns the status. */
async function call(grpc: string, caller: Caller, key: string, method: "readRange" | "stat"): Promise<number> {
  const client = new CacheServiceClient(grpc, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
  const metadata = callMetadata(accessOf({ token: caller === "anonymous" ? undefined : TOKENS[caller] }));
  try {
    const url = `s3://bucket/${key}`;
    if (method === "stat") {
      return await new Promise((resolve) =>
        client.stat(StatRequest.fromPartial({ key: url }), metadata, (error) => resolve(error?.code ?? status.OK)),
      );
    }
    let bytes = 0;
    const messages = client.readRange(ReadRangeRequest.fromPartial({ key: url, length: BYTES }), metadata);
    for await (const { data } of messages as AsyncIterable<ReadRangeResponse>) bytes += data.length;
    return bytes === BYTES ? status.OK : status.INTERNAL;
  } catch (error) {
    return (error as ServiceError).code;
  } finally {
    client.close();
  }
}

async function get(http: string, path: string, caller: Caller, more: Record<string, string> = {}, method = "GET") {
  const headers = { ...more, ...(caller !== "anonymous" && { authorization: `Bearer ${TOKENS[caller]}` }) };
  const answer = await fetch(`http://${http}${path}`, { headers, method });
  return { status: answer.status, bytes: Buffer.from(await answer.arrayBuffer()) };
}

it("lets the origin decide for each principal at every member, although only the principal's own credentials may read", async () => {
  await startMembers("--verdict-ttl", "0");
  for (let object = 0; object < OBJECTS; object++) origin.putRamp("bucket", `${object}`, BYTES, object);
  const outcomes = async (caller: Caller): Promise<number[]> => {
    const codes: number[] = [];
    for (const { http } of members) {
      for (let object = 0; object < OBJECTS; object++) {
        const { status, bytes } = await get(http, `/s3/bucket/${object}`, caller);
        if (status === 200) expect(bytes.equals(rampBytes(0, BYTES, object))).toBe(true);
        codes.push(status);
      }
      codes.push((await get(http, "/s3/bucket?list-type=2", caller)).status);
    }
    return [...new Set(codes)];
  };
  // The members' own credentials, `test`, may read nothing: fills and questions for records are signed for ada, at whichever member.
  allowed.add("AKIAADA");
  expect(await outcomes("ada")).toEqual([200]);
  expect(await outcomes("bob")).toEqual([403]);
  expect(await outcomes("anonymous")).toEqual([403]);
  allowed.add("AKIABOB").add("unsigned");
  expect(await outcomes("bob")).toEqual([200]);
  expect(await outcomes("anonymous")).toEqual([200]);
  allowed.delete("AKIAADA");
  expect(await outcomes("ada")).toEqual([403]);
});

it("remembers a decision for its time, counts it, and believes nobody but members for whom a read is forwarded", async () => {
  await startMembers("--verdict-ttl", "1h", "--revalidate-after", "1h");
  origin.putRamp("bucket", "key", BYTES, 1);
  allowed.add("AKIAADA").add("test");
  const [{ http }] = members as [MemberInProcess];
  const forged = { "frontcache-forwarded": "1", "frontcache-on-behalf-of": "ada", range: "bytes=0-9" };
  for (let times = 0; times < 3; times++) expect((await get(http, "/s3/bucket/key", "ada")).status).toBe(200);
  expect((await get(http, "/s3/bucket/key", "bob", forged)).status).toBe(403);
  expect((await get(http, "/s3/bucket/key", "anonymous", forged)).status).toBe(403);
  const asked = signers.filter((signer) => signer === "AKIAADA").length;
  expect((await get(http, "/s3/bucket/key", "ada")).status).toBe(200);
  expect(signers.filter((signer) => signer === "AKIAADA").length).toBe(asked);
  const metrics = (await get(http, "/metrics", "ops")).bytes.toString();
  expect(metrics).toMatch(/frontcache_origin_verdicts_total\{outcome="remembered"[^}]*\} 3\b/);
  expect(metrics).toMatch(/frontcache_origin_verdicts_total\{outcome="allowed"[^}]*\} 1\b/);
  expect(metrics).toMatch(/frontcache_origin_verdicts_total\{outcome="denied"[^}]*\} 2\b/);
  expect(metrics).toMatch(/frontcache_member_refusals_total\{listener="http"[^}]*\} [1-9]/);
});

/** The keys that the origin lets each of them use. */
const PREFIXES: Readonly<Record<string, readonly string[]>> = {
  AKIAADA: ["ada/", "shared/", "public/"],
  AKIABOB: ["bob/", "shared/", "public/"],
  unsigned: ["public/"],
};
const CREDENTIALS: Readonly<Record<Caller, string>> = { ada: "AKIAADA", bob: "AKIABOB", ops: "test", anonymous: "unsigned" };

/** How a key is read, by each interface: the status, 200 or 403. */
const READS: Readonly<Record<string, (member: MemberInProcess, caller: Caller, key: string) => Promise<number>>> = {
  GET: async ({ http }, caller, key) => (await get(http, `/s3/bucket/${key}`, caller)).status,
  HEAD: async ({ http }, caller, key) => (await get(http, `/s3/bucket/${key}`, caller, {}, "HEAD")).status,
  "GET of a range": async ({ http }, caller, key) => least(await get(http, `/s3/bucket/${key}`, caller, { range: "bytes=5-9" })),
  "GET of a suffix": async ({ http }, caller, key) => least(await get(http, `/s3/bucket/${key}`, caller, { range: "bytes=-5" })),
  "a listing": async ({ http }, caller, key) => (await get(http, `/s3/bucket?list-type=2&prefix=${key}`, caller)).status,
  ReadRange: async ({ grpc }, caller, key) => ofGrpc(await call(grpc, caller, key, "readRange")),
  Stat: async ({ grpc }, caller, key) => ofGrpc(await call(grpc, caller, key, "stat")),
};

const least = ({ status: code }: { readonly status: number }): number => (code === 206 ? 200 : code);
const ofGrpc = (code: number): number =>
  code === status.OK ? 200 : code === status.PERMISSION_DENIED || code === status.UNAUTHENTICATED ? 403 : code;

it("answers each of 280 requests as the origin would answer the principal itself, whatever is cached", async () => {
  await startMembers("--verdict-ttl", "0");
  mayUse = (signer, key) => (PREFIXES[signer] ?? []).some((prefix) => key.startsWith(prefix));
  const keys = ["ada/k", "bob/k", "shared/k", "public/k", "nobody/k"];
  for (const [at, key] of keys.entries()) origin.putRamp("bucket", key, BYTES, at);
  const callers = Object.keys(CREDENTIALS) as Caller[];
  const requests = members.flatMap((member, at) =>
    Object.entries(READS).flatMap(([name, read]) =>
      callers.flatMap((caller) =>
        keys.map((key) => ({ name: `${name} of ${key} as ${caller} at member ${at}`, member, read, caller, key })),
      ),
    ),
  );
  expect(requests).toHaveLength(280);
  const chance = new Chance(20);
  for (let at = requests.length - 1; at > 0; at--) {
    const other = chance.below(at + 1);
    [requests[at], requests[other]] = [requests[other]!, requests[at]!];
  }
  const wrong: string[] = [];
  for (const { name, member, read, caller, key } of requests) {
    const expected = caller !== "ops" && mayUse(CREDENTIALS[caller], key) ? 200 : 403;
    const code = await read(member, caller, key);
    if (code !== expected) wrong.push(`${name}: ${code} in place of ${expected}`);
  }
  expect(wrong).toEqual([]);
  // The members' own credentials may use nothing, so each byte was fetched for a principal.
  expect(signers).toContain("AKIABOB");
});
