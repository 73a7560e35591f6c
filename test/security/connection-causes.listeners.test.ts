import { once } from "node:events";
import { type AddressInfo, createServer as createPlainServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { CacheClient, type TlsOptions } from "@frontcache/client";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { Authority, type Pair } from "./authority.js";

const DAY_MS = 24 * 3_600_000;

let authority: Authority;
let other: Authority;
let pair: Pair;
const servers: Server[] = [];
const sockets = new Set<Socket>();

beforeAll(async () => {
  [authority, other] = await Promise.all([Authority.create("ours"), Authority.create("theirs")]);
  pair = await authority.issue("frontcache");
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

async function listen(server: Server): Promise<string> {
  servers.push(server);
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A TLS server with this certificate; `requiresClient`: it requires a client certificate of our authority. */
const startTls = ({ cert, key }: Pair, requiresClient = false): Promise<string> =>
  listen(createTlsServer({ cert, key, ca: authority.pem, requestCert: requiresClient, rejectUnauthorized: requiresClient }));

/** The message of a failed connect, after the address. */
async function causeOf(endpoint: string, tls?: TlsOptions): Promise<string> {
  const client = CacheClient.connect({ endpoint, connectTimeoutMs: 60_000, ...(tls && { tls }) });
  const message = await client.then(
    () => expect.unreachable("connected"),
    (error: Error) => {
      expect(error).toMatchObject({ code: "UNAVAILABLE" });
      return error.message;
    },
  );
  const prefix = `cannot connect to ${endpoint}: `;
  expect(message.startsWith(prefix), message).toBe(true);
  return message.slice(prefix.length);
}

describe("a client that cannot connect because of TLS", () => {
  it("reports since when the member's certificate is expired", async () => {
    const expired = await authority.issueUntil(Date.now() - DAY_MS, "frontcache");
    const date = new Date(Date.now() - DAY_MS).toISOString().slice(0, 10);
    expect(await causeOf(await startTls(expired), { ca: authority.pem, serverName: "frontcache" })).toBe(
      `certificate expired on ${date}`,
    );
  });

  it("reports an unknown authority", async () => {
    expect(await causeOf(await startTls(pair), { ca: other.pem, serverName: "frontcache" })).toBe(
      "certificate signed by an unknown authority",
    );
  });

  it("reports the names in the certificate if the server name is not among them", async () => {
    expect(await causeOf(await startTls(pair), { ca: authority.pem, serverName: "elsewhere" })).toBe(
      "certificate for another name: it names DNS:frontcache, IP Address:127.0.0.1",
    );
  });

  it("reports a port that does not speak TLS", async () => {
    const plain = createPlainServer((socket) => void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    expect(await causeOf(await listen(plain), { ca: authority.pem })).toBe("the port does not speak TLS");
  });

  it("reports a key that was given as CA", async () => {
    const given = { endpoint: await startTls(pair), tls: { ca: pair.key } };
    await expect(CacheClient.connect(given)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: "tls: ca contains no certificate: give the authorities' certificates in PEM",
    });
    await expect(CacheClient.connect({ ...given, tls: () => given.tls })).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("the function for tls has failed: tls: ca contains no certificate"),
    });
  });

  it("reports a key that does not belong to the client certificate", async () => {
    const { key } = await authority.issue("another");
    expect(await causeOf(await startTls(pair), { ca: authority.pem, cert: pair.cert, key })).toBe(
      "the client certificate and its key do not belong together",
    );
  });

  it("reports a missing client certificate", async () => {
    expect(await causeOf(await startTls(pair, true), { ca: authority.pem, serverName: "frontcache" })).toBe(
      "the port does not speak gRPC, or the member requires a client certificate",
    );
  });

  it("reports a client certificate of another authority", async () => {
    const { cert, key } = await other.issue("client");
    expect(await causeOf(await startTls(pair, true), { ca: authority.pem, serverName: "frontcache", cert, key })).toBe(
      "the port does not speak gRPC, or the member refuses the client certificate",
    );
  });

  it("reports a member that requires TLS if it uses plain text", async () => {
    expect(await causeOf(await startTls(pair))).toBe("the port does not speak gRPC in plain text (does the member require TLS?)");
  });
});
