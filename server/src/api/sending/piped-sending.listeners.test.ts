import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { connectMembers, type MemberConnections } from "@frontcache/client/members";
import { eventually, ManualClock, settled, until } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BlockRequest } from "../../cache/block-request.js";
import type { ObjectRead } from "../../cache/object-read.js";
import { accessOf } from "../../routing/member-access.js";
import { MemberReads } from "../../routing/member-read.js";
import { Pipes } from "../../routing/pipes.js";
import { RecentCallers } from "../../security/recent-callers.js";
import { loadLibc } from "../../storage/mapping/libc.js";
import { HttpFixture } from "../../testing/http-fixture.js";
import { noSecurity } from "../../testing/no-security.js";
import { rampBytes } from "../../testing/origin/ramp.js";
import { evenly } from "../../testing/other-members.js";
import type { RawClient } from "../../testing/raw-client.js";
import { directSendBy } from "./direct-socket.js";

const KiB = 1 << 10;
const MiB = 1 << 20;
const OBJECT = rampBytes(0, 16 * MiB, 5);
/** Makes a request leave the plain lane, so that Node's HTTP server answers it. */
const NODE_HEADER = "Accept-Language: en";
/** A tick of the watch for silent members. */
const TICK_MS = 100;

const libc = await loadLibc();

/** A request that the owner received. */
interface Asked {
  readonly socket: Socket;
  /** The head of the answer and its bytes. */
  readonly head: string;
  readonly bytes: Buffer;
}

function answer({ socket, head, bytes }: Asked): void {
  socket.write(head, "latin1");
  socket.write(bytes);
}

describe.runIf(libc !== undefined)("bytes of another member", () => {
  let owner: Server;
  let onAsked: (asked: Asked) => void;
  const ownerSockets = new Set<Socket>();
  let connections: MemberConnections;
  let clock: ManualClock;
  let pipes: Pipes;
  let fixture: HttpFixture;
  let client: RawClient;
  /** Bytes that passed through pipes into clients' sockets, and reads that another member resumed. */
  const counts = { piped: 0, resumed: 0, open: 0 };

  beforeEach(async () => {
    Object.assign(counts, { piped: 0, resumed: 0, open: 0 });
    onAsked = answer;
    owner = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
      ownerSockets.add(socket);
      socket.on("error", () => {}).once("close", () => ownerSockets.delete(socket));
      socket.on("data", (text) => {
        if (text.includes("/livez")) return;
        const [, first, last] = /^Range: bytes=(\d+)-(\d+)\r$/m.exec(text.toString("latin1"))!.map(Number);
        const bytes = OBJECT.subarray(first!, last! + 1);
        const head = `HTTP/1.1 206 Partial Content\r\nETag: "v1"\r\nContent-Length: ${bytes.length}\r\nContent-Range: bytes ${first}-${last}/${OBJECT.length}\r\n\r\n`;
        onAsked({ socket, head, bytes });
      });
    });
    await once(owner.listen(0, "127.0.0.1"), "listening");
    const splice = (...call: Parameters<NonNullable<typeof libc>["splice"]>) => {
      const bytes = libc!.splice(...call);
      counts.piped += Math.max(0, Number(bytes));
      return bytes;
    };
    fixture = await HttpFixture.open({ starting: true, socketCalls: { ...libc!, splice } });
    clock = new ManualClock();
    pipes = new Pipes(libc!);
    const memberClock = evenly(clock);
    const access = accessOf(noSecurity);
    connections = connectMembers({
      clock: memberClock,
      access,
      connectTimeoutMs: 1_000,
      transport: "http",
      mostConnections: 64,
      directSend: directSendBy(libc!),
    });
    const reads = new MemberReads(memberClock, new RecentCallers(), pipes);
    const httpAddress = `127.0.0.1:${(owner.address() as AddressInfo).port}`;
    const open = async (block: BlockRequest): Promise<ObjectRead> => {
      const read = await reads.open(block, {
        fetch: (landing, limits) => connections.blocks.read({ grpcAddress: "owner", httpAddress }, landing, limits),
        resume: ({ start, end }) => {
          counts.resumed++;
          let at = start;
          const next = () => {
            const bytes = OBJECT.subarray(at, Math.min(end, at + MiB));
            at += bytes.length;
            return bytes.length === 0 ? undefined : { bytes, release() {} };
          };
          return {
            info: { version: "v1", objectSize: OBJECT.length },
            offset: start,
            length: end - start,
            result: "hit",
            next,
            close() {},
          };
        },
      });
      counts.open++;
      const close = read.close.bind(read);
      let isOpen = true;
      read.close = () => {
        if (isOpen) counts.open--;
        isOpen = false;
        close();
      };
      return read;
    };
    fixture.listener.serve({
      open: ({ ref, offset, length, signal }) =>
        open({
          ref,
          version: "v1",
          blockOffset: 0,
          start: offset,
          end: offset + length,
          openEnded: false,
          cachedOnly: false,
          signal,
        }),
      ask: () => Promise.reject(new Error("nothing is asked")),
    });
    client = await fixture.connect();
    // The first response on a connection between members is received into memory in part.
    await get(64 * KiB, []);
    counts.piped = 0;
  });

  afterEach(async () => {
    client.socket.destroy();
    await eventually(() => expect([counts.open, fixture.left().running, fixture.left().timers]).toEqual([0, 0, 0]));
    await fixture[Symbol.asyncDispose]();
    await connections.close();
    pipes.close();
    // A pipe that is still used would be open here.
    expect(pipes.open).toBe(0);
    for (const socket of ownerSockets) socket.destroy();
    owner.close();
    await once(owner, "close");
  });

  const get = (length: number, headers: readonly string[], by = client, first = 1_000) =>
    by.get("/s3/bucket/object", `Range: bytes=${first}-${first + length - 1}`, ...headers);
  const expected = (length: number, first = 1_000): Buffer => OBJECT.subarray(first, first + length);

  describe.each([
    ["the plain lane", []],
    ["Node's HTTP server", [NODE_HEADER]],
  ])("in answers of %s", (_, headers) => {
    it.each([1, 4 * KiB, 32 * KiB, 64 * KiB, 100_000, MiB, 15 * MiB])("arrive unchanged: %d bytes", async (length) => {
      for (let repeated = 0; repeated < 3; repeated++) {
        const { status, body } = await get(length, headers);
        expect([status, body.equals(expected(length))]).toEqual([206, true]);
      }
    });

    it("are moved by the kernel", async () => {
      await get(15 * MiB, headers);
      expect(counts.piped).toBeGreaterThan(MiB);
    });

    it("are moved by the kernel, too, if each response arrives at once, after the first ones of a connection", async () => {
      for (let repeated = 0; repeated < 10; repeated++) {
        expect((await get(64 * KiB, headers)).body.equals(expected(64 * KiB))).toBe(true);
      }
      expect(counts.piped).toBeGreaterThan(0);
    });

    it("arrive unchanged from an owner that sends them in pieces", async () => {
      onAsked = async ({ socket, head, bytes }) => {
        socket.write(head, "latin1");
        for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 3) % 50_021) {
          socket.write(bytes.subarray(at, at + size));
          await new Promise((resolve) => setImmediate(resolve));
        }
      };
      expect((await get(3 * MiB, headers)).body.equals(expected(3 * MiB))).toBe(true);
    });

    it("wait for a client that stops reading, in memory and not in a pipe, and go on when it reads", async () => {
      client.socket.pause();
      client.request("GET", "/s3/bucket/object", `Range: bytes=0-${OBJECT.length - 1}`, ...headers);
      await settled(() => counts.piped);
      expect(counts.piped).toBeLessThan(OBJECT.length);
      // A client is stalled after 100 ms.
      await eventually(() => {
        fixture.clock.advance(100);
        expect(pipes.inUse).toBe(0);
      });
      client.socket.resume();
      expect((await client.answer()).body.equals(OBJECT)).toBe(true);
    });

    it.each(["destroy", "resetAndDestroy"] as const)("are dropped when the client disconnects by %s", async (how) => {
      client.socket.pause();
      client.request("GET", "/s3/bucket/object", `Range: bytes=0-${OBJECT.length - 1}`, ...headers);
      await settled(() => counts.piped);
      client.socket[how]();
      await eventually(() => expect([counts.open, pipes.inUse]).toEqual([0, 0]));
      expect(fixture.logged).toEqual([]);
    });

    it("arrive whole or cut at a client that half-closes its connection", async () => {
      client.socket.pause();
      client.request("GET", "/s3/bucket/object", `Range: bytes=0-${OBJECT.length - 1}`, ...headers);
      await settled(() => counts.piped);
      const chunks: Buffer[] = [];
      client.socket.removeAllListeners("data").on("data", (chunk: Buffer) => chunks.push(chunk));
      const closed = once(client.socket, "close");
      client.socket.end();
      client.socket.resume();
      await closed;
      const received = Buffer.concat(chunks);
      const body = received.subarray(received.indexOf("\r\n\r\n") + 4);
      expect(body.equals(OBJECT.subarray(0, body.length))).toBe(true);
    });

    it.each([
      ["resets the connection", (socket: Socket) => void socket.resetAndDestroy()],
      ["ends the connection", (socket: Socket) => void socket.end()],
    ])("are resumed behind the last one if the owner %s", async (_, end) => {
      onAsked = ({ socket, head, bytes }) => {
        socket.write(head, "latin1");
        socket.write(bytes.subarray(0, 5 * MiB), () => end(socket));
      };
      expect((await get(12 * MiB, headers)).body.equals(expected(12 * MiB))).toBe(true);
      expect(counts.resumed).toBe(1);
    });

    it("are resumed behind the last one if the owner falls silent", async () => {
      onAsked = ({ socket, head, bytes }) => {
        socket.write(head, "latin1");
        socket.write(bytes.subarray(0, 5 * MiB));
      };
      const answered = get(12 * MiB, headers);
      await eventually(() => {
        clock.advance(TICK_MS);
        expect(counts.resumed).toBe(1);
      });
      expect((await answered).body.equals(expected(12 * MiB))).toBe(true);
    });

    it("are the requested ones or a part of them, whatever the owner sends behind them", async () => {
      onAsked = ({ socket, head, bytes }) => {
        socket.write(head, "latin1");
        socket.write(Buffer.concat([bytes, Buffer.alloc(100 * KiB, "surplus")]));
      };
      for (let repeated = 0; repeated < 3; repeated++) {
        await using other = await fixture.connect();
        const body = await get(12 * MiB, headers, other).then(
          (whole) => whole.body,
          () => undefined,
        );
        expect(body?.equals(expected(12 * MiB)) ?? true).toBe(true);
      }
    });
  });

  it("pass through memory if all pipes are in use", async () => {
    const taken = Array.from({ length: 100 }, () => pipes.take()).filter((pipe) => pipe !== undefined);
    expect(taken.length).toBe(32);
    expect((await get(12 * MiB, [])).body.equals(expected(12 * MiB))).toBe(true);
    expect(counts.piped).toBe(0);
    for (const pipe of taken) pipe.release();
  });

  it("never reach another connection, also if connections end at any moment and their descriptors are reused", async () => {
    let random = 7;
    const next = (below: number): number => {
      random = (random * 48_271) % 2_147_483_647;
      return random % below;
    };
    onAsked = ({ socket, head, bytes }) => {
      const sent = next(3) === 0 ? bytes.subarray(0, next(bytes.length)) : bytes;
      socket.write(head, "latin1");
      socket.write(sent, () => {
        if (sent !== bytes) socket.resetAndDestroy();
      });
    };
    let wrong = false;
    const run = async (number: number): Promise<void> => {
      for (let attempt = 0; attempt < 8; attempt++) {
        const other = await fixture.connect();
        const first = 251 * number + attempt;
        const length = 2 * MiB;
        const cutAt = next(3 * MiB);
        const chunks: Buffer[] = [];
        let received = 0;
        const ended = once(other.socket, "close");
        other.socket.removeAllListeners("data").on("data", (chunk: Buffer) => {
          chunks.push(chunk);
          received += chunk.length;
          if (received >= Math.min(cutAt, length)) other.socket.destroy();
        });
        other.request(
          "GET",
          "/s3/bucket/object",
          `Range: bytes=${first}-${first + length - 1}`,
          ...(next(2) === 0 ? [] : [NODE_HEADER]),
        );
        if (next(4) === 0) setImmediate(() => other.socket.destroy());
        await ended;
        const all = Buffer.concat(chunks);
        const headEnd = all.indexOf("\r\n\r\n");
        const body = headEnd < 0 ? Buffer.alloc(0) : all.subarray(headEnd + 4);
        wrong ||= !body.equals(OBJECT.subarray(first, first + body.length));
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, number) => run(number)));
    expect(wrong).toBe(false);
    await until(() => counts.open === 0);
    expect((await get(MiB, [])).body.equals(expected(MiB))).toBe(true);
  });
});
