import type { Socket } from "node:net";
import type { TlsOptions } from "../access.js";
import type { Clock } from "../clock.js";
import { openSocket, type SocketAddress } from "../connection-failure.js";
import type { CallerHandshake } from "../member-handshake.js";
import type { HttpAnswer } from "./answer.js";

/** One request with its response. It ends with onComplete, onRefused or onBroken. */
export interface HttpCall {
  /** The whole request, in ASCII. */
  readonly request: string;
  readonly answer: Pick<HttpAnswer, "room" | "landed" | "take" | "complete" | "keepAlive">;
  /** More bytes have arrived; `paused`: nothing more is received until `HttpConnection.resume`. */
  onBytes(paused: boolean): void;
  /** The whole response has arrived. */
  onComplete(): void;
  /** The response was rejected, and the connection is closed. */
  onRefused(error: unknown): void;
  /** The connection was lost or could not be made. `cause` is undefined if the member closed it normally. */
  onBroken(cause: Error | undefined): void;
}

export interface HttpConnectionOptions {
  readonly address: SocketAddress;
  readonly clock: Clock;
  /** Connection timeout, milliseconds. */
  readonly connectTimeoutMs: number;
  /** Undefined: plain text. */
  readonly tls: TlsOptions | undefined;
  /** The identity that a member proves first; undefined: no proof. */
  readonly handshake: CallerHandshake | undefined;
  /** A response is complete; the connection may be reused. */
  onIdle(connection: HttpConnection): void;
  /** The connection is closed and must not be used. Called once. */
  onGone(connection: HttpConnection): void;
}

/**
 * The buffer for bytes without a destination: a header and the bytes after it. All connections share it, because its
 * bytes are consumed before any further bytes are received. A whole response of 64 KiB fits into one read of the socket.
 */
const anywhere = Buffer.allocUnsafeSlow(72 << 10);

/**
 * A connection to one member with at most one running call. The kernel writes the bodies of responses directly into the memory
 * of their calls: after each read, `buffer` returns the destination of the next one.
 */
export class HttpConnection {
  readonly #options: HttpConnectionOptions;
  readonly #socket: Socket;
  readonly #cancelTimer: () => void;
  #call: HttpCall | undefined;
  /** The handshake; undefined when it is over, or if there is none. */
  #handshake: CallerHandshake | undefined;
  #connected = false;
  #closedHere = false;
  #used = false;
  #gone = false;

  constructor(options: HttpConnectionOptions) {
    const { address, clock, connectTimeoutMs, tls, handshake } = options;
    this.#options = options;
    this.#handshake = handshake;
    const buffer = (): Buffer => this.#call?.answer.room() ?? anywhere;
    this.#socket = openSocket(address, tls, { onread: { buffer, callback: this.#onRead } });
    this.#cancelTimer = clock.after(connectTimeoutMs, () => {
      this.#end(Object.assign(new Error(`no answer within ${connectTimeoutMs} ms`), { code: CONNECT_TIMEOUT }));
    });
    if (handshake !== undefined) this.#socket.write(handshake.hello, "latin1");
    else this.#socket.once(tls === undefined ? "connect" : "secureConnect", this.#onConnected);
    this.#socket.on("error", (error) => this.#end(error));
    this.#socket.on("end", () => this.#end());
    this.#socket.on("close", () => this.#end());
  }

  /** Whether it was ever connected. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Whether it was closed by `close` without an error. */
  get closedHere(): boolean {
    return this.#closedHere;
  }

  /** Whether it has completed a call. Then the member may have closed it without our knowledge. */
  get used(): boolean {
    return this.#used;
  }

  /** Sends the request. The connection must be idle or new. */
  run(call: HttpCall): void {
    this.#call = call;
    if (this.#handshake === undefined) this.#socket.write(call.request, "latin1");
  }

  /** Resumes receiving after a pause, if the call still runs here. Returns whether it does. */
  resume(call: HttpCall): boolean {
    if (this.#call !== call || this.#gone) return false;
    this.#socket.resume();
    return true;
  }

  /** Closes it immediately. A running call is not notified, and nothing more is written into its buffer. */
  close(): void {
    this.#call = undefined;
    this.#closedHere = true;
    this.#end();
  }

  readonly #onConnected = (): void => {
    this.#connected = true;
    this.#cancelTimer();
  };

  /** Takes bytes of the handshake; after it, the request is sent. Returns whether to continue receiving. */
  #shake(handshake: CallerHandshake, bytes: Buffer): boolean {
    try {
      const reply = handshake.take(bytes);
      if (reply === undefined) return true;
      this.#handshake = undefined;
      this.#onConnected();
      this.#socket.write(`${reply}${this.#call?.request ?? ""}`, "latin1");
      return true;
    } catch (error) {
      this.#end(error as Error);
      return false;
    }
  }

  readonly #onRead = (bytes: number, buffer: Uint8Array): boolean => {
    if (this.#handshake !== undefined) return this.#shake(this.#handshake, anywhere.subarray(0, bytes));
    if (this.#call !== undefined) return this.#receive(this.#call, bytes, buffer);
    // Unsolicited bytes must not be interpreted as the next response.
    this.#end();
    return false;
  };

  /** Returns whether to continue receiving. */
  #receive(call: HttpCall, bytes: number, buffer: Uint8Array): boolean {
    const { answer } = call;
    let more: boolean;
    try {
      more = buffer === anywhere ? answer.take(anywhere.subarray(0, bytes)) : answer.landed(bytes);
    } catch (error) {
      this.close();
      call.onRefused(error);
      return false;
    }
    if (answer.complete) this.#complete(call);
    // The receiver may have ended the call meanwhile.
    else if (this.#call === call) call.onBytes(!more);
    return more || this.#call !== call;
  }

  #complete(call: HttpCall): void {
    this.#call = undefined;
    this.#used = true;
    call.onComplete();
    if (call.answer.keepAlive) this.#options.onIdle(this);
    else this.#end();
  }

  #end(cause?: Error): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#cancelTimer();
    this.#socket.destroy();
    const call = this.#call;
    this.#call = undefined;
    // First the call, which may be retried on a new connection, then the waiting calls.
    call?.onBroken(cause);
    this.#options.onGone(this);
  }
}

/** The error code of a connection timeout. */
export const CONNECT_TIMEOUT = "FRONTCACHE_CONNECT_TIMEOUT";
