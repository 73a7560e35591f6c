import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ManualClock, silentLog } from "@frontcache/server/testing";
import { status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { temporaryDirectory } from "../e2e/member-process.js";
import { ListenersUnderTest, URL } from "./listeners-under-test.js";

const TOKEN = "a-token-of-ada-0123456789";
const HASH = createHash("sha256").update(TOKEN).digest("hex");

const identities = `identities: [{ name: ada, tokens: ${HASH} }]`;
const granting = (prefix: string): string =>
  `${identities}\ngrants: [{ to: ada, operations: [read, status], buckets: s3://bucket, prefixes: ${prefix} }]\n`;

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;

beforeAll(async () => {
  directory = await temporaryDirectory();
});

afterAll(() => directory[Symbol.asyncDispose]());

async function open(content: string, more: { readonly auditLog?: string } = {}) {
  const identitiesFile = join(directory.path, "identities.yaml");
  writeFileSync(identitiesFile, content);
  const clock = new ManualClock(Date.now());
  const warned: object[] = [];
  const warn = (fields: unknown, message?: string): void => void warned.push({ ...(fields as object), message });
  const listeners = await ListenersUnderTest.open({ identitiesFile, ...more }, clock, { ...silentLog, warn } as typeof silentLog);
  const read = async (headers: Record<string, string> = { authorization: `Bearer ${TOKEN}` }, path = "/s3/bucket/object") =>
    (await fetch(`http://127.0.0.1:${listeners.httpPort}${path}`, { headers })).status;
  const replace = (text: string): void => {
    writeFileSync(identitiesFile, text);
    clock.advance(1_000);
  };
  return { listeners, clock, warned, read, replace, [Symbol.asyncDispose]: () => listeners[Symbol.asyncDispose]() };
}

describe("an identities file", () => {
  it("is followed, also on open connections; a broken or half written one leaves the old one in force and is reported", async () => {
    await using setting = await open(granting("obj"));
    const { read, replace, warned, clock } = setting;
    expect(await read()).toBe(200);
    for (const broken of [granting("x").slice(0, -20), "identities: [{ name: ada", `${granting("x")}users: []`, "grants: 1"]) {
      const before = warned.length;
      replace(broken);
      await expect
        .poll(
          () => {
            clock.advance(1_000);
            return warned.length;
          },
          { interval: 5 },
        )
        .toBeGreaterThan(before);
      expect(warned.at(-1)).toMatchObject({ event: "file-refused", flag: "--identities-file" });
      expect(JSON.stringify(warned)).not.toContain(HASH);
      expect(await read()).toBe(200);
    }
    replace(granting("other"));
    await expect
      .poll(
        () => {
          clock.advance(1_000);
          return read();
        },
        { interval: 5 },
      )
      .toBe(403);
    replace(granting("obj"));
    await expect
      .poll(
        () => {
          clock.advance(1_000);
          return read();
        },
        { interval: 5 },
      )
      .toBe(200);
  });

  it("refuses unknown and malformed credentials instead of taking them for none", async () => {
    await using setting = await open(`grants: [{ to: anonymous, operations: read, buckets: s3://bucket }]`);
    const { read, listeners } = setting;
    expect(await read({})).toBe(200);
    for (const authorization of ["Bearer unknown-token-0123", "Bearer a.b.c", "Digest x", "AWS4-HMAC-SHA256 x", "AWS a:b"]) {
      expect([authorization, await read({ authorization })]).toEqual([authorization, 401]);
    }
    expect(await read({}, "/s3/bucket/object?X-Amz-Signature=0")).toBe(403);
    expect(listeners.http.authenticationFailures.counts.http).toBe(5);
    expect(listeners.cache.requests.map(({ ref }) => ref.url)).toEqual([URL]);
  });

  it("has browsers ask for a token as the password of a page, and answers those that have no grant", async () => {
    await using setting = await open(granting("obj"));
    const { read } = setting;
    const basic = (token: string) => ({ authorization: `Basic ${Buffer.from(`me:${token}`).toString("base64")}` });
    expect(await read({}, "/status")).toBe(401);
    expect(await read(basic(TOKEN), "/status")).toBe(200);
    expect(await read(basic("a-wrong-token-0123"), "/status")).toBe(401);
    expect(await read(basic(TOKEN))).toBe(401);
    expect(await read({}, "/readyz")).toBe(200);
  });
});

describe("the audit log", () => {
  it("has one line for each denied request, each eviction and each change of the grants, and never a secret", async () => {
    const auditLog = join(directory.path, "audit.jsonl");
    const evicting = `${identities}\ngrants: [{ to: ada, operations: [read, evict], buckets: s3://bucket, prefixes: obj }]\n`;
    await using setting = await open(evicting, { auditLog });
    const { read, listeners, replace, clock } = setting;
    const lines = (): Record<string, unknown>[] =>
      existsSync(auditLog)
        ? readFileSync(auditLog, "utf8")
            .trim()
            .split("\n")
            .map((line) => JSON.parse(line))
        : [];
    expect(await read()).toBe(200);
    expect(await read(undefined, "/s3/bucket/private?X-Secret=hunter2")).toBe(403);
    expect(await read({})).toBe(403);
    expect(await read({ authorization: "Bearer hunter2-hunter2-hunter2" })).toBe(401);
    expect(await read({}, "/s3/bucket/object?X-Amz-Signature=hunter2&X-Amz-Credential=hunter2")).toBe(403);
    const { client, metadata } = listeners.caller({ token: TOKEN });
    const evict = (key: string) =>
      new Promise((resolve) => {
        client.evict({ key, version: "", prefix: false, forwarded: false }, metadata, (error) => resolve(error?.code));
      });
    expect(await evict(URL)).toBeUndefined();
    expect(await evict("s3://other/object")).toBe(status.PERMISSION_DENIED);
    replace(granting("other"));
    await expect
      .poll(
        () => {
          clock.advance(1_000);
          return lines().map(({ outcome, principal, method, operation, object, listener }) => ({
            ...{ outcome, principal, method, operation, object, listener },
          }));
        },
        { interval: 5 },
      )
      .toEqual([
        {
          outcome: "denied",
          principal: "ada",
          method: "token",
          operation: "read",
          object: "s3://bucket/private",
          listener: "http",
        },
        { outcome: "denied", principal: "anonymous", method: "anonymous", operation: "read", object: URL, listener: "http" },
        { outcome: "unauthenticated", operation: "GET", object: "/s3/bucket/object", listener: "http" },
        { outcome: "unauthenticated", operation: "GET", object: "/s3/bucket/object", listener: "http" },
        { outcome: "allowed", principal: "ada", method: "token", operation: "evict", object: URL, listener: "grpc" },
        {
          outcome: "denied",
          principal: "ada",
          method: "token",
          operation: "evict",
          object: "s3://other/object",
          listener: "grpc",
        },
        { outcome: "allowed", operation: "reload", object: join(directory.path, "identities.yaml") },
      ]);
    for (const line of lines().slice(0, -1)) {
      expect(line).toMatchObject({
        event: "audit",
        address: expect.stringContaining("127.0.0.1"),
        requestId: expect.stringMatching(/^\w{16}$/),
      });
    }
    expect(readFileSync(auditLog, "utf8")).not.toMatch(/hunter2|token-of-ada/);
    // A request may take several decisions.
    expect(listeners.security.authorization.counts.token).toMatchObject({ denied: 2 });
    expect(listeners.security.authorization.counts.token.allowed).toBeGreaterThanOrEqual(2);
  });
});
