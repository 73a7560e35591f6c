import { writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { join } from "node:path";
import { type CredentialOptions, tokenSource } from "@frontcache/client/members";
import { ReadRangeRequest } from "@frontcache/proto";
import { ManualClock, silentLog } from "@frontcache/server/testing";
import { type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { temporaryDirectory } from "../e2e/member-process.js";
import { IssuerEmulator } from "../emulators/issuer.js";
import { Authority, CertificateFiles, type Pair } from "./authority.js";
import { ListenersUnderTest } from "./listeners-under-test.js";

const PUBLIC = "public/a";
const PRIVATE = "private/b";
const SECRET = "a-secret-of-an-access-key";

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let issuer: IssuerEmulator;
/** It stands still, so that tokens do not expire on a slow machine. */
let clock: ManualClock;
let listeners: ListenersUnderTest;
let logged: string[];

beforeEach(async () => {
  directory = await temporaryDirectory();
  clock = new ManualClock(Date.now());
  issuer = await IssuerEmulator.start(undefined, () => clock.nowMs());
  logged = [];
});

afterEach(async () => {
  await listeners[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
});

/** Writes the identities file: whom it grants to read what is public, and further lines. */
function writeIdentities(to: string, more: string): string {
  const path = join(directory.path, "identities.yaml");
  const grants = `grants: [{ to: ${JSON.stringify(to)}, operations: read, buckets: s3://lake, prefixes: public/ }]\n`;
  writeFileSync(path, `${more}\n${grants}`);
  return path;
}

async function open(flags: object): Promise<void> {
  const keep = (...line: unknown[]): void => void logged.push(JSON.stringify(line));
  const log = { ...silentLog, debug: keep, info: keep, warn: keep, error: keep, always: keep };
  listeners = await ListenersUnderTest.open(flags, clock, log as typeof silentLog);
  for (const key of [PUBLIC, PRIVATE]) listeners.cache.objects.set(`s3://lake/${key}`, Buffer.from("bytes"));
}

/** The same as `readOnce`, repeated while the issuer's keys are loaded too slowly, as on a busy machine. */
async function read(key: string, credentials: CredentialOptions): Promise<(number | string)[]> {
  let got: (number | string)[] = [];
  const next = async (): Promise<boolean> => {
    got = await readOnce(key, credentials);
    const isLate = got.includes(503);
    if (isLate) clock.advance(1_000);
    return isLate;
  };
  await expect.poll(next, { timeout: 60_000 }).toBe(false);
  return got;
}

/** What reads of an object get from the HTTP listener, the S3 endpoint and gRPC, as statuses of HTTP. */
async function readOnce(key: string, credentials: CredentialOptions): Promise<(number | string)[]> {
  const token = tokenSource(credentials)?.();
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const get = async (url: string): Promise<number> => {
    const answer = await fetch(url, { headers });
    await answer.arrayBuffer();
    return answer.status;
  };
  const byHttp = await get(`http://127.0.0.1:${listeners.httpPort}/s3/lake/${key}`);
  const byS3 = await get(`http://127.0.0.1:${listeners.s3.address.port}/lake/${key}`);
  return [byHttp, byS3, await byGrpc(key, { token })];
}

async function byGrpc(key: string, shown: Parameters<ListenersUnderTest["call"]>[0]): Promise<number | string> {
  const message = ReadRangeRequest.encode(ReadRangeRequest.fromPartial({ key: `s3://lake/${key}`, length: 1 })).finish();
  try {
    await listeners.call(shown, "/cache.CacheService/ReadRange", Buffer.from(message));
    return 200;
  } catch (error) {
    const { code } = error as ServiceError;
    const codes = { [status.PERMISSION_DENIED]: 403, [status.UNAUTHENTICATED]: 401, [status.UNAVAILABLE]: 503 };
    return codes[code as keyof typeof codes] ?? status[code];
  }
}

const READS = [200, 200, 200];
const DENIED = [403, 403, 403];
/** S3's clients take 401 for a defect of the server. */
const REFUSED = [401, 403, 401];

describe("a token of an OpenID Connect issuer", () => {
  const rules = (): string => `issuers: [{ issuer: "${issuer.url}", namePrefix: "it:", groupsClaim: groups }]`;

  it("reads what is granted to its name, and nothing else, by every interface", async () => {
    await open({ identitiesFile: writeIdentities("it:reader", rules()) });
    const token = await issuer.signing.sign();
    expect(await read(PUBLIC, { token })).toEqual(READS);
    expect(await read(PRIVATE, { token })).toEqual(DENIED);
    expect(await read(PUBLIC, { token: await issuer.signing.sign({ claims: { sub: "another" } }) })).toEqual(DENIED);
    expect(logged.join("\n")).not.toContain(token.split(".")[2]);
  });

  it("reads what is granted to one of its groups", async () => {
    await open({ identitiesFile: writeIdentities("group:it:team-*", rules()) });
    expect(await read(PUBLIC, { token: await issuer.signing.sign({ claims: { groups: ["x", "team-a"] } }) })).toEqual(READS);
    expect(await read(PUBLIC, { token: await issuer.signing.sign({ claims: { groups: ["teams"] } }) })).toEqual(DENIED);
  });

  it("in a file continues reading when the file and the issuer's key have been replaced", async () => {
    await open({ identitiesFile: writeIdentities("it:reader", rules()) });
    const tokenFile = join(directory.path, "token");
    writeFileSync(tokenFile, await issuer.signing.sign());
    expect(await read(PUBLIC, { tokenFile })).toEqual(READS);
    await issuer.signing.rotate(true);
    writeFileSync(tokenFile, await issuer.signing.sign());
    expect(await read(PUBLIC, { tokenFile })).toEqual(READS);
    await issuer.signing.rotate(false);
    clock.advance(10_000);
    writeFileSync(tokenFile, await issuer.signing.sign());
    expect(await read(PUBLIC, { tokenFile })).toEqual(READS);
  });

  it("is refused by every interface if it is forged, has expired or is for others, and never reaches the cache", async () => {
    await open({ identitiesFile: writeIdentities("*", rules()) });
    const [header, body, signature] = (await issuer.signing.sign()).split(".");
    const none = Buffer.from('{"alg":"none"}').toString("base64url");
    const expired = await issuer.signing.sign({ claims: { exp: Math.floor(clock.nowMs() / 1_000) - 3_600 } });
    const forOthers = await issuer.signing.sign({ claims: { aud: "others" } });
    const forged = `${header}.${body}.${signature!.startsWith("A") ? "B" : "A"}${signature!.slice(1)}`;
    for (const token of [`${none}.${body}.AAAA`, forged, expired, forOthers])
      expect(await read(PUBLIC, { token })).toEqual(REFUSED);
    expect(listeners.reached).toBe(0);
  });

  it("is answered by 503 if its issuer is down and its keys are unknown", async () => {
    issuer.answers.set("/openid/v1/jwks", (_request, response) => response.destroy());
    await open({ identitiesFile: writeIdentities("*", rules()) });
    expect(await readOnce(PUBLIC, { token: await issuer.signing.sign() })).toEqual([503, 503, 503]);
    expect(listeners.reached).toBe(0);
  });

  it("is refused on open connections once its issuer is removed from the file, and accepted while the file is broken", async () => {
    await open({ identitiesFile: writeIdentities("it:reader", rules()) });
    const token = await issuer.signing.sign({ claims: { exp: Math.floor(clock.nowMs() / 1_000) + 100_000 } });
    expect(await read(PUBLIC, { token })).toEqual(READS);
    // The file is read each second, and the next second begins when it has been read.
    const later = <Result>(ask: () => Result): Result => {
      clock.advance(1_000);
      return ask();
    };
    writeIdentities("it:reader", "issuers: [{ issu");
    await expect.poll(() => later(() => logged.join("\n")), { timeout: 60_000 }).toContain("file-refused");
    expect(await read(PUBLIC, { token })).toEqual(READS);
    writeIdentities("it:reader", "");
    await expect.poll(() => later(() => read(PUBLIC, { token })), { timeout: 60_000 }).toEqual(REFUSED);
  });
});

describe("an access key", () => {
  it("reads by every interface what is granted to its identity, without sending the secret", async () => {
    const identity = `identities: [{ name: ada, accessKeys: [{ id: AKIAADA, secret: ${SECRET} }] }]`;
    await open({ identitiesFile: writeIdentities("ada", identity) });
    const accessKey = { accessKeyId: "AKIAADA", secretAccessKey: SECRET };
    // The client signs with the time of the machine.
    clock.jumpWall(Date.now() - clock.nowMs());
    expect(await read(PUBLIC, { accessKey })).toEqual(READS);
    expect(await read(PRIVATE, { accessKey })).toEqual(DENIED);
    expect(await read(PUBLIC, { accessKey: { ...accessKey, secretAccessKey: `${SECRET}x` } })).toEqual(REFUSED);
    expect(await read(PUBLIC, { accessKey: { ...accessKey, accessKeyId: "AKIABOB" } })).toEqual(REFUSED);
    expect(tokenSource({ accessKey })!()).not.toContain(SECRET);
  });
});

describe("a client certificate", () => {
  let authority: Authority;
  let flags: object;

  beforeEach(async () => {
    authority = await Authority.create("clients");
    const files = new CertificateFiles(directory.path);
    files.write(await authority.issue("frontcache"), authority.pem);
    flags = { tlsCert: files.cert, tlsKey: files.key, tlsCa: files.ca, tlsServerName: "frontcache" };
  });

  /** What reads get from the HTTP listener and gRPC. */
  async function readWith(key: string, pair: Pair, authorization?: string): Promise<(number | string)[]> {
    const tls = { ...pair, ca: authority.pem, serverName: "frontcache" };
    const byHttp = await new Promise<number>((resolve, reject) => {
      const target = { host: "127.0.0.1", port: listeners.httpPort, path: `/s3/lake/${key}`, agent: false };
      const headers = authorization === undefined ? {} : { authorization };
      const sent = request({ ...target, ...tls, servername: "frontcache", headers }, (response: IncomingMessage) => {
        response.resume().on("end", () => resolve(response.statusCode!));
      });
      sent.on("error", reject).end();
    });
    return [byHttp, await byGrpc(key, { tls, token: authorization?.slice("Bearer ".length) })];
  }

  it("reads what is granted to the identity that has one of its names", async () => {
    const identities = `identities: [{ name: ada, certificates: ["URI:spiffe://cluster/ada", CN=ada] }]`;
    await open({ ...flags, identitiesFile: writeIdentities("ada", identities) });
    const pair = await authority.issue("spiffe://cluster/ada");
    expect(await readWith(PUBLIC, pair)).toEqual([200, 200]);
    expect(await readWith(PRIVATE, pair)).toEqual([403, 403]);
    expect(await readWith(PUBLIC, await authority.issue("ada"))).toEqual([200, 200]);
    expect(await readWith(PUBLIC, await authority.issue("bob"))).toEqual([403, 403]);
  });

  it("reads what is granted to its own name if no identity has it", async () => {
    await open({ ...flags, identitiesFile: writeIdentities("URI:spiffe://cluster/jobs/*", "") });
    expect(await readWith(PUBLIC, await authority.issue("spiffe://cluster/jobs/reader"))).toEqual([200, 200]);
    expect(await readWith(PUBLIC, await authority.issue("spiffe://cluster/other/reader"))).toEqual([403, 403]);
  });

  it("does not help a request with a wrong token", async () => {
    await open({ ...flags, identitiesFile: writeIdentities("CN=ada", "") });
    const pair = await authority.issue("ada");
    expect(await readWith(PUBLIC, pair)).toEqual([200, 200]);
    expect(await readWith(PUBLIC, pair, "Bearer a-token-that-is-unknown")).toEqual([401, 401]);
  });
});
