import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { PipedBytes } from "../../runtime/slice.js";
import { type DirectSocket, FULL, UNAVAILABLE } from "../sending/direct-socket.js";
import { FROM_FILE_BYTES } from "../sending/send-strategy.js";
import type { Reply } from "./http-context.js";

/**
 * The buffer for small responses with their headers: copying a few bytes costs less than passing two pieces to the kernel.
 * All connections share it, because the kernel has usually taken a response when `write` returns.
 */
let joint = Buffer.allocUnsafeSlow(FROM_FILE_BYTES + (4 << 10));

export interface PlainReplyOptions {
  readonly socket: Socket;
  /** Undefined: all bytes go through the socket's stream. */
  readonly direct: DirectSocket | undefined;
  /** The response to a HEAD: its bytes are not sent. */
  readonly isHead: boolean;
  readonly nowMs: number;
  /** Called after `close`, when the whole response was sent. */
  readonly sent: () => void;
}

/** The response to a plain request. Its header and bytes are written directly to the socket. */
export class PlainReply implements Reply {
  readonly #socket: Socket;
  readonly #nowMs: number;
  readonly #direct: DirectSocket | undefined;
  readonly #isHead: boolean;
  readonly #sent: () => void;

  #head = "";
  #headersSent = false;
  #closing = "";
  #onClose: (() => void) | undefined;

  constructor({ socket, direct, isHead, nowMs, sent }: PlainReplyOptions) {
    this.#socket = socket;
    this.#direct = direct;
    this.#isHead = isHead;
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
    let hasLength = this.#isHead || status === 204 || status === 304;
    for (let at = 0; at < headers.length; at += 2) {
      const name = headers[at]!;
      head += `${name}: ${headers[at + 1]}\r\n`;
      if (!hasLength && name.length === CONTENT_LENGTH.length) hasLength = name.toLowerCase() === CONTENT_LENGTH;
    }
    // The end of the connection ends a body of unknown length.
    if (!hasLength) this.setHeader("Connection", "close");
    this.#head = `${head}Date: ${httpDate(this.#nowMs)}\r\n${this.#closing}\r\n`;
    this.#headersSent = true;
  }

  write(bytes: Buffer, taken: () => void): void {
    if (this.#isHead) setImmediate(taken);
    else this.#send(bytes, taken);
  }

  /** The head and the first bytes leave in one packet if they fit. */
  sendFile(descriptor: number, position: number, count: number): number {
    const direct = this.#direct;
    if (direct === undefined || this.#head.length > joint.length) return UNAVAILABLE;
    if (this.#head !== "") {
      const headBytes = joint.write(this.#head, "latin1");
      const sent = direct.send(joint, headBytes, true);
      if (sent === UNAVAILABLE) return UNAVAILABLE;
      this.#head = "";
      if (sent < headBytes) {
        this.#socket.write(Buffer.from(joint.subarray(sent, headBytes)));
        return FULL;
      }
    }
    return direct.sendFile(descriptor, position, count);
  }

  get takesPipes(): boolean {
    return this.#direct !== undefined;
  }

  /** The head and the first bytes leave together, in one packet with those of the pipe if they fit. */
  sendPiped(first: Buffer, piped: PipedBytes): number {
    const direct = this.#direct;
    const headBytes = this.#head.length;
    const leadBytes = headBytes + first.length;
    if (direct === undefined || leadBytes > joint.length) return UNAVAILABLE;
    if (leadBytes > 0) {
      joint.write(this.#head, "latin1");
      joint.set(first, headBytes);
      const sent = direct.send(joint, leadBytes, true);
      if (sent === UNAVAILABLE) return UNAVAILABLE;
      this.#head = "";
      if (sent < headBytes) {
        this.#socket.write(Buffer.from(joint.subarray(sent, headBytes)));
        return FULL;
      }
      if (sent < leadBytes) return sent - headBytes;
    }
    const moved = direct.sendPiped(piped);
    return first.length === 0 ? moved : first.length + Math.max(0, moved);
  }

  end(body?: Buffer): void {
    const bytes = this.#isHead ? undefined : body;
    if (bytes === undefined && this.#head === "" && this.#socket.writableLength === 0) this.#ended();
    else this.#send(bytes, this.#ended);
  }

  /** All bytes have been passed to the kernel. */
  readonly #ended = (): void => {
    this.#onClose?.();
    if (this.#closing === "") this.#sent();
    else this.#socket.destroySoon();
  };

  destroy(): void {
    this.#socket.destroy();
  }

  on(_event: "close", listener: () => void): void {
    this.#onClose = listener;
  }

  /** Writes header and bytes in one system call. A closed or half-closed socket takes nothing; the connection handles that. */
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
    joint.set(bytes, headBytes);
    const count = headBytes + bytes.length;
    const sent = Math.max(0, this.#direct?.send(joint, count, false) ?? UNAVAILABLE);
    if (sent === count) {
      taken();
      return;
    }
    socket.write(joint.subarray(sent, count), then);
    // The socket keeps using the bytes that the kernel did not take immediately.
    if (socket.writableLength > 0) joint = Buffer.allocUnsafeSlow(joint.length);
  }
}

const CONTENT_LENGTH = "content-length";

let dateSecond = -1;
let dateText = "";

/** Returns the Date header, computed once per second. */
function httpDate(nowMs: number): string {
  const second = Math.floor(nowMs / 1000);
  if (second !== dateSecond) [dateSecond, dateText] = [second, new Date(second * 1000).toUTCString()];
  return dateText;
}
