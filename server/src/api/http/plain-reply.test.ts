import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
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
