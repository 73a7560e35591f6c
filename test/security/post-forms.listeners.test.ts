import { createHmac } from "node:crypto";
import { amzDateOf, Signer } from "@frontcache/server/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type WriteAnswer, WritesUnderTest } from "./writes-under-test.js";

const KEY = { accessKeyId: "AKIAADA", secretAccessKey: "a-secret-of-ada-0123456789" };
const TOKEN = "a-token-of-somebody-0123456789";
const NOW_MS = Date.now();

const FILE = `
identities:
  - name: ada
    accessKeys: [{ id: ${KEY.accessKeyId}, secret: ${KEY.secretAccessKey} }]
grants:
  - { to: ada, operations: write, buckets: s3://bucket, prefixes: mine/ }
  - { to: anonymous, operations: write, buckets: s3://bucket, prefixes: public/ }
`;

let under: WritesUnderTest;

beforeAll(async () => {
  const answer = (): Partial<WriteAnswer> => ({ headers: [["etag", '"e"']] });
  under = await WritesUnderTest.open({ identities: FILE, flags: { sigv2: "true" }, answer });
});

afterAll(() => under[Symbol.asyncDispose]());
beforeEach(() => under.forget());

type Fields = Record<string, string>;

const CREDENTIAL = `${KEY.accessKeyId}/${amzDateOf(NOW_MS).slice(0, 8)}/us-east-1/s3/aws4_request`;
const signer = new Signer();

/** A policy for keys under `prefix`, with what both versions of signatures need. */
function policyFor(prefix: string, more: readonly unknown[] = []): string {
  const conditions = [
    { bucket: "bucket" },
    ["starts-with", "$key", prefix],
    ...["x-amz-algorithm", "x-amz-credential", "x-amz-date"].map((name) => ["starts-with", `$${name}`, ""]),
    ...more,
  ];
  return Buffer.from(JSON.stringify({ expiration: new Date(NOW_MS + 60_000).toISOString(), conditions })).toString("base64");
}

const version4 = (policy: string, secretAccessKey = KEY.secretAccessKey): Fields => ({
  policy,
  "x-amz-algorithm": "AWS4-HMAC-SHA256",
  "x-amz-credential": CREDENTIAL,
  "x-amz-date": amzDateOf(NOW_MS),
  "x-amz-signature": signer.signatureOfText(
    policy,
    CREDENTIAL.split("/")[1]!,
    { ...KEY, secretAccessKey },
    { region: "us-east-1", service: "s3" },
  ),
});

const version2 = (policy: string): Fields => ({
  policy,
  AWSAccessKeyId: KEY.accessKeyId,
  signature: createHmac("sha1", KEY.secretAccessKey).update(policy).digest("base64"),
});

async function post(fields: Fields, headers: Record<string, string> = {}, query = "") {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", new Blob(["hello"]), "name");
  const url = `http://127.0.0.1:${under.listeners.s3.address.port}/bucket${query}`;
  const response = await fetch(url, { method: "POST", body: form, headers });
  const text = await response.text();
  return { status: response.status, code: /<Code>(\w+)<\/Code>/.exec(text)?.[1] };
}

describe("a form with a signed policy", () => {
  it.each([
    ["4", version4],
    ["2", version2],
  ])("of version %s is written as who signed it", async (_, sign) => {
    expect(await post({ key: "mine/k", ...sign(policyFor("mine/")) })).toEqual({ status: 204, code: undefined });
    expect(under.written).toMatchObject([
      { method: "PUT", ref: { url: "s3://bucket/mine/k" }, principal: { name: "ada", method: "signature" } },
    ]);
    expect(under.audited).toMatchObject([
      { outcome: "allowed", operation: "write", principal: "ada", object: "s3://bucket/mine/k" },
    ]);
  });

  it("gives no more than who signed it has, whatever the policy permits", async () => {
    expect(await post({ key: "other/k", ...version4(policyFor("")) })).toEqual({ status: 403, code: "AccessDenied" });
    expect(await post({ key: "public/k", ...version4(policyFor("")) })).toEqual({ status: 403, code: "AccessDenied" });
    const acl = policyFor("mine/", [{ acl: "public-read" }]);
    expect(await post({ key: "mine/k", acl: "public-read", ...version4(acl) })).toEqual({ status: 403, code: "AccessDenied" });
    expect(under.written).toEqual([]);
    expect(under.audited.map(({ outcome, principal }) => [outcome, principal])).toEqual(Array(3).fill(["denied", "ada"]));
  });

  it.each<[string, Fields, string, string]>([
    ["a key that it does not permit", { key: "mine/other", ...version4(policyFor("mine/k")) }, "AccessDenied", "failed"],
    [
      "a field that it does not name",
      { key: "mine/k", "x-amz-meta-a": "1", ...version4(policyFor("mine/")) },
      "AccessDenied",
      "failed",
    ],
    [
      "a file that is too long",
      { key: "mine/k", ...version4(policyFor("mine/", [["content-length-range", 0, 4]])) },
      "EntityTooLarge",
      "failed",
    ],
    [
      "a policy that was changed",
      { key: "mine/k", ...version4(policyFor("mine/")), policy: policyFor("") },
      "SignatureDoesNotMatch",
      "unauthenticated",
    ],
    [
      "another secret",
      { key: "mine/k", ...version4(policyFor("mine/"), "another-secret-of-ada") },
      "SignatureDoesNotMatch",
      "unauthenticated",
    ],
    [
      "an unknown access key",
      { key: "mine/k", ...version2(policyFor("mine/")), AWSAccessKeyId: "AKIAUNKNOWN" },
      "InvalidAccessKeyId",
      "unauthenticated",
    ],
    [
      "no signature",
      { key: "mine/k", policy: policyFor("mine/"), AWSAccessKeyId: KEY.accessKeyId },
      "InvalidArgument",
      "unauthenticated",
    ],
    ["no policy", { key: "mine/k", ...version2(""), policy: "" }, "InvalidPolicyDocument", "failed"],
    [
      "signatures of both versions",
      { key: "mine/k", ...version4(policyFor("mine/")), ...version2(policyFor("mine/")) },
      "InvalidArgument",
      "unauthenticated",
    ],
  ])("is refused with %s, by one line of the audit log", async (_, fields, code, outcome) => {
    expect((await post(fields)).code).toBe(code);
    expect(under.written).toEqual([]);
    expect(under.audited).toMatchObject([{ event: "audit", outcome, operation: "PostObject", object: "s3://bucket" }]);
    expect(JSON.stringify(under.audited)).not.toMatch(/secret|eyJ/);
  });

  it("is refused in a request with other credentials", async () => {
    const fields = { key: "mine/k", ...version4(policyFor("mine/")) };
    const answer = await post(fields, { authorization: `Bearer ${TOKEN}` });
    expect([answer.status, under.written]).toEqual([403, []]);
  });
});

describe("a form without a policy", () => {
  it("is written where that is granted to anonymous, and nowhere else", async () => {
    expect((await post({ key: "public/k" })).status).toBe(204);
    expect(await post({ key: "mine/k" })).toEqual({ status: 403, code: "AccessDenied" });
    expect(under.audited.map(({ outcome, principal }) => [outcome, principal])).toEqual([
      ["allowed", "anonymous"],
      ["denied", "anonymous"],
    ]);
  });
});
