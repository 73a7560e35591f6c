import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { amzDateOf, canonicalOf, ManualClock, partsOf, Signer, signedHeadersOf, silentLog } from "@frontcache/server/testing";
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
  listeners = await ListenersUnderTest.open({ identitiesFile }, clock, log as never);
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

/** Sends a request to the S3 endpoint as it is, and returns the status and S3's code. */
async function send(target: string, lines: readonly string[]): Promise<string> {
  const socket = connect(listeners.s3.address.port, "127.0.0.1");
  let text = "";
  socket.setEncoding("latin1").on("data", (piece: string) => {
    text += piece;
  });
  socket.write([`GET ${target} HTTP/1.1`, `Host: ${host}`, "Connection: close", ...lines, "", ""].join("\r\n"));
  await once(socket, "close");
  const status = /^HTTP\/1\.1 (\d+)/.exec(text)?.[1];
  return `${status} ${/<Code>(\w+)<\/Code>/.exec(text)?.[1] ?? "without an error"}`;
}

const bearer = (...parts: object[]): string =>
  `Authorization: Bearer ${parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".")}.`;

const claims = { iss: "https://127.0.0.1:1", aud: "frontcache", sub: "ada", exp: 4_000_000_000 };

describe("a request with credentials", () => {
  it("that are valid is answered", async () => {
    expect(await send("/bucket/a%20b", signedLines())).toBe("200 without an error");
    expect(await send(presigned(), [])).toBe("200 without an error");
    expect(audited).toEqual([]);
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
    expect(await send(target, lines)).toBe(expected);
    expect(listeners.reached).toBe(before);
    expect(audited).toHaveLength(1);
    expect(audited[0]).toMatchObject({ outcome: "unauthenticated", operation: "GET", listener: "s3" });
    expect(String(audited[0]!.object)).not.toContain("?");
    expect(logged.join("\n")).not.toMatch(/a-secret-of|X-Amz-Signature=|Bearer e/);
  });
});
