import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import { bucketOf, bytesOf, rangeOf, type S3Origin, statOf } from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CredentialSource, type SourceFailure, type SourceKind } from "../emulators/credential-sources.js";
import type { SeenRequest } from "../emulators/faults.js";
import { S3Emulator } from "../emulators/s3.js";
import { openS3 } from "./open-s3.js";

const ref = parseObjectUrl("s3://bucket/key");
const bucket = parsePrefixUrl("s3://bucket");
const range = rangeOf(ref, { offset: 0, length: 7 });

const keyOf = ({ headers }: SeenRequest): string | undefined => /Credential=([^/]+)\//.exec(headers.authorization ?? "")?.[1];

let directory: string;
let store: S3Emulator;
let source: CredentialSource;
let origin: S3Origin;

/** The environment of a pod with this source, and no other. */
function environmentOf(kind: SourceKind): Record<string, string> {
  const token = join(directory, "token");
  writeFileSync(token, "web identity");
  const none = join(directory, "none");
  const base = { AWS_CONFIG_FILE: none, AWS_SHARED_CREDENTIALS_FILE: none, AWS_REGION: "us-east-1" };
  if (kind === "imds") return { ...base, AWS_EC2_METADATA_DISABLED: "false", AWS_EC2_METADATA_SERVICE_ENDPOINT: source.url };
  if (kind === "pod-identity") {
    return { ...base, AWS_CONTAINER_CREDENTIALS_FULL_URI: `${source.url}/`, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: token };
  }
  const role = { AWS_WEB_IDENTITY_TOKEN_FILE: token, AWS_ROLE_ARN: "arn:aws:iam::1:role/r" };
  return { ...base, ...role, AWS_ENDPOINT_URL_STS: source.url };
}

async function start(kind: SourceKind): Promise<void> {
  source = await CredentialSource.start(kind);
  for (const [name, value] of Object.entries(environmentOf(kind))) vi.stubEnv(name, value);
  origin = openS3(store.endpoint, { credentials: "default" });
}

beforeEach(async () => {
  for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"])
    vi.stubEnv(name, undefined);
  directory = mkdtempSync(join(tmpdir(), "frontcache-credentials-"));
  store = await S3Emulator.start();
  store.put("bucket", "key", "content");
});

afterEach(async () => {
  origin.close();
  vi.unstubAllEnvs();
  await source.close();
  await store.close();
  rmSync(directory, { recursive: true });
});

/** The store rejects these keys as S3 does: with a code in the body, and for a HEAD with a status only. */
function reject(keys: readonly string[], status: number, code: string): void {
  store.faults.place({ when: (request) => keys.includes(keyOf(request) ?? ""), error: { status, code } });
}

describe.each(["imds", "pod-identity", "sts"] as const)("credentials from %s", (kind) => {
  beforeEach(() => start(kind));

  it("that start late are found without a restart", async () => {
    await source.close();
    await expect(origin.fetch(range)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await source.listen();
    await eventually(async () => expect(String(await bytesOf(await origin.fetch(range)))).toBe("content"));
  });

  // Pod Identity's client repeats each request for three seconds.
  const failures: readonly SourceFailure[] =
    kind === "pod-identity"
      ? [{ status: 400, code: "ExpiredTokenException" }]
      : [400, 401, 403, 503].map((status) => ({ status, code: "IDPCommunicationError" }));

  it.each([...failures, "closed"] as const)("that fail (%o) make reads UNAVAILABLE", async (failure) => {
    source.failure = failure;
    await expect(origin.ask(statOf(ref))).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("AWS credentials"),
    });
    expect(store.traffic.requests).toEqual({});
  });

  it("that are revoked are renewed, and no read fails", async () => {
    await origin.ask(statOf(ref));
    reject(["key1"], 403, "InvalidAccessKeyId");
    const reads = Array.from({ length: 10 }, async () => String(await bytesOf(await origin.fetch(range))));
    expect(new Set(await Promise.all(reads))).toEqual(new Set(["content"]));
    expect(source.issued).toBe(2);
  });
});

describe("credentials that the store rejects", () => {
  beforeEach(() => start("sts"));

  it.each([
    [400, "ExpiredToken"],
    [403, "InvalidAccessKeyId"],
    [403, "SignatureDoesNotMatch"],
  ] as const)(
    "with status %d (%s) are renewed for reads and for HEADs, whose responses have no error code",
    async (status, code) => {
      const other = openS3(store.endpoint, { credentials: "default" });
      await Promise.all([origin.ask(statOf(ref)), other.ask(statOf(ref))]);
      reject(["key1", "key2"], status, code);
      expect(await origin.ask(statOf(ref))).toMatchObject({ objectSize: 7 });
      expect(await other.ask(bucketOf(bucket))).toEqual({ region: undefined });
      other.close();
    },
  );

  it("permanently make reads UNAVAILABLE, and the source is not asked for each request", async () => {
    store.faults.place({ error: { status: 403, code: "InvalidAccessKeyId" } });
    for (let i = 0; i < 10; i++) await expect(origin.fetch(range)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(source.issued).toBeLessThan(10);
  });

  it("are not renewed if access to an object is denied, or if it needs other parameters", async () => {
    await origin.ask(statOf(ref));
    store.faults.place({ error: { status: 403, code: "AccessDenied" }, times: 4 });
    await expect(origin.fetch(range)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await expect(origin.ask(statOf(ref))).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    store.faults.clear();
    store.faults.place({ error: { status: 400, code: "InvalidRequest" } });
    await expect(origin.fetch(range)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(origin.ask(statOf(ref))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(source.issued).toBe(1);
  });
});

describe("a clock that differs from the store's", () => {
  beforeEach(() => start("sts"));

  it("is corrected by the store's time, and no read fails", async () => {
    const aheadMs = 3_600_000;
    const Date_ = new Date(Date.now() + aheadMs).toUTCString();
    const signedMs = ({ headers }: SeenRequest) =>
      Date.parse(String(headers["x-amz-date"]).replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"));
    const isSkewed = (request: SeenRequest) => signedMs(request) < Date.now() + aheadMs / 2;
    store.faults.place({ when: isSkewed, error: { status: 403, code: "RequestTimeTooSkewed", headers: { Date: Date_ } } });
    store.faults.place({ headers: { Date: Date_ } });
    expect(String(await bytesOf(await origin.fetch(range)))).toBe("content");
    expect(await origin.ask(statOf(ref))).toMatchObject({ objectSize: 7 });
    expect(source.issued).toBe(1);
  });
});
