import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Reply } from "./http-context.js";

/**
 * Where small answers are put together with their heads: a copy of so little costs less than handing the kernel two pieces.
 * One for all connections: the kernel has mostly taken an answer when `write` returns.
 */
let joint = Buffer.allocUnsafeSlow(12 << 10);

/** The answer to a plain request: its head and bytes go to the socket as they are. */
export class PlainReply implements Reply {
  readonly #socket: Socket;
  readonly #nowMs: number;
  /** Called after `close`, when all of it was sent. */
  readonly #sent: () => void;

  #head = "";
  #headersSent = false;
  #closing = "";
  #onClose: (() => void) | undefined;

  constructor(socket: Socket, nowMs: number, sent: () => void) {
    this.#socket = socket;
    this.#nowMs = nowMs;
    this.#sent = sent;
  }

  get headersSent(): boolean {
    return this.#headersSent;
  }

  setHeader(name: "Connection", value: "close"): void {
    this.#closing = `${name}: ${value}\r\n`;
  }

  writeHead(status: number, headers: string[]): void {
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n`;
    for (let at = 0; at < headers.length; at += 2) head += `${headers[at]}: ${headers[at + 1]}\r\n`;
    this.#head = `${head}Date: ${httpDate(this.#nowMs)}\r\n${this.#closing}\r\n`;
    this.#headersSent = true;
  }

  write(bytes: Buffer, taken: () => void): void {
    this.#send(bytes, taken);
  }

  end(bytes?: Buffer): void {
    this.#send(bytes, () => {
      this.#onClose?.();
      if (this.#closing === "") this.#sent();
      else this.#socket.destroySoon();
    });
  }

  destroy(): void {
    this.#socket.destroy();
  }

  on(_event: "close", listener: () => void): void {
    this.#onClose = listener;
  }

  /** Head and bytes in one system call. A socket that is closed or half closed takes nothing; the connection sees to the rest. */
  #send(bytes: Buffer | undefined, taken: () => void): void {
    const socket = this.#socket;
    if (!socket.writable) return;
    const then = (error?: Error | null): void => {
      if (error === null || error === undefined) taken();
    };
    const head = this.#head;
    this.#head = "";
    if (head === "" || bytes === undefined) {
      socket.write(bytes ?? head, "latin1", then);
      return;
    }
    if (head.length + bytes.length > joint.length) {
      socket.cork();
      socket.write(head, "latin1");
      socket.write(bytes, then);
      socket.uncork();
      return;
    }
    const headBytes = joint.write(head, "latin1");
    const count = headBytes + bytes.copy(joint, headBytes);
    socket.write(joint.subarray(0, count), then);
    // What the kernel did not take at once is the socket's until it does.
    if (socket.writableLength > 0) joint = Buffer.allocUnsafeSlow(joint.length);
  }
}

let dateSecond = -1;
let dateText = "";

/** The Date header's text, made once a second. */
function httpDate(nowMs: number): string {
  const second = Math.floor(nowMs / 1000);
  if (second !== dateSecond) [dateSecond, dateText] = [second, new Date(second * 1000).toUTCString()];
  return dateText;
}
