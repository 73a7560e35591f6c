import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { CacheError } from "@frontcache/proto";
import { afterEach, describe, expect, it } from "vitest";
import { type Access, plainAccess } from "../access.js";
import { type Clock, systemClock } from "../clock.js";
import { ManualClock } from "../fakes/manual-clock.js";
import { ramp } from "../fakes/ramp.js";
import { type Asked, answerRamp, errorAnswer, rampAnswer, rampHead, ScriptedGateway } from "../fakes/scripted-gateway.js";
import { PartLanding } from "../part-landing.js";
import { PinnedObject } from "../pinned-object.js";
import { RunningCall } from "../running-call.js";
import { OutOfReach } from "../transport.js";
import { LandingTransport } from "./landing-transport.js";
import { Unintelligible } from "./unintelligible.js";

const url = "s3://bucket/file";
const size = 100_000;
const whole = { first: 0, end: size, objectSize: size };
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startGateway(script: (asked: Asked) => void = (asked) => answerRamp(asked, size), port = 0) {
  const gateway = await ScriptedGateway.start(script, port);
  cleanups.push(() => gateway.kill());
  return gateway;
}

function openTransport(httpAddress: string, clock: Clock = systemClock, mostConnections = 4, access = plainAccess) {
  const transport = new LandingTransport({
    access,
    clock,
    connectTimeoutMs: 1_000,
    mostConnections,
    idleMs: 10_000,
    stalledAfterMs: 1_500,
  });
  cleanups.push(() => transport.close());
  const begin = () => new RunningCall({ clock, subject: url });
  const land = (offset = 0, length = size, version = "v1") => {
    let onLanded = (): void => undefined;
    const landed = new Promise<void>((resolve) => {
      onLanded = resolve;
    });
    const pinned = new PinnedObject(url, version);
    const part = { blockOffset: 0, offset, length };
    const landing = new PartLanding(part, { pinned, place: (bytes) => Buffer.alloc(bytes), onLanded: () => onLanded() });
    return { landing, landed };
  };
  const address = { grpcAddress: "m:80", httpAddress };
  const read = (landing = land().landing, call = begin()) =>
    transport.read(address, landing.nextRequest(), landing, call).finally(() => call.end());
  return { transport, begin, land, read };
}

async function setUp(script?: (asked: Asked) => void, mostConnections?: number) {
  const clock = new ManualClock();
  const gateway = await startGateway(script);
  return { clock, gateway, ...openTransport(gateway.address, clock, mostConnections) };
}

/** Waits until something is so that sockets will make so. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

describe("the landing transport", () => {
  it("lands the bytes asked for, one read after the other on one connection, and leaves no timer", async () => {
    const { read, land, gateway, clock } = await setUp();
    for (const [offset, length] of [
      [0, size],
      [17, 1],
      [50_000, 70_000],
    ] as const) {
      const { landing } = land(offset, length);
      await read(landing);
      expect(landing.take()!.equals(ramp(offset, Math.min(length, size - offset)))).toBe(true);
    }
    expect(gateway.connections).toBe(1);
    expect(gateway.asked[1]!.lines).toEqual([
      "GET /s3/bucket/file HTTP/1.1",
      `Host: ${gateway.address}`,
      "Range: bytes=17-17",
      'If-Match: "v1"',
    ]);
    // The one that closes idle connections.
    expect(clock.pending).toBe(1);
  });

  it("lands what a server of Node's sends, too, at a name as well as at an address", async () => {
    const server = createServer((request, response) => {
      const [, first, last] = /bytes=(\d+)-(\d+)/.exec(request.headers.range!)!;
      const [start, end] = [Number(first), Number(last) + 1];
      const headers = { ETag: '"v1"', "Content-Length": end - start, "Content-Range": `bytes ${start}-${end - 1}/${size}` };
      response.writeHead(206, headers).end(ramp(start, end - start));
    });
    await once(server.listen(0, "localhost"), "listening");
    cleanups.push(() => server.close());
    const { read, land } = openTransport(`localhost:${(server.address() as AddressInfo).port}`);
    const { landing } = land();
    await read(landing);
    expect(landing.take()!.equals(ramp(0, size))).toBe(true);
  });

  it("lands a slow answer as it comes, and keeps its beginning when the connection is reset", async () => {
    let socket: Asked["socket"] | undefined;
    const { read, land } = await setUp((asked) => {
      ({ socket } = asked);
      socket.write(rampAnswer(whole).subarray(0, 30_000));
    });
    const { landing, landed } = land();
    const failed = expect(read(landing)).rejects.toBeInstanceOf(OutOfReach);
    await landed;
    socket!.resetAndDestroy();
    await failed;
    const piece = landing.take()!;
    expect(piece.equals(ramp(0, piece.length))).toBe(true);
  });

  it("says OutOfReach for an answer that ends too soon, and where nobody listens", async () => {
    const { read, gateway } = await setUp(({ socket }) => socket.end(rampAnswer(whole).subarray(0, 60_000)));
    await expect(read()).rejects.toBeInstanceOf(OutOfReach);
    await gateway.kill();
    const error = await read().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OutOfReach);
    expect(error).toMatchObject({ message: expect.stringContaining(gateway.address), cause: { code: "ECONNREFUSED" } });
  });

  it("says OutOfReach when no connection stands in time, to all who wait for one", async () => {
    const { read, clock } = await setUp(undefined, 1);
    const reads = [read(), read(), read()];
    // No turn of the event loop has gone by: nothing can have connected.
    clock.advance(1_000);
    for (const result of await Promise.allSettled(reads)) {
      expect(result).toMatchObject({ status: "rejected", reason: expect.any(OutOfReach) });
    }
  });

  it.each<[string, string]>([
    ["chunks", rampHead({ ...whole, with: { "Content-Length": undefined, "Transfer-Encoding": "chunked" } })],
    ["two lengths", rampHead(whole).replace("\r\n\r\n", `\r\nContent-Length: ${size}\r\n\r\n`)],
    ["100 Continue", "HTTP/1.1 100 Continue\r\n\r\n"],
    ["a head without end", `HTTP/1.1 206 OK\r\n${"X: y\r\n".repeat(4_000)}`],
    ["another protocol", "SSH-2.0-OpenSSH_9.6\r\n"],
  ])("does not take %s, and closes the connection", async (_, text) => {
    const { read, gateway } = await setUp(({ socket }) => socket.write(Buffer.from(text, "latin1")));
    await expect(read()).rejects.toBeInstanceOf(Unintelligible);
    await until(() => gateway.sockets.size === 0);
  });

  it("does not take another range, another version or bytes too many, and closes the connection", async () => {
    const answers = [
      rampAnswer({ ...whole, first: 1 }),
      rampAnswer({ ...whole, version: "v2" }),
      Buffer.concat([rampAnswer({ ...whole, end: 1 }), Buffer.from("x")]),
    ];
    const { read, land, gateway } = await setUp(({ socket, count }) => socket.write(answers[count - 1]!));
    await expect(read()).rejects.toMatchObject({ code: "INTERNAL", message: expect.stringContaining("from 1 instead of") });
    await expect(read()).rejects.toMatchObject({ code: "INTERNAL", message: expect.stringContaining("of version v2") });
    await expect(read(land(0, 1).landing)).rejects.toBeInstanceOf(Unintelligible);
    expect(gateway.connections).toBe(3);
    await until(() => gateway.sockets.size === 0);
  });

  it("takes bytes that nobody asked for as the end of their connection, never as an answer", async () => {
    const { read, gateway } = await setUp((asked) => {
      answerRamp(asked, size);
      if (asked.count === 1) asked.socket.write(rampAnswer({ ...whole, version: "v1" }));
    });
    await read();
    await until(() => gateway.sockets.size === 0);
    await read();
    expect(gateway.connections).toBe(2);
  });

  it("passes on the member's error in its own words, and keeps the connection", async () => {
    const { read, gateway } = await setUp((asked) => {
      if (asked.count === 1) asked.socket.write(errorAnswer("404 Not Found", "NoSuchKey", `${url}: no such object`));
      else answerRamp(asked, size);
    });
    await expect(read()).rejects.toMatchObject({ code: "NOT_FOUND", message: `${url}: no such object` });
    await read();
    expect(gateway.connections).toBe(1);
  });

  it("closes a connection that the member wants closed, and makes another", async () => {
    const { read, gateway } = await setUp(({ socket }) => socket.write(rampAnswer({ ...whole, with: { Connection: "close" } })));
    await read();
    await until(() => gateway.sockets.size === 0);
    await read();
    expect(gateway.connections).toBe(2);
  });

  it("asks for a version that can't stand in a header by no request", async () => {
    const { read, land, gateway } = await setUp();
    await expect(read(land(0, 1, 'v"1').landing)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(gateway.connections).toBe(0);
  });
});

describe("the landing transport's connections", () => {
  it("are no more than allowed; reads beyond that wait in order", async () => {
    const held: Asked[] = [];
    const { read, land, gateway } = await setUp((asked) => void held.push(asked), 2);
    const reads = [0, 1, 2, 3].map((offset) => read(land(offset, 1).landing));
    await until(() => held.length === 2);
    expect(gateway.connections).toBe(2);
    answerRamp(held[0]!, size);
    await until(() => held.length === 3);
    expect(held[2]!.lines).toContain("Range: bytes=2-2");
    for (const asked of held.slice(1)) answerRamp(asked, size);
    await until(() => held.length === 4);
    answerRamp(held[3]!, size);
    await Promise.all(reads);
    expect(gateway.connections).toBe(2);
  });

  it("are made again where one is lost and somebody waits", async () => {
    const { read, gateway } = await setUp((asked) => {
      if (asked.count === 1) asked.socket.resetAndDestroy();
      else answerRamp(asked, size);
    }, 1);
    const [first, second] = await Promise.allSettled([read(), read()]);
    expect(first).toMatchObject({ status: "rejected", reason: expect.any(OutOfReach) });
    expect(second.status).toBe("fulfilled");
    expect(gateway.connections).toBe(2);
  });

  it("are closed when idle for long", async () => {
    const { read, gateway, clock } = await setUp();
    await Promise.all([read(), read()]);
    clock.advance(6_000);
    await read();
    clock.advance(4_000);
    await until(() => gateway.sockets.size === 1);
    clock.advance(6_000);
    await until(() => gateway.sockets.size === 0);
    expect(clock.pending).toBe(0);
    await read();
    expect(gateway.connections).toBe(3);
  });

  it("may be closed by the gateway while idle: the next read doesn't notice", async () => {
    const { read, gateway } = await setUp();
    await read();
    for (const socket of gateway.sockets) socket.end();
    await until(() => gateway.sockets.size === 0);
    await read();
    expect(gateway.connections).toBe(2);
  });

  it("may be closed just when a read was sent: it is sent once more, on a new one", async () => {
    const ends = [(asked: Asked) => asked.socket.end(), (asked: Asked) => asked.socket.resetAndDestroy()];
    for (const end of ends) {
      const { read, gateway } = await setUp((asked) => {
        if (asked.count === 2) end(asked);
        else answerRamp(asked, size);
      });
      await read();
      await read();
      expect([gateway.connections, gateway.asked.length]).toEqual([2, 3]);
    }
  });

  it("are not blamed on idleness twice: a new one that breaks is out of reach", async () => {
    const { read, gateway } = await setUp((asked) => {
      if (asked.count === 1) answerRamp(asked, size);
      else asked.socket.resetAndDestroy();
    });
    await read();
    await expect(read()).rejects.toBeInstanceOf(OutOfReach);
    expect([gateway.connections, gateway.asked.length]).toEqual([2, 3]);
  });

  it("are closed when a read is aborted in the middle, and nothing lands afterwards", async () => {
    const { read, land, begin, gateway, clock } = await setUp(({ socket }) =>
      socket.write(rampAnswer(whole).subarray(0, 30_000)),
    );
    const call = begin();
    const { landing, landed } = land();
    const failed = expect(read(landing, call)).rejects.toMatchObject({ code: "CANCELLED", message: "enough" });
    await landed;
    call.abort(new CacheError("CANCELLED", "enough"));
    const { landedBytes } = landing;
    await failed;
    await until(() => gateway.sockets.size === 0);
    expect(landing.landedBytes).toBe(landedBytes);
    expect(clock.pending).toBe(0);
  });

  it("are not made, and not taken, by reads that are aborted before or while they wait", async () => {
    const held: Asked[] = [];
    const { read, begin, land, gateway } = await setUp((asked) => void held.push(asked), 1);
    const aborted = begin();
    aborted.abort(new CacheError("CANCELLED", "before"));
    await expect(read(undefined, aborted)).rejects.toMatchObject({ message: "before" });
    expect(gateway.connections).toBe(0);
    const first = read(land(0, 1).landing);
    const waiting = begin();
    const second = read(land(1, 1).landing, waiting);
    const third = read(land(2, 1).landing);
    waiting.abort(new CacheError("CANCELLED", "meanwhile"));
    await expect(second).rejects.toMatchObject({ message: "meanwhile" });
    await until(() => held.length === 1);
    answerRamp(held[0]!, size);
    await until(() => held.length === 2);
    answerRamp(held[1]!, size);
    await Promise.all([first, third]);
    expect(held[1]!.lines).toContain("Range: bytes=2-2");
  });

  it("are given up where the gateway has vanished, but not where it is slow", async () => {
    const { read, land, gateway, clock } = await setUp(({ socket }) => socket.write(rampAnswer(whole).subarray(0, 30_000)));
    const { landing, landed } = land();
    const failed = expect(read(landing)).rejects.toMatchObject({ message: expect.stringContaining("fell silent") });
    await landed;
    // The first look shows whether anything has come since; the second one is for the gateway, which is there.
    clock.advance(1_500);
    clock.advance(1_500);
    await until(() => gateway.connections === 2);
    gateway.vanish();
    await until(() => clock.pending === 1);
    clock.advance(1_500);
    await failed;
    expect(clock.pending).toBe(0);
  });

  it("are closed when their member has left the ring, after what runs on them", async () => {
    const held: Asked[] = [];
    const { read, transport, gateway } = await setUp((asked) => {
      if (asked.count <= 2) answerRamp(asked, size);
      else held.push(asked);
    });
    await Promise.all([read(), read()]);
    const running = read();
    await until(() => held.length === 1);
    transport.keepOnly([{ grpcAddress: "other:80", httpAddress: "other:81" }, { grpcAddress: "none:80" }]);
    await until(() => gateway.sockets.size === 1);
    answerRamp(held[0]!, size);
    await running;
    transport.close();
    await until(() => gateway.sockets.size === 0);
  });
});

/** Access whose certificates can be had for so many connections and then no more. */
function accessFor(connections: number): Access {
  let left = connections;
  const tls = (): undefined => {
    if (left === 0) throw new Error("no such file");
    left--;
  };
  return { ...plainAccess, tls };
}

describe("certificates that can't be had", () => {
  it("are an error of the reads that need a connection, and of those that wait for one", async () => {
    const gateway = await startGateway();
    const { read } = openTransport(gateway.address, systemClock, 1, accessFor(0));
    for (const reading of [read(), read()]) await expect(reading).rejects.toThrow(/out of reach: no such file/);
  });

  it("are an error of a read whose connection turned out to be closed", async () => {
    const gateway = await startGateway((asked) => (asked.count === 1 ? answerRamp(asked, size) : asked.socket.destroy()));
    const { read } = openTransport(gateway.address, systemClock, 1, accessFor(1));
    await read();
    const [second, waiting] = [read(), read()];
    await expect(second).rejects.toBeInstanceOf(OutOfReach);
    await expect(waiting).rejects.toBeInstanceOf(OutOfReach);
  });
});

describe("a reader that leaves before its connection stands", () => {
  it("leaves its place to one that waits", async () => {
    const gateway = await startGateway();
    const { begin, land, read } = openTransport(gateway.address, systemClock, 1);
    const call = begin();
    const leaving = read(land().landing, call);
    const waiting = read();
    call.abort(new CacheError("CANCELLED", "enough"));
    await expect(leaving).rejects.toMatchObject({ code: "CANCELLED" });
    await waiting;
  });
});
