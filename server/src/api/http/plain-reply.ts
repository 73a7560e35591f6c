import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "../../runtime/clock.js";
import type { PipedBytes } from "../../runtime/slice.js";
import { type DirectSocket, FULL, UNAVAILABLE } from "../sending/direct-socket.js";
import { FROM_FILE_BYTES } from "../sending/send-strategy.js";
import type { Reply, SharedHeaders } from "./http-context.js";

/**
 * The buffer for small responses with their headers: copying a few bytes costs less than passing two pieces to the kernel.
 * All connections share it, because the kernel has usually taken a response when `write` returns.
 */
let joint = Buffer.allocUnsafeSlow(FROM_FILE_BYTES + (4 << 10));

/** All of the head was sent. */
const SENT = 1;

/** What all replies of a connection share. */
export interface ReplyConnection {
  readonly socket: Socket;
  /** Undefined: all bytes go through the socket's stream. */
  readonly direct: DirectSocket | undefined;
  readonly clock: Pick<Clock, "nowMs">;
  /** Called after `close`, when the whole response was sent. */
  readonly sent: () => void;
}

/** The response to a plain request. Its header and bytes are written directly to the socket. */
export class PlainReply implements Reply {
  readonly takesShared = true;
  readonly #connection: ReplyConnection;
  readonly #isHead: boolean;

  /** The beginning of a head whose first headers are shared. */
  #lead: Buffer | undefined;
  /** The unsent head behind `#lead`. */
  #head = "";
  #headersSent = false;
  #closing = "";
  #onClose: (() => void) | undefined;

  /** `isHead`: the response to a HEAD, whose bytes are not sent. */
  constructor(connection: ReplyConnection, isHead: boolean) {
    this.#connection = connection;
    this.#isHead = isHead;
  }

  get headersSent(): boolean {
    return this.#headersSent;
  }

  setHeader(name: "Connection", value: "close"): void {
    this.#closing = `${name}: ${value}\r\n`;
  }

  writeHead(status: number, headers: string[], shared?: SharedHeaders): void {
    // The end of the connection ends a body of unknown length.
    if (!this.#isHead && status !== 204 && status !== 304 && !hasLength(headers)) this.setHeader("Connection", "close");
    const date = httpDate(this.#connection.clock.nowMs());
    this.#lead = shared?.leadOf(status);
    const first = shared === undefined ? statusLine(status) : "";
    this.#head = `${first}${headLines(headers)}Date: ${date}\r\n${this.#closing}\r\n`;
    this.#headersSent = true;
  }

  /** Bytes of the unsent head. */
  get #headBytes(): number {
    return this.#head.length + (this.#lead?.length ?? 0);
  }

  /** Writes the unsent head to the beginning of a buffer that it fits into. */
  #putHead(into: Buffer): void {
    const lead = this.#lead;
    if (lead !== undefined) into.set(lead);
    into.write(this.#head, lead?.length ?? 0, "latin1");
  }

  #headSent(): void {
    this.#lead = undefined;
    this.#head = "";
  }

  write(bytes: Buffer, taken: () => void): void {
    if (this.#isHead) setImmediate(taken);
    else this.#send(bytes, taken);
  }

  /** The head and the first bytes leave in one packet if they fit. */
  sendFile(descriptor: number, position: number, count: number): number {
    const { direct } = this.#connection;
    if (direct === undefined) return UNAVAILABLE;
    const sent = this.#sendHead(direct);
    return sent === SENT ? direct.sendFile(descriptor, position, count) : sent;
  }

  sendMemory(bytes: Buffer): number {
    const { direct } = this.#connection;
    if (direct === undefined || this.#isHead) return UNAVAILABLE;
    const sent = this.#sendHead(direct);
    return sent === SENT ? direct.send(bytes, bytes.length, false) : sent;
  }

  /** Sends the head, if it was not sent yet, before bytes that follow at once. FULL: the stream has the rest of it. */
  #sendHead(direct: DirectSocket): typeof SENT | typeof FULL | typeof UNAVAILABLE {
    const headBytes = this.#headBytes;
    if (headBytes === 0) return SENT;
    if (headBytes > joint.length) return UNAVAILABLE;
    this.#putHead(joint);
    const sent = direct.send(joint, headBytes, true);
    if (sent === UNAVAILABLE) return UNAVAILABLE;
    this.#headSent();
    if (sent === headBytes) return SENT;
    this.#connection.socket.write(Buffer.from(joint.subarray(sent, headBytes)));
    return FULL;
  }

  get takesPipes(): boolean {
    return this.#connection.direct !== undefined;
  }

  /** The head and the first bytes leave together, in one packet with those of the pipe if they fit. */
  sendPiped(first: Buffer, piped: PipedBytes): number {
    const { direct, socket } = this.#connection;
    const headBytes = this.#headBytes;
    const count = headBytes + first.length;
    if (direct === undefined || count > joint.length) return UNAVAILABLE;
    if (count > 0) {
      this.#putHead(joint);
      joint.set(first, headBytes);
      const sent = direct.send(joint, count, true);
      if (sent === UNAVAILABLE) return UNAVAILABLE;
      this.#headSent();
      if (sent < headBytes) {
        socket.write(Buffer.from(joint.subarray(sent, headBytes)));
        return FULL;
      }
      if (sent < count) return sent - headBytes;
    }
    const moved = direct.sendPiped(piped);
    return first.length === 0 ? moved : first.length + Math.max(0, moved);
  }

  end(body?: Buffer): void {
    const bytes = this.#isHead ? undefined : body;
    if (bytes === undefined && this.#headBytes === 0 && this.#connection.socket.writableLength === 0) this.#ended();
    else this.#send(bytes === undefined ? undefined : this.#sendDirectly(bytes), this.#ended);
  }

  /** All bytes have been passed to the kernel. */
  readonly #ended = (): void => {
    this.#onClose?.();
    if (this.#closing === "") this.#connection.sent();
    else this.#connection.socket.destroySoon();
  };

  destroy(): void {
    this.#connection.socket.destroy();
  }

  on(_event: "close", listener: () => void): void {
    this.#onClose = listener;
  }

  /**
   * Passes the last bytes of a response to the kernel without the socket's stream, whose objects for a write cost as much as that of a small
   * response. Returns the bytes that it did not take.
   */
  #sendDirectly(bytes: Buffer): Buffer {
    const { direct } = this.#connection;
    // Fewer bytes are sent together with the head.
    if (direct === undefined || this.#headBytes + bytes.length <= joint.length || this.#sendHead(direct) !== SENT) return bytes;
    const sent = Math.max(0, direct.send(bytes, bytes.length, false));
    return bytes.subarray(sent);
  }

  /** Writes header and bytes in one system call. A closed or half-closed socket takes nothing; the connection handles that. */
  #send(bytes: Buffer | undefined, taken: () => void): void {
    const { socket, direct } = this.#connection;
    if (!socket.writable) return;
    const headBytes = this.#headBytes;
    if (headBytes > 0 && bytes !== undefined && headBytes + bytes.length <= joint.length) {
      this.#putHead(joint);
      this.#headSent();
      joint.set(bytes, headBytes);
      const count = headBytes + bytes.length;
      const sent = Math.max(0, direct?.send(joint, count, false) ?? UNAVAILABLE);
      if (sent === count) taken();
      else {
        socket.write(joint.subarray(sent, count), whenWritten(taken));
        // The socket keeps using the bytes that the kernel did not take immediately.
        if (socket.writableLength > 0) joint = Buffer.allocUnsafeSlow(joint.length);
      }
      return;
    }
    if (headBytes === 0) {
      if (bytes?.length === 0 && socket.writableLength === 0) taken();
      else socket.write(bytes ?? "", whenWritten(taken));
      return;
    }
    const head = Buffer.allocUnsafe(headBytes);
    this.#putHead(head);
    this.#headSent();
    if (bytes === undefined) {
      socket.write(head, whenWritten(taken));
      return;
    }
    socket.cork();
    socket.write(head);
    socket.write(bytes, whenWritten(taken));
    socket.uncork();
  }
}

/** Calls back unless the write failed. */
function whenWritten(taken: () => void): (error?: Error | null) => void {
  return (error) => {
    if (error === null || error === undefined) taken();
  };
}

export function statusLine(status: number): string {
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n`;
}

/** The lines of headers, names and values in turn. */
export function headLines(headers: readonly string[]): string {
  let lines = "";
  for (let at = 0; at < headers.length; at += 2) lines += `${headers[at]}: ${headers[at + 1]}\r\n`;
  return lines;
}

const CONTENT_LENGTH = "content-length";

function hasLength(headers: readonly string[]): boolean {
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at]!;
    if (name.length === CONTENT_LENGTH.length && name.toLowerCase() === CONTENT_LENGTH) return true;
  }
  return false;
}

let dateSecond = -1;
let dateText = "";

/** Returns the Date header, computed once per second. */
function httpDate(nowMs: number): string {
  const second = Math.floor(nowMs / 1000);
  if (second !== dateSecond) [dateSecond, dateText] = [second, new Date(second * 1000).toUTCString()];
  return dateText;
}
