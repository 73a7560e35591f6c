import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { request as requestHttp } from "node:http";
import { join } from "node:path";
import { EvictRequest, ReadRangeRequest, StatRequest, WarmRequest } from "@frontcache/proto";
import { amzDateOf, canonicalOf, ManualClock, partsOf, Signer, signedHeadersOf, silentLog } from "@frontcache/server/testing";
import { type ServiceError, status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { temporaryDirectory } from "../e2e/member-process.js";
import { ListenersUnderTest } from "./listeners-under-test.js";

/** Everybody who asks, in the order of the table's columns. */
const CALLERS = ["ada", "bob", "ops", "root", "nobody", "anonymous", "wrong"] as const;

type Caller = (typeof CALLERS)[number];

const tokenOf = (caller: Caller): string | undefined => (caller === "anonymous" ? undefined : `${caller}-token-0123456789`);
const keyOf = (caller: Caller): string => `AKIA${caller.toUpperCase()}`;
const SECRET = "a-secret-of-an-access-key";

const identity = (caller: Caller): string =>
  `  - { name: ${caller}, tokens: [${createHash("sha256").update(tokenOf(caller)!).digest("hex")}], accessKeys: [{ id: ${keyOf(caller)}, secret: ${SECRET} }]${caller === "ops" ? ", groups: [operators]" : ""} }`;

const FILE = `
identities:
${(["ada", "bob", "ops", "root", "nobody"] as const).map(identity).join("\n")}
grants:
  - { to: ada, operations: [read, list], buckets: [s3://lake, gs://lake], prefixes: public/ }
  - { to: b*, operations: [read, list, evict, warm], buckets: s3://lake }
  - { to: "group:operators", operations: [status, evict, warm], buckets: ["s3://*"] }
  - { to: root, operations: [read, list, write, delete, warm, evict, status, admin], buckets: ["s3://*", "gs://*"] }
  - { to: anonymous, operations: read, buckets: s3://lake, prefixes: public/open }
`;

const signer = new Signer();
/** `wrong` signs with the access key of bob, and another secret. */
const identityOf = (caller: Caller) => ({
  accessKeyId: keyOf(caller === "wrong" ? "bob" : caller),
  secretAccessKey: caller === "wrong" ? `${SECRET}x` : SECRET,
});
const SCOPE = { region: "us-east-1", service: "s3" };
const EMPTY = createHash("sha256").update("").digest("hex");

/** Sends a request; its status, and the body as text. */
function send(
  port: number,
  method: string,
  path: string,
  headers: Record<string, string>,
): Promise<{ code: number; body: string }> {
  return new Promise((resolve, reject) => {
    const request = requestHttp({ port, host: "127.0.0.1", method, path, headers, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      response.on("end", () => resolve({ code: response.statusCode!, body }));
      response.on("error", reject);
    });
    request.on("error", reject).end();
  });
}

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let listeners: ListenersUnderTest;
/** The clock stands still, so that signatures do not become too old on a slow machine. */
const clock = new ManualClock(Date.now());
const logged: string[] = [];

beforeAll(async () => {
  directory = await temporaryDirectory();
  const identitiesFile = join(directory.path, "identities.yaml");
  writeFileSync(identitiesFile, FILE);
  const keep = (...line: unknown[]): void => void logged.push(JSON.stringify(line));
  const log = { ...silentLog, debug: keep, info: keep, warn: keep, error: keep, always: keep };
  listeners = await ListenersUnderTest.open({ identitiesFile }, clock, log as typeof silentLog);
  for (const url of ["public/a", "public/open", "private/b"]) {
    for (const scheme of ["s3", "gs"]) listeners.cache.objects.set(`${scheme}://lake/${url}`, Buffer.from("bytes"));
  }
  listeners.cache.objects.set("s3://other/public/a", Buffer.from("bytes"));
});

afterAll(async () => {
  await listeners[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
});

type Ask = (caller: Caller) => Promise<number>;

/** A signed request to the S3 endpoint. */
const s3 =
  (method: string, path: string, headers: Record<string, string> = {}): Ask =>
  async (caller) => {
    const { port } = listeners.s3.address;
    const host = `127.0.0.1:${port}`;
    if (caller === "anonymous") return (await send(port, method, path, { host, ...headers })).code;
    const amzDate = amzDateOf(clock.nowMs());
    const all: Record<string, string> = { ...headers, host, "x-amz-date": amzDate, "x-amz-content-sha256": EMPTY };
    const names = Object.keys(all).sort();
    const canonical = canonicalOf({ method, url: path, headers: all }, partsOf(path), {
      signed: signedHeadersOf(names),
      payloadHash: EMPTY,
    })!;
    const signature = signer.signatureOf(canonical, amzDate, identityOf(caller), SCOPE);
    const credential = `${identityOf(caller).accessKeyId}/${amzDate.slice(0, 8)}/us-east-1/s3/aws4_request`;
    const authorization = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
    return (await send(port, method, path, { ...all, authorization })).code;
  };

/** A presigned GET. */
const presigned =
  (path: string): Ask =>
  async (caller) => {
    const { port } = listeners.s3.address;
    const host = `127.0.0.1:${port}`;
    const url = caller === "anonymous" ? path : presignedUrl(caller, path);
    return (await send(port, "GET", url, { host })).code;
  };

/** The target of a presigned GET at the S3 endpoint. */
function presignedUrl(caller: Caller, path: string): string {
  const host = `127.0.0.1:${listeners.s3.address.port}`;
  const amzDate = amzDateOf(clock.nowMs());
  const credential = `${identityOf(caller).accessKeyId}/${amzDate.slice(0, 8)}/us-east-1/s3/aws4_request`;
  const url = `${path}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${encodeURIComponent(credential)}&X-Amz-Date=${amzDate}&X-Amz-Expires=86400&X-Amz-SignedHeaders=host`;
  const parts = { signed: signedHeadersOf(["host"]), payloadHash: "UNSIGNED-PAYLOAD" };
  const canonical = canonicalOf({ method: "GET", url, headers: { host } }, partsOf(url), parts)!;
  return `${url}&X-Amz-Signature=${signer.signatureOf(canonical, amzDate, identityOf(caller), SCOPE)}`;
}

/** A request to the HTTP listener with a token. */
const http =
  (path: string, headers: Record<string, string> = {}): Ask =>
  async (caller) => {
    const token = tokenOf(caller);
    const all = { ...headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) };
    return (await send(listeners.httpPort, "GET", path, all)).code;
  };

/** A gRPC call with a token. Answers as HTTP would. */
const grpc =
  (method: string, message: Uint8Array = new Uint8Array()): Ask =>
  async (caller) => {
    try {
      await listeners.call({ token: tokenOf(caller) }, method, Buffer.from(message));
      return 200;
    } catch (error) {
      const { code } = error as ServiceError;
      return code === status.PERMISSION_DENIED ? 403 : code === status.UNAUTHENTICATED ? 401 : code;
    }
  };

const PUBLIC = "s3://lake/public/a";
const PRIVATE = "s3://lake/private/b";
const readRange = (key: string, more = {}) =>
  grpc(
    "/cache.CacheService/ReadRange",
    ReadRangeRequest.encode(ReadRangeRequest.fromPartial({ key, length: 1, ...more })).finish(),
  );
const stat = (key: string) => grpc("/cache.CacheService/Stat", StatRequest.encode(StatRequest.fromPartial({ key })).finish());
const evict = (key: string, prefix = false) =>
  grpc("/cache.CacheService/Evict", EvictRequest.encode(EvictRequest.fromPartial({ key, prefix })).finish());
const warm = (of: object) => grpc("/cache.CacheService/Warm", WarmRequest.encode(WarmRequest.fromPartial(of)).finish());

/** What each of ada, bob, ops, root, nobody, anonymous and wrong gets: `+` an answer, `-` a refusal. */
const TABLE: readonly [what: string, expected: string, ask: Ask][] = [
  ["S3: GET", "++-+---", s3("GET", "/lake/public/a")],
  ["S3: GET of what everybody may read", "++-+-+-", s3("GET", "/lake/public/open")],
  ["S3: HEAD", "++-+---", s3("HEAD", "/lake/public/a")],
  ["S3: GET beside the prefix", "-+-+---", s3("GET", "/lake/private/b")],
  ["S3: HEAD beside the prefix", "-+-+---", s3("HEAD", "/lake/private/b")],
  ["S3: the end of an object beside the prefix", "-+-+---", s3("GET", "/lake/private/b", { range: "bytes=-1" })],
  ["S3: a path with dots beside the prefix", "-+-+---", s3("GET", "/lake/private%2Fb")],
  ["S3: a condition on an object beside the prefix", "-+-+---", s3("GET", "/lake/private/b", { "if-match": '"v1"' })],
  ["S3: another bucket", "---+---", s3("GET", "/other/public/a")],
  ["S3: a presigned URL", "++-+---", presigned("/lake/public/a")],
  ["S3: a presigned URL beside the prefix", "-+-+---", presigned("/lake/private/b")],
  ["S3: a listing", "++-+---", s3("GET", "/lake?list-type=2&prefix=public%2F")],
  ["S3: a listing beside the prefix", "-+-+---", s3("GET", "/lake?list-type=2&prefix=private%2F")],
  ["S3: a listing of the first form", "++-+---", s3("GET", "/lake?prefix=public%2F")],
  ["S3: a listing of the first form beside the prefix", "-+-+---", s3("GET", "/lake?prefix=private%2F")],
  ["S3: versions", "++-+---", s3("GET", "/lake?versions&prefix=public%2F")],
  ["S3: versions beside the prefix", "-+-+---", s3("GET", "/lake?versions&prefix=p")],
  ["S3: uploads of the whole bucket", "-+-+---", s3("GET", "/lake?uploads")],
  ["S3: the ACL of an object", "++-+---", s3("GET", "/lake/public/a?acl")],
  ["S3: the tags of an object beside the prefix", "-+-+---", s3("GET", "/lake/private/b?tagging")],
  [
    "S3: attributes of an object beside the prefix",
    "-+-+---",
    s3("GET", "/lake/private/b?attributes", { "x-amz-object-attributes": "ETag" }),
  ],
  ["S3: the policy of a bucket", "---+---", s3("GET", "/lake?policy")],
  ["S3: the existence of a bucket", "++++-+-", s3("HEAD", "/lake")],
  ["S3: the existence of another bucket", "--++---", s3("HEAD", "/other")],
  // The answer to warming has the object's headers, so it needs the grant to read them, too.
  ["S3: warming", "-+-+---", s3("HEAD", "/lake/public/a", { "frontcache-warm": "1", range: "bytes=0-0" })],
  ["/s3: GET", "++-+---", http("/s3/lake/public/a")],
  ["/s3: GET beside the prefix", "-+-+---", http("/s3/lake/private/b")],
  [
    "/s3: a read in the form of members beside the prefix",
    "-+-+---",
    http("/s3/lake/private/b", { range: "bytes=0-0", "frontcache-forwarded": "1" }),
  ],
  ["/gs: GET", "+--+---", http("/gs/lake/public/a")],
  ["/gs: GET beside the prefix", "---+---", http("/gs/lake/private/b")],
  ["/gs: uploads", "+--+---", http("/gs/lake?uploads&prefix=public%2F")],
  ["/gs: uploads of the whole bucket", "---+---", http("/gs/lake?uploads")],
  ["/gs: parts of an upload", "+--+---", http("/gs/lake/public/a?uploadId=u")],
  ["/gs: parts of an upload beside the prefix", "---+---", http("/gs/lake/private/b?uploadId=u")],
  ["GCS JSON: bytes", "+--+---", http("/storage/v1/b/lake/o/public%2Fa?alt=media")],
  ["GCS JSON: bytes beside the prefix", "---+---", http("/download/storage/v1/b/lake/o/private%2Fb?alt=media")],
  ["GCS JSON: metadata beside the prefix", "---+---", http("/storage/v1/b/lake/o/private%2Fb")],
  ["GCS JSON: a listing", "+--+---", http("/storage/v1/b/lake/o?prefix=public%2F")],
  ["GCS JSON: a listing beside the prefix", "---+---", http("/storage/v1/b/lake/o?prefix=p")],
  ["GCS JSON: the access list of a bucket", "---+---", http("/storage/v1/b/lake?projection=full")],
  ["GCS JSON: the access list of a bucket, asked like uploads", "---+---", http("/storage/v1/b/lake?uploads&prefix=public%2F")],
  ["the status page", "--++---", http("/status")],
  ["metrics", "--++---", http("/metrics")],
  ["gRPC: ReadRange", "++-+---", readRange(PUBLIC)],
  ["gRPC: ReadRange beside the prefix", "-+-+---", readRange(PRIVATE)],
  ["gRPC: ReadRange as a forwarded one", "-+-+---", readRange(PRIVATE, { forwarded: true, cachedOnly: true })],
  ["gRPC: Stat beside the prefix", "-+-+---", stat(PRIVATE)],
  ["gRPC: Evict", "-+++---", evict(PUBLIC)],
  ["gRPC: Evict of all buckets", "--++---", evict("s3://", true)],
  ["gRPC: Evict of a bucket", "-+++---", evict("s3://lake/", true)],
  ["gRPC: Warm", "-+++---", warm({ keys: [PUBLIC] })],
  ["gRPC: Warm of another bucket", "--++---", warm({ prefixes: ["s3://other/"] })],
  ["gRPC: the member list", "++++-+-", grpc("/cache.CacheService/WatchMembers")],
];

describe("every interface", () => {
  it.each(TABLE)("grants exactly what the file grants: %s", async (what, expected, ask) => {
    let got = "";
    for (const caller of CALLERS) {
      const before = listeners.reached;
      const code = await ask(caller);
      const isRefused = code === 401 || code === 403;
      got += isRefused ? "-" : code < 400 ? "+" : `(${caller}: ${code})`;
      if (isRefused && what !== "S3: warming") expect([caller, listeners.reached]).toEqual([caller, before]);
    }
    expect(got).toBe(expected);
  });

  it("is asked more than 200 times, and never logs a secret", () => {
    expect(TABLE.length * CALLERS.length).toBeGreaterThan(200);
    expect(logged.join("\n")).not.toMatch(/token-0123456789|a-secret-of/);
  });
});

describe("a preflight", () => {
  it("of a presigned URL is answered by the rules that the principal may read who signed it, once the signature is verified", async () => {
    const { port } = listeners.s3.address;
    const asking = async (url: string, method: string, buckets: string): Promise<(string | undefined)[]> => {
      const { passed } = listeners.cache;
      passed.length = 0;
      const headers = { host: `127.0.0.1:${port}`, origin: "https://viewer.example", "access-control-request-method": method };
      await send(port, "OPTIONS", url.replace("/lake/", `/${buckets}/`), headers);
      return passed.map(({ onBehalfOf }) => onBehalfOf);
    };
    expect(await asking(presignedUrl("ada", "/lake/public/a"), "GET", "lake")).toEqual(["ada"]);
    expect(await asking(presignedUrl("bob", "/other/public/a"), "GET", "other")).toEqual(["bob"]);
    // For another method, or another bucket, the signature is wrong. The rules of these buckets are not remembered yet.
    expect(await asking(presignedUrl("ada", "/other/public/a"), "PUT", "other")).toEqual([undefined]);
    expect(await asking(presignedUrl("wrong", "/lake/public/a"), "GET", "lake")).toEqual([undefined]);
    expect(await asking("/third/public/a", "GET", "third")).toEqual([undefined]);
  });
});
