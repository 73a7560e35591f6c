import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { until } from "@frontcache/proto/testing";
import { describe, expect, it, onTestFinished } from "vitest";
import { openTransport, setUp, size, url } from "../../testing/landing-setting.js";
import { ramp } from "../../testing/ramp.js";
import { type Asked, answerRamp, errorAnswer, rampAnswer, rampHead } from "../../testing/scripted-listener.js";
import { Unreachable } from "../ports.js";
import { Unintelligible } from "./answer-head.js";

const whole = { first: 0, end: size, objectSize: size };

describe("the HTTP transport", () => {
  it("receives the requested bytes, in consecutive reads on one connection, and leaves no timer", async () => {
    const { read, land, listener, clock } = await setUp();
    for (const [offset, length] of [
      [0, size],
      [17, 1],
      [50_000, 70_000],
    ] as const) {
      const { landing } = land(offset, length);
      await read(landing);
      expect(landing.take()!.equals(ramp(offset, Math.min(length, size - offset)))).toBe(true);
    }
    expect(listener.connections).toBe(1);
    expect(listener.asked[1]!.lines).toEqual([
      "GET /s3/bucket/file HTTP/1.1",
      `Host: ${listener.address}`,
      "Range: bytes=17-17",
      'If-Match: "v1"',
    ]);
    // The one that closes idle connections is left when the silence watch has found nobody waiting.
    clock.advance(100);
    expect(clock.waits).toBe(1);
  });

  it("receives the bytes of a Node server, at a name and at an address", async () => {
    const server = createServer((request, response) => {
      const [, first, last] = /bytes=(\d+)-(\d+)/.exec(request.headers.range!)!;
      const [start, end] = [Number(first), Number(last) + 1];
      const headers = { ETag: '"v1"', "Content-Length": end - start, "Content-Range": `bytes ${start}-${end - 1}/${size}` };
      response.writeHead(206, headers).end(ramp(start, end - start));
    });
    await once(server.listen(0, "localhost"), "listening");
    onTestFinished(() => void server.close());
    const { read, land } = openTransport(`localhost:${(server.address() as AddressInfo).port}`);
    const { landing } = land();
    await read(landing);
    expect(landing.take()!.equals(ramp(0, size))).toBe(true);
  });

  it("receives a slow response as it arrives, and keeps its bytes when the connection is reset", async () => {
    let socket: Asked["socket"] | undefined;
    const { read, land } = await setUp((asked) => {
      ({ socket } = asked);
      socket.write(rampAnswer(whole).subarray(0, 30_000));
    });
    const { landing, landed } = land();
    const failed = expect(read(landing)).rejects.toBeInstanceOf(Unreachable);
    await landed;
    socket!.resetAndDestroy();
    await failed;
    const piece = landing.take()!;
    expect(piece.equals(ramp(0, piece.length))).toBe(true);
  });

  it("is Unreachable for a response that ends too early, and if nothing listens", async () => {
    const { read, listener } = await setUp(({ socket }) => socket.end(rampAnswer(whole).subarray(0, 60_000)));
    await expect(read()).rejects.toBeInstanceOf(Unreachable);
    await listener.kill();
    const error = await read().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Unreachable);
    expect(error).toMatchObject({
      message: expect.stringContaining(listener.address),
      cause: { cause: { code: "ECONNREFUSED" } },
    });
  });

  it("is Unreachable for all waiting reads if no connection is made in time", async () => {
    const { read, clock } = await setUp(undefined, 1);
    const reads = [read(), read(), read()];
    // No turn of the event loop has gone by: nothing can have connected.
    clock.advance(1_000);
    for (const result of await Promise.allSettled(reads)) {
      expect(result).toMatchObject({ status: "rejected", reason: expect.any(Unreachable) });
    }
  });

  it.each<[string, string]>([
    ["chunks", rampHead({ ...whole, with: { "Content-Length": undefined, "Transfer-Encoding": "chunked" } })],
    ["two lengths", rampHead(whole).replace("\r\n\r\n", `\r\nContent-Length: ${size}\r\n\r\n`)],
    ["100 Continue", "HTTP/1.1 100 Continue\r\n\r\n"],
    ["a head without end", `HTTP/1.1 206 OK\r\n${"X: y\r\n".repeat(4_000)}`],
    ["another protocol", "SSH-2.0-OpenSSH_9.6\r\n"],
  ])("does not take %s, and closes the connection", async (_, text) => {
    const { read, listener } = await setUp(({ socket }) => socket.write(Buffer.from(text, "latin1")));
    await expect(read()).rejects.toBeInstanceOf(Unintelligible);
    await until(() => listener.sockets.size === 0);
  });

  it("rejects another range, another version or surplus bytes, and closes the connection", async () => {
    const answers = [
      rampAnswer({ ...whole, first: 1 }),
      rampAnswer({ ...whole, version: "v2" }),
      Buffer.concat([rampAnswer({ ...whole, end: 1 }), Buffer.from("x")]),
    ];
    const { read, land, listener } = await setUp(({ socket, count }) => socket.write(answers[count - 1]!));
    await expect(read()).rejects.toMatchObject({ code: "INTERNAL", message: expect.stringContaining("from 1 instead of") });
    await expect(read()).rejects.toMatchObject({ code: "INTERNAL", message: expect.stringContaining("of version v2") });
    await expect(read(land(0, 1).landing)).rejects.toBeInstanceOf(Unintelligible);
    expect(listener.connections).toBe(3);
    await until(() => listener.sockets.size === 0);
  });

  it("closes a connection with unsolicited bytes, and never uses them as a response", async () => {
    const { read, listener } = await setUp((asked) => {
      answerRamp(asked, size);
      if (asked.count === 1) asked.socket.write(rampAnswer({ ...whole, version: "v1" }));
    });
    await read();
    await until(() => listener.sockets.size === 0);
    await read();
    expect(listener.connections).toBe(2);
  });

  it("returns the member's error message, and keeps the connection", async () => {
    const { read, listener } = await setUp((asked) => {
      if (asked.count === 1) asked.socket.write(errorAnswer("404 Not Found", "NoSuchKey", `${url}: no such object`));
      else answerRamp(asked, size);
    });
    await expect(read()).rejects.toMatchObject({ code: "NOT_FOUND", message: `${url}: no such object` });
    await read();
    expect(listener.connections).toBe(1);
  });

  it("closes a connection with Connection: close, and opens another", async () => {
    const { read, listener } = await setUp(({ socket }) => socket.write(rampAnswer({ ...whole, with: { Connection: "close" } })));
    await read();
    await until(() => listener.sockets.size === 0);
    await read();
    expect(listener.connections).toBe(2);
  });

  it("sends no request for a version that a header cannot contain", async () => {
    const { read, land, listener } = await setUp();
    await expect(read(land(0, 1, 'v"1').landing)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(listener.connections).toBe(0);
  });
});
