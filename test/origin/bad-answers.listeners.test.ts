import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { parseObjectUrl } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import { bytesOf, rampBytes, rangeOf, type S3Origin, statOf } from "@frontcache/server/testing";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { Authority } from "../security/authority.js";
import { openS3 } from "./open-s3.js";

const ref = parseObjectUrl("s3://bucket/key");
const range = rangeOf(ref, { offset: 2, length: 7 });
const authority = await Authority.create("authority");
const pair = await authority.issue("127.0.0.1");

/** A received request, to be answered by the test. */
interface Asked {
  readonly line: string;
  readonly socket: Socket;
  /** The connection below TLS. */
  readonly raw: Socket;
}

/** A listener and an origin there. They serve all tests, because opening an origin costs more than a test. */
interface Setting {
  readonly server: Server;
  readonly origin: S3Origin;
}

const settings = new Map<"http" | "https", Setting>();
const sockets = new Set<Socket>();
let answer: (asked: Asked) => void;
let onSecured: (socket: TLSSocket) => void;
let asked: string[];
let connections: number;
let origin: S3Origin;

const directory = mkdtempSync(join(tmpdir(), "frontcache-answers-"));
const ca = join(directory, "ca.pem");
writeFileSync(ca, authority.pem);

async function open(scheme: "http" | "https"): Promise<Setting> {
  const server = scheme === "http" ? createServer() : createTlsServer(pair);
  let raw: Socket | undefined;
  server.on("connection", (socket: Socket) => {
    connections++;
    sockets.add(socket);
    raw = socket;
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  server.on(scheme === "http" ? "connection" : "secureConnection", (socket: Socket) => {
    if (scheme === "https") onSecured(socket as TLSSocket);
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      const line = bytes.toString("latin1").split("\r\n")[0]!;
      asked.push(line);
      answer({ line, socket, raw: raw! });
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { server, origin: openS3(`${scheme}://127.0.0.1:${port}`, { ca }) };
}

/** Answers requests by a script. */
async function setUp(script: (asked: Asked) => void, scheme: "http" | "https" = "http"): Promise<void> {
  answer = script;
  let setting = settings.get(scheme);
  if (setting === undefined) {
    setting = await open(scheme);
    settings.set(scheme, setting);
  }
  origin = setting.origin;
}

beforeEach(() => {
  asked = [];
  connections = 0;
  onSecured = () => {};
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await eventually(() => expect(sockets.size).toBe(0));
});

afterAll(async () => {
  for (const { server, origin: opened } of settings.values()) {
    opened.close();
    server.close();
    await once(server, "close");
  }
  rmSync(directory, { recursive: true });
});

/** Answers every request with these bytes; then ends the connection, if `ends`. */
const always =
  (text: string, ends = false) =>
  ({ socket }: Asked): void => {
    socket.write(text, "latin1");
    if (ends) socket.end();
  };

const read = async (): Promise<string> => String(await bytesOf(await origin.fetch(range)));

const HEAD = 'HTTP/1.1 206 Partial Content\r\nETag: "v1"\r\nContent-Range: bytes 2-8/100\r\n';
const OLD = HEAD.replace("1.1", "1.0");
const LOOP = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /bucket/key\r\nContent-Length: 0\r\n\r\n";
const WHOLE = `HTTP/1.1 200 OK\r\nETag: "v1"\r\nContent-Length: 100\r\n\r\n${"x".repeat(100)}`;

describe("an origin's answer to a range", () => {
  it.each<[string, string, boolean]>([
    ["has a length", `${HEAD}Content-Length: 7\r\n\r\ncontent`, false],
    ["comes in chunks", `${HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\ncon\r\n4\r\ntent\r\n0\r\n\r\n`, false],
    ["has trailers", `${HEAD}Transfer-Encoding: chunked\r\n\r\n7\r\ncontent\r\n0\r\nx-amz-checksum-crc32: AAAA\r\n\r\n`, false],
    [
      "follows interim answers",
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\nA: b\r\n\r\n${HEAD}Content-Length: 7\r\n\r\ncontent`,
      false,
    ],
    ["has a coding, which is the object's", `${HEAD}Content-Encoding: gzip\r\nContent-Length: 7\r\n\r\ncontent`, false],
    ["is HTTP/1.0", `${OLD}Content-Length: 7\r\n\r\ncontent`, true],
    ["ends with its connection", `${HEAD}\r\ncontent`, true],
    ["has a head of 63 KiB", `${HEAD}X: ${"x".repeat(63 << 10)}\r\nContent-Length: 7\r\n\r\ncontent`, false],
  ])("is read if it %s", async (_, text, ends) => {
    await setUp(always(text, ends));
    expect([await read(), await read()]).toEqual(["content", "content"]);
    expect(connections).toBe(ends ? 2 : 1);
  });

  it.each<[string, string, boolean]>([
    ["is the whole object", WHOLE, false],
    [
      "is the whole object in chunks",
      'HTTP/1.1 200 OK\r\nETag: "v1"\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ncontent\r\n0\r\n\r\n',
      false,
    ],
    ["has another range", HEAD.replace("2-8", "0-6").concat("Content-Length: 7\r\n\r\ncontent"), false],
    ["has less than it says", `${HEAD}Content-Length: 7\r\n\r\nconte`, true],
    ["has more than it says", `${HEAD}Content-Length: 7\r\n\r\ncontent and more`, false],
    ["says less than its range", `${HEAD}Content-Length: 6\r\n\r\nconten`, false],
    ["has fewer chunks than its range", `${HEAD}Transfer-Encoding: chunked\r\n\r\n6\r\nconten\r\n0\r\n\r\n`, false],
    ["has more chunks than its range", `${HEAD}Transfer-Encoding: chunked\r\n\r\n8\r\ncontents\r\n0\r\n\r\n`, false],
    ["ends in a chunk", `${HEAD}Transfer-Encoding: chunked\r\n\r\n7\r\ncont`, true],
    ["has a chunk without a size", `${HEAD}Transfer-Encoding: chunked\r\n\r\ncontent\r\n`, false],
    ["is compressed for the way", `${HEAD}Transfer-Encoding: gzip, chunked\r\n\r\n7\r\ncontent\r\n0\r\n\r\n`, false],
    ["has chunks and a length", `${HEAD}Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ncontent\r\n0\r\n\r\n`, false],
    ["has two lengths", `${HEAD}Content-Length: 7\r\nContent-Length: 8\r\n\r\ncontent`, false],
    ["is HTTP/1.0 and ends early", `${OLD}\r\nconte`, true],
    ["never comes after interim answers", "HTTP/1.1 100 Continue\r\n\r\n".repeat(100), false],
    ["has a head of more than 64 KiB", `${HEAD}X: ${"x".repeat(65 << 10)}\r\nContent-Length: 7\r\n\r\ncontent`, false],
    ["is of another protocol", "SSH-2.0-OpenSSH_9.6\r\n", false],
    ["is nothing", "", true],
  ])("is UNAVAILABLE if it %s", async (_, text, ends) => {
    await setUp(always(text, ends));
    await expect(read()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(read()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("is an error after one more request if it redirects in a loop", async () => {
    await setUp(always(LOOP));
    await expect(read()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(origin.ask(statOf(ref))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(asked.length).toBeLessThanOrEqual(6);
  });
});

describe("an origin's answer to a HEAD", () => {
  it("is used, and its connection is not, if a body follows it", async () => {
    await setUp(({ line, socket }) => socket.write(line.startsWith("HEAD ") ? WHOLE : `${HEAD}Content-Length: 7\r\n\r\ncontent`));
    for (let times = 0; times < 3; times++) {
      expect(await origin.ask(statOf(ref))).toMatchObject({ objectSize: 100, version: "v1" });
      expect(await read()).toBe("content");
    }
  });
});

describe("TLS with an origin", () => {
  const LENGTH = 3 << 20;
  const large = rangeOf(ref, { offset: 0, length: LENGTH });
  const head = `HTTP/1.1 206 OK\r\nETag: "v1"\r\nContent-Range: bytes 0-${LENGTH - 1}/${LENGTH}\r\nContent-Length: ${LENGTH}\r\n\r\n`;
  it.each<[string, number]>([
    ["before the head", 0],
    ["in the head", 20],
    ["in the body", head.length + (1 << 20)],
  ])("is UNAVAILABLE if the connection is reset %s", async (_, bytes) => {
    const wire = Buffer.concat([Buffer.from(head), rampBytes(0, LENGTH, 1)]);
    await setUp(({ socket, raw }) => {
      if (bytes === 0) raw.resetAndDestroy();
      else socket.write(wire.subarray(0, bytes), () => raw.resetAndDestroy());
    }, "https");
    const outcome = origin.fetch(large).then((answer) => bytesOf(answer));
    await expect(outcome).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("is UNAVAILABLE if the connection ends without a close of TLS, and whole answers arrive before", async () => {
    const wire = Buffer.concat([Buffer.from(head), rampBytes(0, LENGTH, 1)]);
    let answers = 0;
    await setUp(({ socket, raw }) => {
      if (++answers <= 2) socket.write(wire);
      else socket.write(wire.subarray(0, 100_000), () => raw.destroy());
    }, "https");
    for (let times = 0; times < 2; times++) {
      expect((await bytesOf(await origin.fetch(large))).equals(rampBytes(0, LENGTH, 1))).toBe(true);
    }
    await expect(origin.fetch(large).then((answer) => bytesOf(answer))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(connections).toBe(1);
  });

  it("is resumed by later connections", async () => {
    const resumed: boolean[] = [];
    onSecured = (socket) => void resumed.push(socket.isSessionReused());
    await setUp(({ socket }) => socket.end(Buffer.concat([Buffer.from(head), rampBytes(0, LENGTH, 1)])), "https");
    for (let times = 0; times < 3; times++) await bytesOf(await origin.fetch(large));
    expect(resumed.slice(1)).toEqual([true, true]);
  });
});
