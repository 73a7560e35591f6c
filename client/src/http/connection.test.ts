import type { OnReadOpts, Socket } from "node:net";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import type { DirectSend } from "./connection.js";
import { ConnectionPool } from "./connection-pool.js";
import type { Dialed } from "./dial.js";
import { Exchange, type WireRequest } from "./exchange.js";
import { Timeouts } from "./timeouts.js";

/** A socket as TLS makes it: bytes that are decrypted already arrive although receiving was stopped. */
class TlsLikeSocket {
  isReceiving = true;
  readonly written: string[] = [];
  readonly #onread: OnReadOpts;

  constructor(onread: OnReadOpts) {
    this.#onread = onread;
  }

  write(text: string): void {
    this.written.push(text);
  }

  resume(): void {
    this.isReceiving = true;
  }

  /** The peer's bytes are decrypted in these pieces, at once. */
  decrypt(...pieces: string[]): void {
    for (const piece of pieces) {
      const { buffer, callback } = this.#onread;
      const room = (buffer as () => Uint8Array)();
      if (!callback(Buffer.from(room.buffer, room.byteOffset, room.length).write(piece, "latin1"), room)) {
        this.isReceiving = false;
      }
    }
  }
}

const request: WireRequest = {
  head: "GET / HTTP/1.1\r\n\r\n",
  body: undefined,
  bodyPieces: undefined,
  waitsForHead: false,
  mayRepeat: undefined,
  isHead: false,
};

/** A pool of one connection, whose socket is `socket()`. */
function setUp(directSend?: DirectSend, isEncrypted = false) {
  let socket: TlsLikeSocket | undefined;
  const dial = (onread: OnReadOpts, dialed: Dialed): (() => void) => {
    socket = new TlsLikeSocket(onread);
    if (isEncrypted) Object.assign(socket, { encrypted: true });
    dialed.reached();
    queueMicrotask(() => dialed.opened(socket as unknown as Socket));
    return () => {};
  };
  const clock = new ManualClock();
  const pool = new ConnectionPool({
    clock,
    connectTimeoutMs: 1_000,
    setUp: () => ({ dial, directSend: directSend && (() => directSend) }),
    mostConnections: 1,
    idleMs: 1_000,
  });
  const stalls = new Timeouts(clock, 1_000);
  const send = () => Exchange.run(request, { pool, maxHeadBytes: 1_000, waits: undefined, stalls }, new AbortController().signal);
  return { send, socket: () => socket! };
}

const HEAD = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";

describe("a connection that stopped receiving before the last bytes of a response arrived", () => {
  it("receives the next response after a body that nobody landed yet", async () => {
    const { send, socket } = setUp();
    const first = send();
    await Promise.resolve();
    socket().decrypt(HEAD, "body");
    expect(socket().isReceiving).toBe(true);
    expect((await first).body.complete).toBe(true);
  });

  it("receives the next response after a body that was paused", async () => {
    const { send, socket } = setUp();
    const first = send();
    await Promise.resolve();
    socket().decrypt(HEAD);
    const { body } = await first;
    const bytes = Buffer.alloc(4);
    let count = 0;
    const landed = body.land({
      room: () => bytes.subarray(count),
      landed(more) {
        count += more;
        body.pause();
      },
    });
    socket().decrypt("bo", "dy");
    await landed;
    expect(bytes.toString()).toBe("body");
    expect(socket().isReceiving).toBe(true);
    body.resume();
    const second = send();
    socket().decrypt("HTTP/1.1 204 No Content\r\n\r\n");
    expect((await second).status).toBe(204);
    expect(socket().written).toHaveLength(2);
  });
});

describe("a connection that may send past its socket's stream", () => {
  /** A kernel that takes at most so many bytes. */
  const kernel = (mostBytes: number) => {
    const sent: string[] = [];
    const directSend: DirectSend = (bytes, count) => {
      if (mostBytes > 0) sent.push(Buffer.from(bytes.subarray(0, Math.min(count, mostBytes))).toString("latin1"));
      return mostBytes < 0 ? mostBytes : Math.min(count, mostBytes);
    };
    return { sent, directSend };
  };

  const written = async (directSend: DirectSend, isEncrypted = false): Promise<readonly string[]> => {
    const { send, socket } = setUp(directSend, isEncrypted);
    const answered = send();
    await Promise.resolve();
    socket().decrypt("HTTP/1.1 204 No Content\r\n\r\n");
    expect((await answered).status).toBe(204);
    return socket().written;
  };

  it("sends a request so", async () => {
    const { sent, directSend } = kernel(1_000);
    expect(await written(directSend)).toEqual([]);
    expect(sent).toEqual([request.head]);
  });

  it("writes the bytes that the kernel did not take", async () => {
    const { sent, directSend } = kernel(5);
    expect(await written(directSend)).toEqual([request.head.slice(5)]);
    expect(sent).toEqual([request.head.slice(0, 5)]);
  });

  it.each([0, -1])("writes all of it if the kernel took nothing and returned %d", async (taken) => {
    expect(await written(kernel(taken).directSend)).toEqual([request.head]);
  });

  it("never does so with TLS", async () => {
    const { sent, directSend } = kernel(1_000);
    expect(await written(directSend, true)).toEqual([request.head]);
    expect(sent).toEqual([]);
  });
});
