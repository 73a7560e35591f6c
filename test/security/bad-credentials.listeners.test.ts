import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  amzDateOf,
  canonicalOf,
  ManualClock,
  partsOf,
  RawClient,
  Signer,
  signedHeadersOf,
  silentLog,
} from "@frontcache/server/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { temporaryDirectory } from "../e2e/member-process.js";
import { ListenersUnderTest } from "./listeners-under-test.js";

const SECRET = "a-secret-of-an-access-key";
const EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SCOPE = { region: "us-east-1", service: "s3" };

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
/** It stands still, so that signatures do not expire on a slow machine. */
let clock: ManualClock;
let listeners: ListenersUnderTest;
let audited: Record<string, unknown>[];
let logged: string[];

beforeAll(async () => {
  directory = await temporaryDirectory();
  clock = new ManualClock(Date.now());
  const identitiesFile = join(directory.path, "identities.yaml");
  // Nothing listens at the address of the issuer.
  writeFileSync(
    identitiesFile,
    `identities: [{ name: ada, accessKeys: [{ id: AKIAADA, secret: ${SECRET} }] }]
issuers: [{ issuer: "https://127.0.0.1:1" }]
grants: [{ to: "*", operations: read, buckets: s3://bucket }]
`,
  );
  logged = [];
  audited = [];
  const keep = (fields: object, ...more: unknown[]): void => {
    logged.push(JSON.stringify([fields, ...more]));
    if ("event" in fields && fields.event === "audit") audited.push(fields as Record<string, unknown>);
  };
  const log = { ...silentLog, debug: keep, info: keep, warn: keep, error: keep, always: keep };
  listeners = await ListenersUnderTest.open({ identitiesFile }, clock, log as never, clock);
  listeners.cache.objects.set("s3://bucket/a b", Buffer.from("bytes"));
});

afterAll(async () => {
  await listeners[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
});

beforeEach(() => {
  audited.length = 0;
});

const host = "s3.example";
const signer = new Signer();

interface Signing {
  readonly path?: string;
  readonly secret?: string;
  readonly dateMs?: number;
}

/** The header lines of a signed request. */
function signedLines({ path = "/bucket/a%20b", secret = SECRET, dateMs = clock.nowMs() }: Signing = {}): string[] {
  const date = amzDateOf(dateMs);
  const headers = { host, "x-amz-content-sha256": EMPTY, "x-amz-date": date };
  const names = Object.keys(headers);
  const canonical = canonicalOf({ method: "GET", url: path, headers }, partsOf(path), {
    signed: signedHeadersOf(names),
    payloadHash: EMPTY,
  })!;
  const signature = signer.signatureOf(canonical, date, { accessKeyId: "AKIAADA", secretAccessKey: secret }, SCOPE);
  const credential = `AKIAADA/${date.slice(0, 8)}/us-east-1/s3/aws4_request`;
  return [
    `x-amz-date: ${date}`,
    `x-amz-content-sha256: ${EMPTY}`,
    `Authorization: AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names.join(";")}, Signature=${signature}`,
  ];
}

/** A presigned target. `more` follows the signature. */
function presigned({ path = "/bucket/a%20b", secret = SECRET, dateMs = clock.nowMs() }: Signing = {}, more = ""): string {
  const date = amzDateOf(dateMs);
  const credential = encodeURIComponent(`AKIAADA/${date.slice(0, 8)}/us-east-1/s3/aws4_request`);
  const url = `${path}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${credential}&X-Amz-Date=${date}&X-Amz-Expires=86400&X-Amz-SignedHeaders=host`;
  const canonical = canonicalOf({ method: "GET", url, headers: { host } }, partsOf(url), {
    signed: signedHeadersOf(["host"]),
    payloadHash: "UNSIGNED-PAYLOAD",
  })!;
  const signature = signer.signatureOf(canonical, date, { accessKeyId: "AKIAADA", secretAccessKey: secret }, SCOPE);
  return `${url}&X-Amz-Signature=${signature}${more}`;
}

/** What reads a request: the plain lane if it recognizes the form, or Node's parser, because of a header that the lane does not know. */
const PARSERS = { lane: [], node: ["Accept-Language: en"] } as const;

/** Sends a request to the S3 endpoint as it is, and returns the status and S3's code, and whether Node's parser read the request. */
async function send(target: string, lines: readonly string[], parser: keyof typeof PARSERS = "lane"): Promise<[string, boolean]> {
  await using client = await RawClient.connect(listeners.s3.address.port);
  client.send([`GET ${target} HTTP/1.1`, `Host: ${host}`, ...lines, ...PARSERS[parser], "", ""].join("\r\n"));
  const { status, headers, body } = await client.answer();
  const code = /<Code>(\w+)<\/Code>/.exec(body.toString("latin1"))?.[1] ?? "without an error";
  // Node's server says how long it keeps the connection.
  return [`${status} ${code}`, headers["keep-alive"] !== undefined];
}

const bearer = (...parts: object[]): string =>
  `Authorization: Bearer ${parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".")}.`;

const claims = { iss: "https://127.0.0.1:1", aud: "frontcache", sub: "ada", exp: 4_000_000_000 };

describe("a request with credentials", () => {
  it("that are valid is answered", async () => {
    for (const parser of ["lane", "node"] as const) {
      const isNode = parser === "node";
      expect(await send("/bucket/a%20b", signedLines(), parser)).toEqual(["200 without an error", isNode]);
      expect(await send(presigned(), [], parser)).toEqual(["200 without an error", isNode]);
    }
    expect(audited).toEqual([]);
  });

  it.each<[string, () => [target: string, lines: string[]]]>([
    ["a signed head", () => ["/bucket/a%20b", signedLines({ dateMs: clock.nowMs() - 15 * 60_000 + 1_000 })]],
    ["a presigned URL", () => [presigned({ dateMs: clock.nowMs() - 86_400_000 + 1_000 }), []]],
  ])("is authenticated each time by %s, also if only the range differs", async (_, make) => {
    const [target, lines] = make();
    await using client = await RawClient.connect(listeners.s3.address.port);
    const read = async (range: string): Promise<string> => {
      client.send([`GET ${target} HTTP/1.1`, `Host: ${host}`, `Range: bytes=${range}`, ...lines, "", ""].join("\r\n"));
      const { status, headers, body } = await client.answer();
      expect(headers["keep-alive"]).toBeUndefined();
      return status === 206 ? body.toString() : String(status);
    };
    expect([await read("0-0"), await read("1-2"), await read("3-4")]).toEqual(["b", "yt", "es"]);
    clock.advance(2_000);
    expect(await read("0-0")).toBe("403");
  });

  it.each<[string, string, () => [target: string, lines: string[]]]>([
    ["signed with another secret", "403 SignatureDoesNotMatch", () => ["/bucket/a%20b", signedLines({ secret: `${SECRET}x` })]],
    ["presigned with another secret", "403 SignatureDoesNotMatch", () => [presigned({ secret: `${SECRET}x` }), []]],
    [
      "signed 16 minutes ago",
      "403 RequestTimeTooSkewed",
      () => ["/bucket/a%20b", signedLines({ dateMs: clock.nowMs() - 16 * 60_000 })],
    ],
    [
      "signed 16 minutes ahead",
      "403 RequestTimeTooSkewed",
      () => ["/bucket/a%20b", signedLines({ dateMs: clock.nowMs() + 16 * 60_000 })],
    ],
    ["of a presigned URL that has expired", "403 AccessDenied", () => [presigned({ dateMs: clock.nowMs() - 86_401_000 }), []]],
    ["signed for a key that is encoded twice", "403 SignatureDoesNotMatch", () => ["/bucket/a%2520b", signedLines()]],
    [
      "signed for a doubly encoded key",
      "403 SignatureDoesNotMatch",
      () => ["/bucket/a%20b", signedLines({ path: "/bucket/a%2520b" })],
    ],
    [
      "with a parameter of the signature twice",
      "400 AuthorizationQueryParametersError",
      () => [presigned({}, "&X-Amz-Signature=0"), []],
    ],
    ["with another parameter added", "403 SignatureDoesNotMatch", () => [presigned({}, "&versionId=1"), []]],
    [
      "with two Authorization headers",
      "400 InvalidArgument",
      () => ["/bucket/a%20b", [...signedLines(), "Authorization: AWS a:b"]],
    ],
    [
      "with a signed header twice",
      "400 InvalidArgument",
      () => ["/bucket/a%20b", [...signedLines(), `x-amz-content-sha256: ${EMPTY}`]],
    ],
    [
      "signed by version 2, which is not enabled",
      "400 InvalidRequest",
      () => ["/bucket/a%20b", ["Authorization: AWS AKIAADA:c2ln"]],
    ],
    [
      "presigned by version 2, which is not enabled",
      "400 InvalidRequest",
      () => ["/bucket/a%20b?AWSAccessKeyId=AKIAADA&Signature=c2ln&Expires=99999999999", []],
    ],
    ["with both kinds of signature", "400 InvalidArgument", () => [presigned(), signedLines()]],
    [
      "with a header that is not signed",
      "403 AccessDenied",
      () => ["/bucket/a%20b", [...signedLines(), "x-amz-acl: public-read"]],
    ],
    ["with a token without a signature", "403 InvalidAccessKeyId", () => ["/bucket/a%20b", [bearer({ alg: "none" }, claims)]]],
    [
      "with a token of an issuer that is down",
      "503 ServiceUnavailable",
      () => ["/bucket/a%20b", [`${bearer({ alg: "RS256", kid: "1" }, claims)}c2lnbmF0dXJl`]],
    ],
    [
      "of an unknown access key",
      "403 InvalidAccessKeyId",
      () => ["/bucket/a%20b", signedLines().map((line) => line.replace("AKIAADA", "AKIABOB"))],
    ],
  ])("%s is answered with S3's error, is one line of the audit log, and reaches nothing", async (_, expected, make) => {
    const before = listeners.reached;
    const [target, lines] = make();
    for (const parser of ["lane", "node"] as const) {
      audited.length = 0;
      expect((await send(target, lines, parser))[0]).toBe(expected);
      expect(listeners.reached).toBe(before);
      expect(audited).toHaveLength(1);
      expect(audited[0]).toMatchObject({ outcome: "unauthenticated", operation: "GET", listener: "s3" });
      expect(String(audited[0]!.object)).not.toContain("?");
    }
    expect(logged.join("\n")).not.toMatch(/a-secret-of|X-Amz-Signature=|Bearer e/);
  });
});
