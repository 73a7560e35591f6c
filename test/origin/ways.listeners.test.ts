import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer, request as requestHttp, type Server } from "node:http";
import { type AddressInfo, connect, type Server as NetServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { parseObjectUrl } from "@frontcache/proto";
import { bytesOf, GcsOrigin, proxiesOf, rangeOf, type S3Options, type S3Origin, statOf } from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CredentialSource } from "../emulators/credential-sources.js";
import { GcsEmulator } from "../emulators/gcs.js";
import { S3Emulator } from "../emulators/s3.js";
import { Authority } from "../security/authority.js";
import { openS3 } from "./open-s3.js";

const ref = parseObjectUrl("s3://bucket/key");
const range = rangeOf(ref, { offset: 0, length: 7 });
const authority = await Authority.create("authority");
const pair = await authority.issue("127.0.0.1");

let directory: string;
let ca: string;
const closing: (() => Promise<unknown>)[] = [];

async function listen(server: Server | NetServer): Promise<number> {
  const sockets = new Set<{ destroy(): void }>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(async () => {
    const closed = once(server, "close");
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  return (server.address() as AddressInfo).port;
}

/** Starts a TLS server in front of an emulator; returns its https address. */
async function tlsBefore(endpoint: string): Promise<{ endpoint: string; connections: () => number }> {
  let connections = 0;
  const server = createTlsServer(pair, (socket) => {
    const to = connect(Number(new URL(endpoint).port), "127.0.0.1");
    socket.on("error", () => to.destroy()).on("close", () => to.destroy());
    to.on("error", () => socket.destroy());
    socket.pipe(to).pipe(socket);
  });
  server.on("connection", () => connections++);
  return { endpoint: `https://127.0.0.1:${await listen(server)}`, connections: () => connections };
}

/** A proxy that connects every target to a local `port`; `asked` are its requests. */
async function proxyTo(port: () => number, status = 200) {
  const asked: string[] = [];
  const server = createHttpServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers["proxy-authorization"] ?? ""}`.trim());
    const { pathname, search } = new URL(request.url!);
    const sent = requestHttp(
      { port: port(), method: request.method, path: pathname + search, headers: request.headers },
      (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      },
    );
    sent.end();
  });
  server.on("connect", (request, socket) => {
    asked.push(`CONNECT ${request.url} ${request.headers["proxy-authorization"] ?? ""}`.trim());
    socket.on("error", () => {});
    if (status !== 200) {
      socket.end(`HTTP/1.1 ${status} No\r\n\r\n`);
      return;
    }
    const to = connect(port(), "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      socket.pipe(to).pipe(socket);
    });
    to.on("error", () => socket.destroy());
    socket.on("close", () => to.destroy());
  });
  return { url: `http://127.0.0.1:${await listen(server)}`, asked };
}

let store: S3Emulator;

function open(endpoint: string, options: Partial<S3Options>): S3Origin {
  const origin = openS3(endpoint, options);
  closing.unshift(async () => origin.close());
  return origin;
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "frontcache-ways-"));
  ca = join(directory, "ca.pem");
  writeFileSync(ca, authority.pem);
  store = await S3Emulator.start();
  store.put("bucket", "key", "content");
  for (const name of ["AWS_CA_BUNDLE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"]) vi.stubEnv(name, undefined);
  vi.stubEnv("AWS_CONFIG_FILE", join(directory, "config"));
});

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  vi.unstubAllEnvs();
  await store.close();
  rmSync(directory, { recursive: true });
});

const textOf = async (origin: S3Origin) => String(await bytesOf(await origin.fetch(range)));

describe("an origin with a private certificate authority", () => {
  it("is refused after one connection, with the certificate's error code and a hint", async () => {
    const tls = await tlsBefore(store.endpoint);
    await expect(open(tls.endpoint, {}).fetch(range)).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringMatching(/certificate is not trusted \([A-Z_]+\).*AWS_CA_BUNDLE/),
    });
    expect(tls.connections()).toBe(1);
  });

  it("is read if `ca`, AWS_CA_BUNDLE or the profile's ca_bundle names the authority", async () => {
    const { endpoint } = await tlsBefore(store.endpoint);
    expect(await textOf(open(endpoint, { ca }))).toBe("content");
    vi.stubEnv("AWS_CA_BUNDLE", ca);
    expect(await textOf(open(endpoint, {}))).toBe("content");
    vi.stubEnv("AWS_CA_BUNDLE", undefined);
    writeFileSync(join(directory, "config"), `[default]\nca_bundle = ${ca}\n[profile lake]\nca_bundle = ${ca}.none\n`);
    const origin = open(endpoint, {});
    expect(await textOf(origin)).toBe("content");
    expect(await origin.ask(statOf(ref))).toMatchObject({ objectSize: 7 });
  });

  it("is UNAVAILABLE while the file cannot be read", async () => {
    const { endpoint } = await tlsBefore(store.endpoint);
    vi.stubEnv("AWS_CA_BUNDLE", join(directory, "none.pem"));
    await expect(open(endpoint, {}).fetch(range)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});

describe("an origin behind a proxy", () => {
  const portOf = (url: string) => Number(new URL(url).port);

  it("is connected to with CONNECT for https, by reads and HEADs", async () => {
    const tls = await tlsBefore(store.endpoint);
    const proxy = await proxyTo(() => portOf(tls.endpoint));
    const proxyOf = proxiesOf({ HTTPS_PROXY: proxy.url.replace("//", "//user:pass%20word@"), NO_PROXY: "127.0.0.9" });
    const origin = open("https://127.0.0.1:1", { ca, proxyOf });
    expect(await textOf(origin)).toBe("content");
    expect(await origin.ask(statOf(ref))).toMatchObject({ objectSize: 7 });
    const credentials = `Basic ${Buffer.from("user:pass word").toString("base64")}`;
    expect(new Set(proxy.asked)).toEqual(new Set([`CONNECT 127.0.0.1:1 ${credentials}`]));
  });

  it("is requested with absolute URLs for http, and directly if NO_PROXY contains it", async () => {
    const proxy = await proxyTo(() => portOf(store.endpoint));
    const origin = open("http://store.invalid", { proxyOf: proxiesOf({ HTTP_PROXY: proxy.url }) });
    expect(await textOf(origin)).toBe("content");
    expect(proxy.asked[0]).toMatch(/^GET http:\/\/store\.invalid\/bucket\/key/);
    const direct = open(store.endpoint, { proxyOf: proxiesOf({ HTTP_PROXY: proxy.url, NO_PROXY: "127.0.0.0/8" }) });
    expect(await textOf(direct)).toBe("content");
    expect(proxy.asked.length).toBe(1);
  });

  it("is UNAVAILABLE if the proxy refuses or is down", async () => {
    const proxy = await proxyTo(() => 1, 407);
    for (const url of [proxy.url, "http://127.0.0.1:1"]) {
      const origin = open("https://127.0.0.1:1", { ca, proxyOf: proxiesOf({ HTTPS_PROXY: url }) });
      await expect(origin.fetch(range)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    }
  });
});

describe("GCS over https", () => {
  it("is read with `ca`, a proxy and a token of the metadata server, and with a new token after a rejection", async () => {
    const google = await GcsEmulator.start();
    const metadata = await CredentialSource.start("google-metadata");
    closing.push(
      () => google.close(),
      () => metadata.close(),
    );
    google.put("bucket", "key", "content");
    const tls = await tlsBefore(google.endpoint);
    const proxy = await proxyTo(() => Number(new URL(tls.endpoint).port));
    vi.stubEnv("GCE_METADATA_HOST", new URL(metadata.url).host);
    vi.stubEnv("METADATA_SERVER_DETECTION", "assume-present");
    vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", undefined);
    vi.stubEnv("HOME", directory);
    const origin = new GcsOrigin({
      endpoint: "https://127.0.0.1:1",
      credentials: "default",
      userProject: undefined,
      maxConnections: 4,
      idleTimeoutMs: 60_000,
      proxyOf: proxiesOf({ HTTPS_PROXY: proxy.url }),
      ca,
      onDroppedHeaders: () => {},
    });
    closing.unshift(async () => origin.close());
    const gcs = rangeOf(parseObjectUrl("gs://bucket/key"), { offset: 0, length: 7 });
    expect(String(await bytesOf(await origin.fetch(gcs)))).toBe("content");
    google.faults.place({
      when: ({ headers }) => headers.authorization === "Bearer key1",
      error: { status: 401, code: "authError" },
    });
    expect(String(await bytesOf(await origin.fetch(gcs)))).toBe("content");
    expect(proxy.asked).toContain("CONNECT 127.0.0.1:1");
  });
});
