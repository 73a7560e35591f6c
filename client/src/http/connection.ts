import type { Socket } from "node:net";
import type { Timers } from "@frontcache/proto/runtime";
import type { Dial, Dialed } from "./dial.js";
import type { HttpCall } from "./http-call.js";

/** What precedes the first request on a connection: a line each way, and one more. */
export interface Preamble {
  /** What is sent first. */
  readonly hello: string;
  /** Takes received bytes. Returns what to send before the first request; undefined: more bytes are needed. Throws to refuse. */
  take(bytes: Buffer): string | undefined;
}

/** Passes the first `count` bytes to the kernel, past the stream of a socket. Returns how many it took; 0 or less: none. */
export type DirectSend = (bytes: Uint8Array, count: number) => number;

/** How a connection is opened. */
export interface ConnectionSetup {
  readonly dial: Dial;
  /** Absent: none. */
  readonly preamble?: Preamble | undefined;
  /** Returns how to send past the stream of a connected socket without TLS. Absent: requests go through the stream. */
  readonly directSend?: ((socket: Socket) => DirectSend) | undefined;
}

export interface HttpConnectionOptions extends ConnectionSetup {
  readonly clock: Timers;
  /** Until the peer, or the proxy, accepts the connection, milliseconds. */
  readonly connectTimeoutMs: number;
  /** Of a tunnel, TLS and the preamble after that, milliseconds; undefined: `connectTimeoutMs` includes them. */
  readonly secureTimeoutMs?: number | undefined;
  /** A response is complete; the connection may be reused. */
  onIdle(connection: HttpConnection): void;
  /** The peer had closed the connection before a request was sent, which may be sent again on another one. */
  onStale(call: HttpCall): void;
  /** The connection is closed and must not be used. Called once. */
  onGone(connection: HttpConnection, cause: Error | undefined): void;
}

/** A connection was not open within its timeout. */
export class ConnectTimeout extends Error {
  readonly code = "ETIMEDOUT";

  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs} ms`);
  }
}

/**
 * The buffer for bytes without a destination: a head and the bytes after it. All connections share it, because its
 * bytes are consumed before any further bytes are received. A whole response of 64 KiB fits into one read of the socket.
 */
const anywhere = Buffer.allocUnsafeSlow(72 << 10);

/**
 * The same for bodies that are drained: for as few bytes as possible, since each read of the socket only says that it has more. A
 * small response fits in it, too.
 */
const probe = Buffer.allocUnsafeSlow(8 << 10);

/** The bytes of a request that is sent directly. All connections share it, because the kernel has copied them when the call returns. */
const requestBytes = Buffer.allocUnsafeSlow(8 << 10);

/**
 * A connection to one peer with at most one running call. The kernel writes the bodies of responses directly into the memory
 * of their calls: after each read, `#buffer` returns the destination of the next one.
 */
export class HttpConnection implements Dialed {
  /** When its last call ended, monotonic milliseconds. Only its pool uses it. */
  idleSinceMs = 0;
  readonly #options: HttpConnectionOptions;
  readonly #abortDial: () => void;
  #cancelTimer: () => void;
  /** Undefined before it is connected. */
  #socket: Socket | undefined;
  /** Whether the socket has no TLS. */
  #isPlain = false;
  /** Undefined: requests go through the stream. */
  #directSend: DirectSend | undefined;
  #call: HttpCall | undefined;
  /** Undefined after the preamble, and on connections without one. */
  #preamble: Preamble | undefined;
  #connected = false;
  /** Whether the next body is likely to be drained: the last one was, or would have been if it had not arrived at once. */
  #drainsNext = false;
  /** The buffer that the socket's next read fills. */
  #next: Buffer = anywhere;
  /** Whether the socket stopped receiving after the last bytes. */
  #isStopped = false;
  #closedHere = false;
  #used = false;
  #gone = false;

  /** Throws if its options of TLS are invalid. */
  constructor(options: HttpConnectionOptions) {
    const { dial, preamble, clock, connectTimeoutMs } = options;
    this.#options = options;
    this.#preamble = preamble;
    this.#abortDial = dial({ buffer: this.#buffer, callback: this.#onRead }, this);
    this.#cancelTimer = this.#endAfter(clock, connectTimeoutMs);
  }

  /** Whether it was ever connected. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Whether it was closed on this side without an error. */
  get closedHere(): boolean {
    return this.#closedHere;
  }

  /** Sends the request. The connection must be idle or new. */
  run(call: HttpCall): void {
    this.#call = call;
    if (this.#connected) this.#send(call);
  }

  /** Resumes receiving after a pause, if the call still runs here. Returns whether it does. */
  resume(call: HttpCall): boolean {
    if (this.#call !== call || this.#gone) return false;
    this.#isStopped = false;
    this.#socket?.resume();
    return true;
  }

  /**
   * Lets `move` take bytes of the call's body out of the socket: with its descriptor, and at most so many bytes. Returns how many it
   * has taken.
   *
   * Bytes keep their order, because the stream of the socket keeps none: each of its reads ends in `#onRead`. Its next read may come
   * after the end of the body. So the body is drained only while that read does not go into the call's memory. The descriptor is read
   * in the same synchronous step, so it is never one that was closed and reused.
   */
  drain(call: HttpCall, move: (descriptor: number, mostBytes: number) => number): number {
    if (this.#call !== call || this.#gone || !this.#isPlain || !isShared(this.#next)) return 0;
    const mostBytes = call.answer.missingBytes;
    const descriptor = descriptorOf(this.#socket!);
    if (mostBytes === 0 || descriptor < 0) return 0;
    const bytes = move(descriptor, mostBytes);
    if (bytes <= 0) return 0;
    this.#drainsNext = true;
    call.answer.drained(bytes);
    if (call.answer.complete) this.#complete(call);
    else call.onBytes(false);
    return bytes;
  }

  /** Closes it immediately if the call runs here. The call is not notified. */
  drop(call: HttpCall): void {
    if (this.#call === call) this.close();
  }

  /** Closes it immediately. A running call is broken by `cause`. */
  abort(cause: Error): void {
    this.#closedHere = true;
    this.ended(cause);
  }

  /** Closes it immediately. A running call is not notified, and nothing more is written into its buffer. */
  close(): void {
    this.#call = undefined;
    this.#closedHere = true;
    this.ended();
  }

  /** Called by the dial. */
  reached(): void {
    const { clock, secureTimeoutMs } = this.#options;
    if (secureTimeoutMs === undefined || this.#gone) return;
    this.#cancelTimer();
    this.#cancelTimer = this.#endAfter(clock, secureTimeoutMs);
  }

  /** Called by the dial. */
  opened(socket: Socket): void {
    if (this.#gone) return;
    this.#socket = socket;
    this.#isPlain = !("encrypted" in socket);
    this.#directSend = this.#isPlain ? this.#options.directSend?.(socket) : undefined;
    if (this.#preamble === undefined) this.#begin("");
    else socket.write(this.#preamble.hello, "latin1");
  }

  /** Called by the dial. */
  received(bytes: Buffer): void {
    let more = true;
    for (let at = 0; at < bytes.length && !this.#gone; ) {
      const room = this.#buffer();
      const copied = bytes.copy(room, 0, at);
      at += copied;
      more = this.#onRead(copied, room);
    }
    if (!more) this.#socket?.pause();
  }

  /** Called by the dial. */
  ended(cause?: Error): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#cancelTimer();
    this.#abortDial();
    const call = this.#call;
    this.#call = undefined;
    // First the call, which may be repeated on a new connection, then the waiting calls.
    if (call !== undefined) this.#breakCall(call, cause);
    this.#options.onGone(this, cause);
  }

  #endAfter(clock: Timers, timeoutMs: number): () => void {
    return clock.after(timeoutMs, () => this.ended(new ConnectTimeout(timeoutMs)));
  }

  #breakCall(call: HttpCall, cause: Error | undefined): void {
    const { answer } = call;
    try {
      if (cause === undefined && answer.ended()) call.onComplete();
      else if (this.#used && !this.#closedHere && !answer.begun && call.mayRepeat()) this.#options.onStale(call);
      else call.onBroken(cause, this.#connected);
    } catch (error) {
      call.onRefused(error);
    }
  }

  /** Called when requests can be sent. `reply` precedes the first one. */
  #begin(reply: string): void {
    this.#connected = true;
    this.#cancelTimer();
    if (this.#call !== undefined) this.#send(this.#call, reply);
    else if (reply !== "") this.#socket!.write(reply, "latin1");
  }

  #send(call: HttpCall, reply = ""): void {
    this.#drainsNext = false;
    const { request, requestBody } = call;
    const socket = this.#socket!;
    const head = reply === "" ? request : `${reply}${request}`;
    if (requestBody !== undefined) socket.cork();
    const sent = requestBody === undefined ? this.#sendDirectly(head) : 0;
    if (sent < head.length) socket.write(sent === 0 ? head : head.slice(sent), "latin1");
    call.sendBody?.(socket);
    if (requestBody === undefined) return;
    socket.write(requestBody);
    socket.uncork();
  }

  /** Returns how many bytes of a head the kernel took. The stream's objects for a write cost more than the system call. */
  #sendDirectly(head: string): number {
    if (this.#directSend === undefined || head.length > requestBytes.length) return 0;
    return Math.max(0, this.#directSend(requestBytes, requestBytes.write(head, "latin1")));
  }

  /** The buffer for the next bytes. */
  readonly #buffer = (): Buffer => {
    this.#next = this.#nextBuffer();
    return this.#next;
  };

  #nextBuffer(): Buffer {
    const call = this.#call;
    if (call === undefined) return this.#drainsNext ? probe : anywhere;
    if (call.isDrained === true) return probe;
    try {
      return call.answer.room() ?? anywhere;
    } catch (error) {
      this.#refuse(call, error);
      return anywhere;
    }
  }

  /** Handles bytes in a buffer. Returns whether to continue receiving. */
  readonly #onRead = (bytes: number, buffer: Uint8Array): boolean => {
    if (this.#call !== undefined && this.#connected) return this.#receive(this.#call, bytes, buffer);
    if (this.#preamble !== undefined && !this.#connected) return this.#shake(this.#preamble, anywhere.subarray(0, bytes));
    // Unsolicited bytes must not be interpreted as the next response.
    this.ended();
    return false;
  };

  /** Takes bytes of the preamble; after it, the request is sent. Returns whether to continue receiving. */
  #shake(preamble: Preamble, bytes: Buffer): boolean {
    try {
      const reply = preamble.take(bytes);
      if (reply !== undefined) this.#begin(reply);
      return true;
    } catch (error) {
      this.ended(error as Error);
      return false;
    }
  }

  /** Returns whether to continue receiving. */
  #receive(call: HttpCall, bytes: number, buffer: Uint8Array): boolean {
    const { answer } = call;
    let more: boolean;
    try {
      more = isShared(buffer) ? answer.take(buffer as Buffer, bytes) : answer.landed(bytes);
    } catch (error) {
      this.#refuse(call, error);
      return false;
    }
    if (this.#call !== call) return false; // the receiver has ended the call, and so the connection
    if (answer.complete) this.#complete(call);
    else call.onBytes(!more);
    this.#isStopped = !more && this.#call === call;
    return !this.#isStopped;
  }

  #refuse(call: HttpCall, error: unknown): void {
    this.close();
    call.onRefused(error);
  }

  #complete(call: HttpCall): void {
    this.#call = undefined;
    if (call.drainsLikely === true) this.#drainsNext = true;
    this.#used = true;
    // TLS passes on the bytes that it has decrypted already, the last ones too. The next response must be received.
    if (this.#isStopped) {
      this.#isStopped = false;
      this.#socket!.resume();
    }
    call.onComplete();
    if (this.#gone) return;
    if (call.answer.keepAlive && call.isSent !== false) this.#options.onIdle(this);
    else this.ended();
  }
}

/** Whether the bytes of a buffer are consumed before any further bytes are received. */
function isShared(buffer: Uint8Array): boolean {
  return buffer === anywhere || buffer === probe;
}

/** The descriptor of a socket; -1: it is closed. */
function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { _handle?: { readonly fd?: number } | null };
  return handle?.fd ?? -1;
}
