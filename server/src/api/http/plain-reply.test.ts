import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { type DirectSocket, UNAVAILABLE } from "../sending/direct-socket.js";
import { PlainReply } from "./plain-reply.js";

/** A socket that keeps what it is given, as long as the kernel does not take it. */
class HeldSocket {
  readonly #takesAtOnce: boolean;

  readonly writable = true;
  readonly writes: Buffer[] = [];
  writableLength = 0;

  constructor(takesAtOnce: boolean) {
    this.#takesAtOnce = takesAtOnce;
  }

  write(bytes: Buffer): void {
    this.writes.push(this.#takesAtOnce ? Buffer.from(bytes) : bytes);
    if (!this.#takesAtOnce) this.writableLength += bytes.length;
  }
}

function replyTo(socket: HeldSocket, isHead = false): PlainReply {
  return new PlainReply({ socket: socket as unknown as Socket, direct: undefined, clock: { nowMs: () => 0 }, sent() {} }, isHead);
}

function answer(socket: HeldSocket, body: string): void {
  const reply = replyTo(socket);
  reply.writeHead(206, ["Content-Length", String(body.length)]);
  reply.end(Buffer.from(body));
}

describe("a small response", () => {
  it("is written as one piece with its head", () => {
    const socket = new HeldSocket(true);
    answer(socket, "some bytes");
    expect(socket.writes.map((bytes) => bytes.toString())).toEqual([
      "HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\nsome bytes",
    ]);
  });

  it("stays unchanged until the kernel has taken it, while other responses are written", () => {
    const slow = new HeldSocket(false);
    answer(slow, "of the slow one");
    answer(new HeldSocket(true), "of another one");
    answer(slow, "its second answer");
    answer(new HeldSocket(true), "of a third one");
    expect(slow.writes.map((bytes) => bytes.toString().slice(-17))).toEqual(["\r\nof the slow one", "its second answer"]);
  });

  it("has no body if it answers a HEAD", () => {
    const socket = new HeldSocket(true);
    const reply = replyTo(socket, true);
    reply.writeHead(404, ["content-length", "4"]);
    reply.end(Buffer.from("body"));
    const [head] = socket.writes.map((bytes) => bytes.toString());
    expect(head).toBe("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n");
  });

  it.each([
    [200, [], "close"],
    [200, ["Content-Length", "0"], undefined],
    [204, [], undefined],
    [304, [], undefined],
  ])("with status %d and the headers %j has the connection %s", (status, headers, connection) => {
    const socket = new HeldSocket(true);
    const reply = replyTo(socket);
    reply.writeHead(status, headers);
    reply.end();
    expect(/\r\nConnection: (.*)\r\n/.exec(String(socket.writes[0]))?.[1]).toBe(connection);
  });
});

describe("a response that does not fit into one piece with its head", () => {
  const BODY = Buffer.from(Array.from({ length: 64 << 10 }, (_, at) => (at * 7) % 251));

  /** Answers on a socket whose kernel takes so many bytes directly. Returns what left directly, and what went through the stream. */
  function answered(room: number): { direct: Buffer; stream: Buffer; isOver: boolean } {
    const pieces: Buffer[] = [];
    const written: Buffer[] = [];
    let left = room;
    const over: (() => void)[] = [];
    const socket = {
      writable: true,
      writableLength: 0,
      cork() {},
      uncork() {},
      write(bytes: Buffer, taken?: () => void) {
        written.push(Buffer.from(bytes));
        socket.writableLength += bytes.length;
        if (taken !== undefined) over.push(taken);
      },
    };
    const direct: Pick<DirectSocket, "send"> = {
      send(bytes, count) {
        if (socket.writableLength > 0) return UNAVAILABLE;
        const sent = Math.min(left, count);
        left -= sent;
        pieces.push(Buffer.from(bytes.subarray(0, sent)));
        return sent;
      },
    };
    let isOver = false;
    const connection = {
      socket: socket as unknown as Socket,
      direct: direct as DirectSocket,
      clock: { nowMs: () => 0 },
      sent: () => {
        isOver = true;
      },
    };
    const reply = new PlainReply(connection, false);
    reply.writeHead(206, ["Content-Length", String(BODY.length)]);
    reply.end(BODY);
    // It is over when the stream has passed the rest on.
    expect(isOver).toBe(written.length === 0);
    for (const taken of over) taken();
    return { direct: Buffer.concat(pieces), stream: Buffer.concat(written), isOver };
  }

  it("is complete and in order, however much of it the kernel takes", () => {
    const whole = answered(Number.POSITIVE_INFINITY);
    expect([whole.stream.length, whole.isOver]).toEqual([0, true]);
    expect(whole.direct.subarray(-BODY.length).equals(BODY)).toBe(true);
    const headBytes = whole.direct.length - BODY.length;
    for (const room of [0, 1, headBytes - 1, headBytes, headBytes + 1, headBytes + 40_000, whole.direct.length - 1]) {
      const { direct, stream, isOver } = answered(room);
      expect([direct.length, isOver]).toEqual([room, true]);
      expect(Buffer.concat([direct, stream]).equals(whole.direct)).toBe(true);
    }
  });
});
