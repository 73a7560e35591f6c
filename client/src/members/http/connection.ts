import type { Socket } from "node:net";
import type { TlsOptions } from "../access.js";
import type { Clock } from "../clock.js";
import { openSocket, type SocketAddress } from "../connection-failure.js";
import type { CallerHandshake } from "../member-handshake.js";
import type { HttpAnswer } from "./answer.js";

/** One request with its answer. It ends with one of onComplete, onRefused and onBroken. */
export interface HttpCall {
  /** The whole request, in ASCII. */
  readonly request: string;
  readonly answer: Pick<HttpAnswer, "room" | "landed" | "take" | "complete" | "keepAlive">;
  /** More of the answer has arrived; `paused`: nothing more is received until `HttpConnection.resume`. */
  onBytes(paused: boolean): void;
  /** All of it has arrived. */
  onComplete(): void;
  /** The answer is not accepted, and the connection is closed. */
  onRefused(error: unknown): void;
  /** The connection broke, or could not be made. `cause` is undefined if the member closed it in an orderly way. */
  onBroken(cause: Error | undefined): void;
}

export interface HttpConnectionOptions {
  readonly address: SocketAddress;
  readonly clock: Clock;
  /** How long connecting may take, milliseconds. */
  readonly connectTimeoutMs: number;
  /** Undefined: plain text. */
  readonly tls: TlsOptions | undefined;
  /** By which a member proves itself first; undefined: nobody does. */
  readonly handshake: CallerHandshake | undefined;
  /** An answer is complete; the connection may be used again. */
  onIdle(connection: HttpConnection): void;
  /** It is closed and must not be used any more. Called once. */
  onGone(connection: HttpConnection): void;
}

/**
 * Where bytes are received while it isn't known where they belong: a head, with the bytes behind it. One for all connections: its
 * bytes have been taken before the next bytes are received anywhere. A whole answer of 64 KiB arrives in one read of the socket.
 */
const anywhere = Buffer.allocUnsafeSlow(72 << 10);

/**
 * A connection to one member, with at most one call at a time. The kernel writes the bodies of answers directly into the memory
 * that they have room for: after each read, `buffer` is asked where the next one goes.
 */
export class HttpConnection {
  readonly #options: HttpConnectionOptions;
  readonly #socket: Socket;
  readonly #cancelTimer: () => void;
  #call: HttpCall | undefined;
  /** Undefined when it is over, or if there is none. */
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

  /** Whether it was closed by `close`, while nothing was wrong with it. */
  get closedHere(): boolean {
    return this.#closedHere;
  }

  /** Whether it carried an answer before: then the member may have closed it without our knowing it yet. */
  get used(): boolean {
    return this.#used;
  }

  /** Sends the request. The connection must be idle, or new. */
  run(call: HttpCall): void {
    this.#call = call;
    if (this.#handshake === undefined) this.#socket.write(call.request, "latin1");
  }

  /** Receives again after a pause, if the call still runs here. Returns whether it does. */
  resume(call: HttpCall): boolean {
    if (this.#call !== call || this.#gone) return false;
    this.#socket.resume();
    return true;
  }

  /** Closes it at once. A running call is not told, and nothing is written into its room any more. */
  close(): void {
    this.#call = undefined;
    this.#closedHere = true;
    this.#end();
  }

  readonly #onConnected = (): void => {
    this.#connected = true;
    this.#cancelTimer();
  };

  /** Takes bytes of the handshake; after it, the request is sent. Returns whether to go on receiving. */
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
    // Nobody asked for these bytes: they must not be taken for the next answer.
    this.#end();
    return false;
  };

  /** Returns whether to go on receiving. */
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
    // The receiver may have ended the call in between.
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
    // First the call, which may begin again in this connection's place, then those that wait for one.
    call?.onBroken(cause);
    this.#options.onGone(this);
  }
}

/** The error code of a connection that could not be made in time. */
export const CONNECT_TIMEOUT = "FRONTCACHE_CONNECT_TIMEOUT";
