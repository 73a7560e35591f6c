import { writeFileSync } from "node:fs";
import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { join } from "node:path";
import { ManualClock } from "@frontcache/server/testing";
import { status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { temporaryDirectory } from "../e2e/member-process.js";
import { Authority, CertificateFiles, type Pair } from "./authority.js";
import { BYTES, ListenersUnderTest, type Shown, URL } from "./listeners-under-test.js";

const TOKEN = "a-token-that-is-secret";

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let authority: Authority;
let files: CertificateFiles;
let client: Pair;
let stranger: Pair;
let tokenFile: string;

beforeAll(async () => {
  directory = await temporaryDirectory();
  authority = await Authority.create("ours");
  files = new CertificateFiles(directory.path);
  files.write(await authority.issue("frontcache"), authority.pem);
  client = await authority.issue("a client");
  stranger = await (await Authority.create("theirs")).issue("a stranger");
  tokenFile = join(directory.path, "tokens");
  writeFileSync(tokenFile, `${TOKEN}\n`);
});

afterAll(() => directory[Symbol.asyncDispose]());

const open = (flags: object) => ListenersUnderTest.open(flags, new ManualClock());
const mutual = () => ({ tlsCert: files.cert, tlsKey: files.key, tlsCa: files.ca });
const trusting = (pair?: Pair) => ({ ca: authority.pem, ...pair });

/** The full names of all gRPC methods except health. */
const METHODS = [
  ...["LookupOwner", "ReadRange", "Stat", "Evict", "WatchMembers"].map((method) => `/cache.CacheService/${method}`),
  "/cache.RouterService/LookupOwner",
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
  "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
const HEALTH = "/grpc.health.v1.Health/Check";

/** All targets of the HTTP listener except probes. */
const TARGETS = ["/s3/bucket/object", "/gs/bucket/object", "/s3/bucket", "/status", "/metrics", "/", "/%zz", "/readyz/x"];

interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** Sends one request to the HTTP listener; rejects if the TLS handshake fails. */
async function get(port: number, path: string, { tls, token }: Shown, method = "GET"): Promise<HttpAnswer> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const { status: code, body } = await getRaw(port, path, headers, tls, method);
  return { status: code, body };
}

/** Sends one request with headers, and returns the response's headers, too. */
function getRaw(
  port: number,
  path: string,
  headers: Readonly<Record<string, string>>,
  tls?: Shown["tls"],
  method = "GET",
): Promise<HttpAnswer & Pick<IncomingMessage, "headers">> {
  const address = { host: "127.0.0.1", port, path, method, headers, agent: false as const };
  return new Promise((resolve, reject) => {
    const onAnswer = (response: IncomingMessage): void => {
      let body = "";
      response.on("data", (chunk) => {
        body += chunk;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    };
    const request = tls === undefined ? requestHttp(address, onAnswer) : requestHttps({ ...address, ...tls }, onAnswer);
    request.on("error", reject).end();
  });
}

async function expectServed(listeners: ListenersUnderTest, shown: Shown): Promise<void> {
  const { client: caller, metadata } = listeners.caller(shown);
  const parts: Buffer[] = [];
  const request = { key: URL, offset: 0, length: 100, version: "", forwarded: false, cachedOnly: false };
  for await (const { data } of caller.readRange(request, metadata) as AsyncIterable<{ data: Buffer }>) parts.push(data);
  expect(Buffer.concat(parts).toString()).toBe(BYTES);
  expect(await get(listeners.httpPort, "/s3/bucket/object", shown)).toEqual({ status: 200, body: BYTES });
  await expect(
    listeners.call(shown, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Buffer.from([0x3a, 0x00])),
  ).resolves.toBeDefined();
}

async function expectProbesAlone(listeners: ListenersUnderTest, shown: Shown): Promise<void> {
  for (const target of TARGETS) {
    const { status: code, body } = await get(listeners.httpPort, target, shown);
    expect([target, code]).toEqual([target, 401]);
    expect(body).toMatch(/<Error><Code>AccessDenied<\/Code>/);
  }
  expect((await get(listeners.httpPort, "/s3/bucket/object", shown, "PUT")).status).toBe(401);
  expect((await get(listeners.httpPort, "/livez", shown)).status).toBe(200);
  expect((await get(listeners.httpPort, "/readyz?verbose", shown)).status).toBe(200);
  expect(listeners.cache.requests).toEqual([]);
}

describe("with a required token", () => {
  it("requests without a valid token are counted per listener", async () => {
    await using listeners = await open({ authTokenFile: tokenFile });
    for (const token of [undefined, "another-token-than-ours"]) {
      await get(listeners.httpPort, "/s3/bucket/object", { token });
      await expect(listeners.call({ token }, METHODS[0]!)).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
    }
    expect([listeners.http.authenticationFailures.counts.http, listeners.grpc.authenticationFailures.counts.grpc]).toEqual([
      2, 2,
    ]);
  });

  it.each([{}, { token: "another-token-than-ours" }])("only health checks are answered for %j", async (shown) => {
    await using listeners = await open({ authTokenFile: tokenFile });
    for (const method of METHODS) {
      await expect(listeners.call(shown, method)).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
    }
    await expect(listeners.call(shown, HEALTH)).resolves.toBeDefined();
    await expectProbesAlone(listeners, shown);
  });

  it("everything is answered for a client with the token", async () => {
    await using listeners = await open({ authTokenFile: tokenFile });
    await expectServed(listeners, { token: TOKEN });
  });
});

/** Returns the headers that a browser sends for this user and password. */
const typed = (name: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}`,
});

describe("a browser", () => {
  it("is asked for a password, and gets the pages with any token as password and any user name", async () => {
    await using listeners = await open({ authTokenFile: tokenFile });
    const at = (path: string) => `http://127.0.0.1:${listeners.httpPort}${path}`;
    for (const headers of [{}, typed("me", "another-token-than-ours"), typed(TOKEN, "")]) {
      const refused = await fetch(at("/status"), { headers });
      expect([refused.status, refused.headers.get("www-authenticate")]).toEqual([401, 'Bearer, Basic realm="frontcache"']);
      expect(await refused.text()).toContain("as the password");
    }
    for (const name of ["", "me"]) {
      const shown = await fetch(at("/status?again"), { headers: typed(name, TOKEN) });
      expect([shown.status, await shown.text()]).toEqual([200, "status"]);
    }
  });

  it("gets no object with a password, because its scripts would too; S3 tools get S3's error without a password prompt", async () => {
    await using listeners = await open({ authTokenFile: tokenFile });
    for (const path of ["/s3/bucket/object", "/s3/bucket?list-type=2", "/gs/bucket/object", "/nothing", "http://x/status"]) {
      const { status: code, headers, body } = await getRaw(listeners.httpPort, path, typed("me", TOKEN));
      expect([path, code, headers["www-authenticate"]]).toEqual([path, 401, "Bearer"]);
      expect(body).toMatch(/<Error><Code>AccessDenied<\/Code>/);
    }
    expect(listeners.cache.requests).toEqual([]);
  });

  it("is not asked for a password if a certificate is required", async () => {
    await using listeners = await open({ ...mutual(), authTokenFile: tokenFile });
    const bare = await getRaw(listeners.httpPort, "/status", typed("me", TOKEN), trusting());
    expect([bare.status, bare.headers["www-authenticate"]]).toEqual([401, "Bearer"]);
    const certified = await getRaw(listeners.httpPort, "/status", typed("me", TOKEN), trusting(client));
    expect([certified.status, certified.body]).toEqual([200, "status"]);
  });
});

describe("with a required certificate", () => {
  it("a client without one cannot connect over gRPC, and gets only probes over HTTP", async () => {
    await using listeners = await open(mutual());
    for (const tls of [trusting(), trusting(stranger)]) {
      for (const method of [...METHODS, HEALTH])
        await expect(listeners.call({ tls }, method)).rejects.toMatchObject({ code: status.UNAVAILABLE });
      await expectProbesAlone(listeners, { tls });
    }
  });

  it("everything is answered for a client with a certificate of the authority, and nothing in plain text", async () => {
    await using listeners = await open(mutual());
    await expectServed(listeners, { tls: trusting(client) });
    await expect(listeners.call({}, HEALTH)).rejects.toMatchObject({ code: status.UNAVAILABLE });
    await expect(get(listeners.httpPort, "/livez", {})).rejects.toThrow();
  });

  it("a client rejects a member whose certificate has another authority or another name", async () => {
    await using listeners = await open({ tlsCert: files.cert, tlsKey: files.key });
    const { pem } = await Authority.create("a third");
    await expect(listeners.call({ tls: { ca: pem } }, HEALTH)).rejects.toMatchObject({ code: status.UNAVAILABLE });
    await expect(get(listeners.httpPort, "/livez", { tls: { ca: pem } })).rejects.toThrow(/certificate/);
    expect((await get(listeners.httpPort, "/livez", { tls: trusting() })).status).toBe(200);
  });

  it("both are required if a token is required too", async () => {
    await using listeners = await open({ ...mutual(), authTokenFile: tokenFile });
    await expect(listeners.call({ tls: trusting(client) }, METHODS[0]!)).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
    await expectProbesAlone(listeners, { tls: trusting(client) });
    await expectProbesAlone(listeners, { tls: trusting(), token: TOKEN });
    await expectServed(listeners, { tls: trusting(client), token: TOKEN });
  });
});

describe("security settings", () => {
  it.each([
    [{ tlsCert: "/nowhere/tls.crt", tlsKey: "/nowhere/tls.key" }, "--tls-cert and --tls-key: cannot use /nowhere/tls.crt"],
    [{ authTokenFile: "/nowhere/tokens" }, "--auth-token-file: cannot use /nowhere/tokens"],
  ])("fail the start if a file cannot be used: %j", async (flags, problem) => {
    await expect(open(flags)).rejects.toThrow(problem);
  });

  it("fail the start if the key does not match the certificate", async () => {
    const other = join(directory.path, "other.key");
    writeFileSync(other, stranger.key);
    await expect(open({ tlsCert: files.cert, tlsKey: other })).rejects.toThrow(/cannot use .*mismatch/);
  });

  it("reject flags that need others", async () => {
    await expect(open({ tlsCert: files.cert })).rejects.toThrow("--tls-cert and --tls-key must be set together");
    await expect(open({ tlsCa: files.ca })).rejects.toThrow("--tls-ca requires --tls-cert and --tls-key");
  });
});
