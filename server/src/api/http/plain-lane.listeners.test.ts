import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { eventually, ManualClock } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../runtime/clock.js";
import { ConnectionAuthentication } from "../../security/connection-authentication.js";
import { HttpFixture, NOTHING_LEFT } from "../../testing/http-fixture.js";
import { noLimits } from "../../testing/no-limits.js";
import { noSecurity, testPeer } from "../../testing/no-security.js";
import { rampBytes } from "../../testing/origin/ramp.js";
import type { RawClient } from "../../testing/raw-client.js";
import { Clients } from "../limits/clients.js";
import { Connection } from "./connection.js";
import { PlainLane } from "./plain-lane.js";
import { parsePlainRequest } from "./plain-request.js";

const OBJECT = rampBytes(0, 5000, 3);

let fixture: HttpFixture;
let client: RawClient;

beforeEach(async () => {
  fixture = await HttpFixture.open();
  fixture.put("s3://bucket/object", OBJECT);
  client = await fixture.connect();
});

afterEach(async () => {
  await client[Symbol.asyncDispose]();
  await eventually(() => expect(fixture.left()).toEqual(NOTHING_LEFT));
  await fixture[Symbol.asyncDispose]();
});

/** Whether an answer came through the plain lane: Node's server says how long it keeps the connection. */
const isPlain = (headers: Readonly<Record<string, string>>): boolean => headers["keep-alive"] === undefined;

describe("the plain lane", () => {
  it.each([
    ["/s3/bucket/object", "bytes=10-19", 'If-Match: "v1"'],
    ["/s3/bucket/object", "bytes=0-4999"],
    ["/s3/bucket/object", "bytes=10-19", "frontcache-forwarded: 1"],
    ["/s3/bucket/object", "bytes=10-19", 'If-Match: "v1"', "frontcache-forwarded: 1", "frontcache-cached-only: 1"],
    ["/s3/bucket/object", "bytes=6000-6001", "frontcache-forwarded: 1"],
    ["/s3/bucket/missing", "bytes=0-0", "frontcache-cached-only: 1"],
    ["/s3/bucket/object", "bytes=4990-6000"],
    ["/s3/bucket/object", "bytes=6000-6001"],
    ["/s3/bucket/object", "bytes=9-1"],
    ["/s3/bucket/object", "bytes=0-0", 'If-Match: "v0"'],
    ["/s3/bucket/missing", "bytes=0-0"],
    ["/s3/bucket/%zz", "bytes=0-0"],
    ["/s3/bucket", "bytes=0-0"],
  ])("answers %s %s like Node's server", async (target, range, ...headers) => {
    const plain = await client.get(target, `Range: ${range}`, ...headers);
    const other = await client.get(target, `Range: ${range}`, ...headers, "Accept-Language: en");
    expect([isPlain(plain.headers), isPlain(other.headers)]).toEqual([true, false]);
    // Tools and members learn whether and since when bytes are cached.
    const { connection, "keep-alive": keepAlive, "x-amz-request-id": id, "x-cache": cached, ...headersOfTools } = other.headers;
    const { via, "server-timing": timing, ...expected } = headersOfTools;
    const isForwarded = headers.includes("frontcache-forwarded: 1");
    expect(plain.headers["x-cache"]).toBe(isForwarded ? cached : undefined);
    expect({ ...plain.headers, date: "" }).toMatchObject({ ...expected, date: "" });
    expect([plain.status, plain.headers["content-length"]]).toEqual([other.status, String(plain.body.length)]);
    const withoutId = (body: Buffer): string => body.toString("latin1").replace(/<RequestId>.*<\/RequestId>/, "");
    expect(withoutId(plain.body)).toBe(withoutId(other.body));
  });

  it.each([
    ["/s3/bucket/object"],
    ["/s3/bucket/missing"],
    ["/s3/bucket/%zz"],
    ["/s3/bucket"],
    ["/s3/bucket/"],
    ["/s3/bucket?list-type=2&prefix=ob&delimiter=%2F"],
    ["/s3/bucket/?prefix=ob&max-keys=0"],
    ["/s3/bucket?list-type=3"],
    ["/s3/bucket/object?prefix=a"],
    ["/s3/bucket/object?x-id=GetObject"],
    ["/s3/bucket/object?partNumber=1&x-id=GetObject"],
    ["/s3/bucket/object?partNumber=1", "Range: bytes=10-19"],
    ["/s3/bucket/object", "Range: bytes=-10"],
    ["/s3/bucket/object", "Range: bytes=-6000"],
    ["/s3/bucket/object", "Range: bytes=4990-"],
    ["/s3/bucket/object", "Range: bytes=6000-"],
    ["/s3/bucket/object", "x-amz-checksum-mode: ENABLED", "x-amz-api-version: 2006-03-01", "Content-Type: application/xml"],
  ])(
    "answers a GET of %s with other headers than those of frontcache's clients, and a HEAD, like Node's server",
    async (target, ...lines) => {
      for (const method of ["GET", "HEAD"] as const) {
        const read = (...more: string[]) =>
          method === "GET" ? client.get(target, ...lines, ...more) : client.head(target, ...lines, ...more);
        await using node = await fixture.connect();
        const [plain, again] = [await read("User-Agent: tool"), await read()];
        node.request(method, target, ...lines, "Accept-Language: en");
        const other = await node.answer(method === "GET");
        expect([plain, again, other].map(({ headers }) => isPlain(headers))).toEqual([true, true, false]);
        const { connection, "keep-alive": keepAlive, ...expected } = other.headers;
        const comparable = ({ headers, body, status }: typeof plain): object => {
          const own = { date: "", "x-amz-request-id": "", age: "", "server-timing": "" };
          const named = body.toString("latin1").replace(/<RequestId>.*<\/RequestId>/, "");
          return { status, headers: { ...headers, ...own, "content-length": "" }, named };
        };
        expect(comparable(again)).toEqual(comparable({ ...other, headers: expected }));
        if (method === "GET") expect(again.headers["content-length"]).toBe(String(again.body.length));
      }
    },
  );

  it("passes the connection to Node's parser permanently at the first request of another form", async () => {
    for (let round = 0; round < 3; round++)
      expect(isPlain((await client.get("/s3/bucket/object", "Range: bytes=0-9")).headers)).toBe(true);
    expect((await client.get("/readyz")).status).toBe(200);
    const { headers, body } = await client.get("/s3/bucket/object", "Range: bytes=0-9");
    expect([isPlain(headers), body.equals(OBJECT.subarray(0, 10))]).toEqual([false, true]);
  });

  it("passes the connection to Node's parser for a head in two pieces, split anywhere, also after a response", async () => {
    const head = "GET /s3/bucket/object HTTP/1.1\r\nHost: member\r\nRange: bytes=2-5\r\n\r\n";
    for (let at = 1; at < head.length; at += 7) {
      await using other = await fixture.connect();
      expect((await other.get("/s3/bucket/object", "Range: bytes=0-9")).status).toBe(206);
      other.send(head.slice(0, at));
      await new Promise((resolve) => setImmediate(resolve));
      other.send(head.slice(at));
      expect((await other.answer()).body.equals(OBJECT.subarray(2, 6))).toBe(true);
    }
  });

  it("keeps the connection if the next request arrives before the end of the response", async () => {
    let go!: () => void;
    fixture.cache.beforeAnswer = () => new Promise((resolve) => (go = resolve));
    client.request("GET", "/s3/bucket/object", "Range: bytes=0-0");
    await eventually(() => expect(fixture.left().running).toBe(1));
    client.request("GET", "/s3/bucket/object", "Range: bytes=1-1");
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    fixture.cache.beforeAnswer = undefined;
    go();
    for (const at of [0, 1, 2]) {
      if (at === 2) client.request("GET", "/s3/bucket/object", "Range: bytes=2-2");
      const { headers, body } = await client.answer();
      expect([isPlain(headers), body]).toEqual([true, OBJECT.subarray(at, at + 1)]);
    }
  });

  it("passes on bytes that arrived before the last response, in order", async () => {
    let go!: () => void;
    fixture.cache.beforeAnswer = () => new Promise((resolve) => (go = resolve));
    client.request("GET", "/s3/bucket/object", "Range: bytes=0-0");
    await eventually(() => expect(fixture.left().running).toBe(1));
    for (const at of [1, 2, 3]) {
      client.request("GET", "/s3/bucket/object", `Range: bytes=${at}-${at}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await new Promise((resolve) => setImmediate(resolve));
    fixture.cache.beforeAnswer = undefined;
    go();
    for (const at of [0, 1, 2, 3]) expect((await client.answer()).body).toEqual(OBJECT.subarray(at, at + 1));
  });

  it("closes the connection of a client that sends much more than it reads", async () => {
    fixture.cache.beforeAnswer = (signal) =>
      new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason), { once: true }));
    client.request("GET", "/s3/bucket/object", "Range: bytes=0-0");
    await eventually(() => expect(fixture.left().running).toBe(1));
    client.send(Buffer.alloc(1 << 20));
    expect(await client.rest()).toBe("");
  });

  it("stops if the client half-closes the connection, like Node's server", async () => {
    fixture.cache.beforeAnswer = (signal) =>
      new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason), { once: true }));
    client.request("GET", "/s3/bucket/object", "Range: bytes=0-0");
    await eventually(() => expect(fixture.left().running).toBe(1));
    client.socket.end();
    expect(await client.rest()).toBe("");
  });

  it("closes connections without progress, new ones sooner", () => {
    const socket = Object.assign(new EventEmitter(), { destroyed: 0, timeouts: [] as number[] });
    const fake = Object.assign(socket, {
      setTimeout: (ms: number) => socket.timeouts.push(ms),
      destroy: () => socket.destroyed++,
    }) as unknown as Socket;
    const connection = new Connection(
      fake,
      new ConnectionAuthentication(noSecurity, testPeer(), systemClock),
      new Clients(noLimits, systemClock).of(),
    );
    const times = { firstBytesTimeoutMs: 10, idleTimeoutMs: 100 };
    new PlainLane({
      socket: fake,
      direct: undefined,
      connection,
      clock: new ManualClock(),
      parse: (bytes) => parsePlainRequest(bytes, "prefixed"),
      ...times,
      answer() {},
      prove() {},
      handOver() {},
    });
    expect(socket.timeouts).toEqual([10]);
    socket.emit("data", Buffer.from("GET /s3/b/k HTTP/1.1\r\nHost: m\r\nRange: bytes=0-0\r\n\r\n"));
    expect([socket.timeouts, socket.destroyed]).toEqual([[10, 100], 0]);
    socket.emit("timeout");
    expect(socket.destroyed).toBe(1);
  });
});
