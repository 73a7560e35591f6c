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

function answer(socket: HeldSocket, body: string): void {
  const reply = new PlainReply(socket as unknown as Socket, undefined, 0, () => {});
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
});
