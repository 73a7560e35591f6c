import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createSecureContext, createServer as createTlsServer } from "node:tls";
import { CacheError, parseObjectUrl } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import type { OriginAnswer } from "@frontcache/server";
import { bytesOf, checkedAnswer, DIRECT, originClient, rampBytes, rangeOf } from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Authority } from "../security/authority.js";

const MiB = 1 << 20;
const LENGTH = 3 * MiB;
const MAX_CONNECTIONS = 2;
const ref = parseObjectUrl("s3://bucket/key");
const live = new AbortController().signal;
const authority = await Authority.create("authority");
const pair = await authority.issue("origin");

/** A received request, to be answered by the test. */
interface Asked {
  readonly socket: Socket;
  /** Seed of the requested ramp. */
  readonly seed: number;
}

const headOf = (length = LENGTH): string =>
  `HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-${length - 1}/${length}\r\nContent-Length: ${length}\r\n\r\n`;

const listeners = {
  http: (on: (socket: Socket) => void) => createServer(on),
  https: (on: (socket: Socket) => void) => createTlsServer(pair, on),
};

describe.each(["http", "https"] as const)("a range over %s", (scheme) => {
  let server: Server;
  let client: ReturnType<typeof originClient>;
  let answer: (asked: Asked) => void;
  const sockets = new Set<Socket>();
  let connections = 0;

  beforeEach(async () => {
    connections = 0;
    server = listeners[scheme]((socket) => {
      connections++;
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => sockets.delete(socket));
      socket.on("data", (bytes) => {
        const seed = Number(/^GET \/(\d+) /.exec(bytes.toString("latin1"))![1]);
        answer({ socket, seed });
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const way = { ...DIRECT, secureContext: createSecureContext({ ca: authority.pem }) };
    client = originClient({ maxConnections: MAX_CONNECTIONS, waitTimeoutMs: undefined, idleTimeoutMs: 60_000, way });
    answer = ({ socket, seed }) => socket.write(Buffer.concat([Buffer.from(headOf()), rampBytes(0, LENGTH, seed)]));
  });

  afterEach(async () => {
    client.close();
    await eventually(() => expect(sockets.size).toBe(0));
    server.close();
    await once(server, "close");
  });

  async function fetch(seed: number, signal = live): Promise<OriginAnswer> {
    const target = `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const headers = { range: `bytes=0-${LENGTH - 1}` };
    const { status, head, body } = await client.send({ method: "GET", target, path: `/${seed}`, headers }, signal);
    const { contentLength } = head;
    const known = { status, contentRange: head.header("content-range"), contentLength, version: "v1" };
    const unknown = { contentType: undefined, lastModifiedMs: undefined, headers: undefined, lacks: undefined };
    return checkedAnswer(rangeOf(ref, { offset: 0, length: LENGTH }, signal), { ...known, ...unknown }, body);
  }

  const isRamp = (bytes: Buffer, seed: number): boolean => bytes.equals(rampBytes(0, LENGTH, seed));

  it("is received completely, several times on the same connections", async () => {
    for (let round = 0; round < 3; round++) {
      const seeds = [1, 2, 3, 4].map((seed) => seed + 10 * round);
      const read = async (seed: number): Promise<void> => {
        expect(isRamp(await bytesOf(await fetch(seed)), seed)).toBe(true);
      };
      await Promise.all(seeds.map(read));
    }
    expect(connections).toBe(MAX_CONNECTIONS);
  });

  it("is received completely in any pieces, even if its head arrives in pieces", async () => {
    const nextIteration = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    for (const [seed, cut] of [1, headOf().length - 2, headOf().length, headOf().length + 1, LENGTH].entries()) {
      answer = async ({ socket }) => {
        const wire = Buffer.concat([Buffer.from(headOf()), rampBytes(0, LENGTH, seed)]);
        socket.write(wire.subarray(0, cut));
        for (let iteration = 0; iteration < 20; iteration++) await nextIteration();
        socket.write(wire.subarray(cut));
      };
      expect(isRamp(await bytesOf(await fetch(seed)), seed)).toBe(true);
    }
    expect(connections).toBe(1);
  });

  it("is not received before a landing is attached", async () => {
    const fetched = await fetch(1);
    const [socket] = sockets;
    socket!.write(Buffer.alloc(64 * MiB));
    // Time enough to receive far more than the kernel's buffers hold.
    for (let seed = 2; seed < 6; seed++) expect(isRamp(await bytesOf(await fetch(seed)), seed)).toBe(true);
    expect(socket!.writableLength).toBeGreaterThan(32 * MiB);
    fetched.body.destroy();
  });

  it.each(["destroyed", "aborted"])("writes nothing into the landing after it is %s, and closes its connection", async (how) => {
    answer = ({ socket, seed }) => socket.write(Buffer.concat([Buffer.from(headOf()), rampBytes(0, MiB, seed)]));
    const abort = new AbortController();
    const fetched = await fetch(1, abort.signal);
    const memory = Buffer.alloc(LENGTH, 255);
    let landed = 0;
    const landing = fetched.body.land({
      room: () => memory.subarray(landed),
      landed: (bytes) => {
        landed += bytes;
        if (landed === MiB) {
          const [socket] = sockets;
          socket!.write(rampBytes(0, MiB, 2));
          if (how === "destroyed") fetched.body.destroy();
          else abort.abort();
        }
      },
    });
    await expect(landing).rejects.toMatchObject({ code: "CANCELLED" });
    await eventually(() => expect(sockets.size).toBe(0));
    expect(landed).toBe(MiB);
    expect(memory.subarray(MiB).every((byte) => byte === 255)).toBe(true);
  });

  it.each(["room", "landed"])("fails with the error of its landing (%s)", async (where) => {
    const fetched = await fetch(1);
    const memory = Buffer.alloc(LENGTH);
    let landed = 0;
    const full = new CacheError("INTERNAL", "no more room");
    const landing = fetched.body.land({
      room: () => {
        if (where === "room" && landed > MiB) throw full;
        // Less than the kernel may return by one read, so that it asks for room again.
        return memory.subarray(landed, landed + 100_000);
      },
      landed: (bytes) => {
        landed += bytes;
        if (where === "landed" && landed > MiB) throw full;
      },
    });
    await expect(landing).rejects.toBe(full);
    await eventually(() => expect(sockets.size).toBe(0));
  });

  it.each(["ends", "is reset"])("is UNAVAILABLE if its connection %s in the body", async (how) => {
    answer = ({ socket, seed }) => {
      socket.write(Buffer.concat([Buffer.from(headOf()), rampBytes(0, MiB, seed)]), () => {
        if (how === "ends") socket.end();
        else socket.destroy();
      });
    };
    const fetched = await fetch(1);
    await expect(bytesOf(fetched)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("is complete or UNAVAILABLE if more bytes follow it, and so is the next response on its connection", async () => {
    answer = ({ socket, seed }) => {
      socket.write(Buffer.concat([Buffer.from(headOf()), rampBytes(0, LENGTH, seed), Buffer.from("HTTP/1.1 206 OK\r\n")]));
    };
    let whole = 0;
    for (let seed = 0; seed < 8; seed++) {
      const bytes = await fetch(seed)
        .then((fetched) => bytesOf(fetched))
        .catch((error: unknown) => error as Error);
      if (bytes instanceof Error) continue;
      expect(isRamp(bytes, seed)).toBe(true);
      whole++;
    }
    expect(whole).toBeGreaterThan(0);
  });
});
