import { CacheError } from "@frontcache/proto";
import { until } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { openTransport, setUp, size, startListener } from "../../testing/landing-setting.js";
import { type Asked, answerRamp, rampAnswer } from "../../testing/scripted-listener.js";
import { type Access, plainAccess } from "../access.js";
import { Unreachable } from "../ports.js";

const whole = { first: 0, end: size, objectSize: size };

describe("the HTTP transport's connections", () => {
  it("are limited; further reads wait in order", async () => {
    const unanswered: Asked[] = [];
    const { read, land, listener } = await setUp((asked) => void unanswered.push(asked), 2);
    const reads = [0, 1, 2, 3].map((offset) => read(land(offset, 1).landing));
    await until(() => unanswered.length === 2);
    expect(listener.connections).toBe(2);
    answerRamp(unanswered[0]!, size);
    await until(() => unanswered.length === 3);
    expect(unanswered[2]!.lines).toContain("Range: bytes=2-2");
    for (const asked of unanswered.slice(1)) answerRamp(asked, size);
    await until(() => unanswered.length === 4);
    answerRamp(unanswered[3]!, size);
    await Promise.all(reads);
    expect(listener.connections).toBe(2);
  });

  it("are replaced if one is lost while reads wait", async () => {
    const { read, listener } = await setUp((asked) => {
      if (asked.count === 1) asked.socket.resetAndDestroy();
      else answerRamp(asked, size);
    }, 1);
    const [first, second] = await Promise.allSettled([read(), read()]);
    expect(first).toMatchObject({ status: "rejected", reason: expect.any(Unreachable) });
    expect(second.status).toBe("fulfilled");
    expect(listener.connections).toBe(2);
  });

  it("are closed after the idle timeout", async () => {
    const { read, listener, clock } = await setUp();
    await Promise.all([read(), read()]);
    clock.advance(6_000);
    await read();
    clock.advance(4_000);
    await until(() => listener.sockets.size === 1);
    clock.advance(6_000);
    await until(() => listener.sockets.size === 0);
    expect(clock.waits).toBe(0);
    await read();
    expect(listener.connections).toBe(3);
  });

  it("may be closed by the HTTP listener while idle, without effect on the next read", async () => {
    const { read, listener } = await setUp();
    await read();
    for (const socket of listener.sockets) socket.end();
    await until(() => listener.sockets.size === 0);
    await read();
    expect(listener.connections).toBe(2);
  });

  it("may be closed just after a read was sent, which is then sent again on a new one", async () => {
    const ends = [(asked: Asked) => asked.socket.end(), (asked: Asked) => asked.socket.resetAndDestroy()];
    for (const end of ends) {
      const { read, listener } = await setUp((asked) => {
        if (asked.count === 2) end(asked);
        else answerRamp(asked, size);
      });
      await read();
      await read();
      expect([listener.connections, listener.asked.length]).toEqual([2, 3]);
    }
  });

  it("are retried only once: if a new one is lost too, the member is unreachable", async () => {
    const { read, listener } = await setUp((asked) => {
      if (asked.count === 1) answerRamp(asked, size);
      else asked.socket.resetAndDestroy();
    });
    await read();
    await expect(read()).rejects.toBeInstanceOf(Unreachable);
    expect([listener.connections, listener.asked.length]).toEqual([2, 3]);
  });

  it("are closed when a read is aborted in the middle, and nothing is received afterwards", async () => {
    const { read, land, begin, listener, clock } = await setUp(({ socket }) =>
      socket.write(rampAnswer(whole).subarray(0, 30_000)),
    );
    const call = begin();
    const { landing, landed } = land();
    const failed = expect(read(landing, call)).rejects.toMatchObject({ code: "CANCELLED", message: "enough" });
    await landed;
    call.abort(new CacheError("CANCELLED", "enough"));
    const { landedBytes } = landing;
    await failed;
    await until(() => listener.sockets.size === 0);
    expect(landing.landedBytes).toBe(landedBytes);
    clock.advance(100);
    expect(clock.waits).toBe(0);
  });

  it("are neither opened nor used by reads that are aborted before or while they wait", async () => {
    const unanswered: Asked[] = [];
    const { read, begin, land, listener } = await setUp((asked) => void unanswered.push(asked), 1);
    const aborted = begin();
    aborted.abort(new CacheError("CANCELLED", "before"));
    await expect(read(undefined, aborted)).rejects.toMatchObject({ message: "before" });
    expect(listener.connections).toBe(0);
    const first = read(land(0, 1).landing);
    const waiting = begin();
    const second = read(land(1, 1).landing, waiting);
    const third = read(land(2, 1).landing);
    waiting.abort(new CacheError("CANCELLED", "meanwhile"));
    await expect(second).rejects.toMatchObject({ message: "meanwhile" });
    await until(() => unanswered.length === 1);
    answerRamp(unanswered[0]!, size);
    await until(() => unanswered.length === 2);
    answerRamp(unanswered[1]!, size);
    await Promise.all([first, third]);
    expect(unanswered[1]!.lines).toContain("Range: bytes=2-2");
  });

  it("are closed if nothing arrives and a probe is not answered, but not if the member is slow", async () => {
    const { read, land, listener, clock } = await setUp(({ lines, socket }) => {
      if (lines[0]!.startsWith("GET /livez ")) socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
      else socket.write(rampAnswer(whole).subarray(0, 30_000));
    });
    const { landing, landed } = land();
    const failed = expect(read(landing)).rejects.toMatchObject({
      isGone: true,
      message: expect.stringContaining("a probe was not"),
    });
    await landed;
    // The first bytes arrived within the first of these; after the second one nothing has arrived for 500 ms.
    clock.advance(500);
    clock.advance(500);
    // The probe has a connection of its own, which ends with its answer.
    await until(() => listener.asked.length === 2 && listener.sockets.size === 1);
    listener.vanish();
    clock.advance(500);
    await failed;
    clock.advance(100);
    expect(clock.waits).toBe(0);
  });

  it("are closed after their running reads when their member was removed", async () => {
    const unanswered: Asked[] = [];
    const { read, transport, listener } = await setUp((asked) => {
      if (asked.count <= 2) answerRamp(asked, size);
      else unanswered.push(asked);
    });
    await Promise.all([read(), read()]);
    const running = read();
    await until(() => unanswered.length === 1);
    transport.keepOnly(new Set(["other:81", undefined]));
    await until(() => listener.sockets.size === 1);
    answerRamp(unanswered[0]!, size);
    await running;
    await transport.close();
    await until(() => listener.sockets.size === 0);
  });
});

/** Access whose certificates can be had for this many connections and then no more. */
function accessFor(connections: number): Access {
  let left = connections;
  const tls = (): undefined => {
    if (left === 0) throw new Error("no such file");
    left--;
  };
  return { ...plainAccess, tls };
}

describe("unavailable client certificates", () => {
  it("fail the reads that need a connection, and those that wait for one", async () => {
    const listener = await startListener();
    const { read } = openTransport(listener.address, { mostConnections: 1, access: accessFor(0) });
    for (const reading of [read(), read()]) await expect(reading).rejects.toThrow(/cannot connect to .*: no such file/);
  });

  it("fail a read whose connection was closed meanwhile", async () => {
    const listener = await startListener((asked) => (asked.count === 1 ? answerRamp(asked, size) : asked.socket.destroy()));
    const { read } = openTransport(listener.address, { mostConnections: 1, access: accessFor(1) });
    await read();
    const [second, waiting] = [read(), read()];
    await expect(second).rejects.toBeInstanceOf(Unreachable);
    await expect(waiting).rejects.toBeInstanceOf(Unreachable);
  });
});

describe("a read that is aborted while it connects", () => {
  it("passes its place to a waiting read", async () => {
    const listener = await startListener();
    const { begin, land, read } = openTransport(listener.address, { mostConnections: 1 });
    const call = begin();
    const leaving = read(land().landing, call);
    const waiting = read();
    call.abort(new CacheError("CANCELLED", "enough"));
    await expect(leaving).rejects.toMatchObject({ code: "CANCELLED" });
    await waiting;
  });
});
