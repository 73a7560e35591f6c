import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { headerPairs, headerValue, parseObjectUrl } from "@frontcache/proto";
import { bytesOf, type GcsOptions, GcsOrigin, rangeOf, statOf } from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SeenRequest } from "../emulators/faults.js";
import { GcsEmulator } from "../emulators/gcs.js";

const ref = parseObjectUrl("gs://bucket/key");

describe("a request of the GCS origin", () => {
  let store: GcsEmulator;
  let seen: SeenRequest[];
  let directory: string;
  let tokens: Server;
  /** The status of the token service's response; undefined: it never answers. */
  let tokenStatus: number | undefined;
  let issued: number;
  let keyFile: string;
  const opened: GcsOrigin[] = [];

  function open(options: Partial<GcsOptions> = {}): GcsOrigin {
    const settings = { credentials: "default", userProject: undefined, maxConnections: 4, idleTimeoutMs: 60_000 } as const;
    const direct = { proxyOf: () => undefined, ca: undefined, onDroppedHeaders: () => {} };
    const origin = new GcsOrigin({ endpoint: store.endpoint, ...settings, ...direct, ...options });
    opened.push(origin);
    return origin;
  }

  beforeEach(async () => {
    delete process.env.STORAGE_EMULATOR_HOST;
    store = await GcsEmulator.start();
    store.put("bucket", "key", "content");
    seen = [];
    store.faults.place({ when: (request) => seen.push(request) === 0 });
    [tokenStatus, issued] = [200, 0];
    tokens = createServer((request, response) => {
      request.resume();
      if (tokenStatus === undefined) return;
      const token = { access_token: `token${++issued}`, issued_token_type: "x", token_type: "Bearer", expires_in: 3600 };
      response.writeHead(tokenStatus, { "Content-Type": "application/json" });
      response.end(JSON.stringify(tokenStatus === 200 ? token : { error: "invalid_grant" }));
    });
    await new Promise<void>((resolve) => tokens.listen(0, "127.0.0.1", resolve));
    directory = mkdtempSync(join(tmpdir(), "frontcache-gcs-"));
    writeFileSync(join(directory, "subject"), "subject token");
    keyFile = join(directory, "credentials.json");
    // Workload identity federation: the one kind of credentials whose token service may be local.
    const credentials = {
      type: "external_account",
      audience: "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/provider",
      subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
      token_url: `http://127.0.0.1:${(tokens.address() as AddressInfo).port}/token`,
      credential_source: { file: join(directory, "subject") },
    };
    writeFileSync(keyFile, JSON.stringify(credentials));
  });

  afterEach(async () => {
    for (const origin of opened.splice(0)) origin.close();
    await store.close();
    tokens.close();
    tokens.closeAllConnections();
    rmSync(directory, { recursive: true });
  });

  it("is sent to STORAGE_EMULATOR_HOST, with or without a scheme, without a token", async () => {
    for (const host of [store.endpoint, store.endpoint.replace("http://", "")]) {
      process.env.STORAGE_EMULATOR_HOST = host;
      expect(await open({ endpoint: undefined }).ask(statOf(ref))).toMatchObject({ objectSize: 7 });
    }
    for (const { headers } of seen) expect(headers.authorization).toBeUndefined();
  });

  it("brings the object's metadata as headers, and names what no header can hold", async () => {
    const resource = {
      cacheControl: "no-transform",
      contentDisposition: "attachment",
      contentEncoding: "gzip",
      contentLanguage: "de",
      crc32c: "n03x6A==",
      md5Hash: "XrY7u+Ae7tCTyyK7j1rNww==",
      customTime: "2026-01-01T00:00:00Z",
      kmsKeyName: "projects/p/keyRings/r/cryptoKeys/k",
      metageneration: "3",
      retention: { mode: "Locked", retainUntilTime: "2029-01-01T00:00:00Z" },
      storageClass: "NEARLINE",
      metadata: {
        Owner: "M\u00fcller",
        empty: "",
        "two words": "a",
        injected: "a\r\nset-cookie: b",
        null: "a\0",
        long: "v".repeat(13_000),
      },
    };
    const version = store.put("bucket", "described", "content", { resource });
    const described = parseObjectUrl("gs://bucket/described");
    const dropped: string[] = [];
    const origin = open({ onDroppedHeaders: (_, names) => dropped.push(...names) });
    const { headers, lacks } = await origin.ask(statOf(described));
    expect(lacks).toBeUndefined();
    expect(Object.fromEntries(headerPairs(headers!))).toEqual({
      "cache-control": "no-transform",
      "content-disposition": "attachment",
      "content-encoding": "gzip",
      "content-language": "de",
      "x-goog-custom-time": "2026-01-01T00:00:00Z",
      "x-goog-encryption-kms-key-name": "projects/p/keyRings/r/cryptoKeys/k",
      "x-goog-generation": version,
      "x-goog-hash": "crc32c=n03x6A==,md5=XrY7u+Ae7tCTyyK7j1rNww==",
      "x-goog-meta-empty": "",
      "x-goog-meta-owner": Buffer.from("M\u00fcller").toString("latin1"),
      "x-goog-metageneration": "3",
      "x-goog-object-lock-mode": "Locked",
      "x-goog-object-lock-retain-until-date": "2029-01-01T00:00:00Z",
      "x-goog-storage-class": "NEARLINE",
      "x-goog-stored-content-encoding": "gzip",
      "x-goog-stored-content-length": "7",
    });
    expect(dropped.sort()).toEqual(["injected", "long", "null", "two words"].map((name) => `x-goog-meta-${name}`));
    const answer = await origin.fetch(rangeOf(described, { offset: 0, length: 3 }));
    await bytesOf(answer);
    expect(answer.info.lacks).toBe("metadata");
    expect(headerValue(answer.info.headers!, "content-encoding")).toBe("gzip");
    expect(headerValue(answer.info.headers!, "cache-control")).toBeUndefined();
  });

  it("accepts gzip for ranges, which returns the stored bytes, and has the generation as a condition", async () => {
    const answer = await open().fetch(rangeOf(ref, { offset: 0, length: 3 }));
    await bytesOf(answer);
    await bytesOf(await open().fetch(rangeOf(ref, { offset: 3, length: 3, version: answer.info.version })));
    expect(seen.map(({ headers }) => headers["accept-encoding"])).toEqual(["gzip", "gzip"]);
    expect(seen.map(({ query }) => query.get("ifGenerationMatch"))).toEqual([null, answer.info.version]);
  });

  it("uses one token while it is valid, and names the billed project", async () => {
    const origin = open({ credentials: { keyFile }, userProject: "payer" });
    await origin.ask(statOf(ref));
    await bytesOf(await origin.fetch(rangeOf(ref, { offset: 0, length: 3 })));
    for (const { headers } of seen) {
      expect(headers.authorization).toBe("Bearer token1");
      expect(headers["x-goog-user-project"]).toBe("payer");
    }
    expect(issued).toBe(1);
  });

  it("is sent once more with a new token if the store rejects the token before its end", async () => {
    const origin = open({ credentials: { keyFile } });
    await origin.ask(statOf(ref));
    store.faults.place({
      when: ({ headers }) => headers.authorization === "Bearer token1",
      error: { status: 401, code: "authError" },
    });
    const reads = [1, 2, 3].map(async () => String(await bytesOf(await origin.fetch(rangeOf(ref, { offset: 0, length: 7 })))));
    expect(await Promise.all(reads)).toEqual(["content", "content", "content"]);
    expect(await origin.ask(statOf(ref))).toMatchObject({ objectSize: 7 });
    expect(issued).toBe(2);
  });

  it("is UNAVAILABLE if the store rejects every token, and the token service is not asked for each request", async () => {
    const origin = open({ credentials: { keyFile } });
    store.faults.place({ error: { status: 401, code: "authError" } });
    for (let i = 0; i < 10; i++) await expect(origin.ask(statOf(ref))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(issued).toBeLessThan(10);
  });

  it.each([400, 401, 500])("is UNAVAILABLE without being sent if the token service answers with status %d", async (status) => {
    tokenStatus = status;
    await expect(open({ credentials: { keyFile } }).ask(statOf(ref))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const none = open({ credentials: { keyFile: join(directory, "none.json") } });
    await expect(none.ask(statOf(ref))).rejects.toMatchObject({ name: "CacheError" });
    expect(seen).toEqual([]);
  });

  it("is UNAVAILABLE without being sent if the token service is down", async () => {
    tokens.close();
    tokens.closeAllConnections();
    await expect(open({ credentials: { keyFile } }).ask(statOf(ref))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(seen).toEqual([]);
  });

  it("is CANCELLED without being sent if it is aborted while it waits for the token", async () => {
    tokenStatus = undefined;
    const abort = new AbortController();
    const asked = new Promise((resolve) => tokens.once("request", resolve));
    const outcome = expect(open({ credentials: { keyFile } }).ask(statOf(ref, abort.signal))).rejects.toMatchObject({
      code: "CANCELLED",
    });
    await asked;
    abort.abort();
    await outcome;
    expect(seen).toEqual([]);
  });
});
