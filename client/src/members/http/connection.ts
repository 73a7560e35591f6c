import { connect, isIP, type Socket } from "node:net";
import { checkServerIdentity, connect as connectTls, type ConnectionOptions as TlsConnectionOptions } from "node:tls";
import type { TlsOptions } from "../access.js";
import type { Clock } from "../clock.js";
import type { SocketAddress } from "../socket-address.js";
import type { AnswerLanding } from "./answer-landing.js";

/** One request with the answer to it. It ends with one of complete, refused and broken. */
export interface HttpCall {
  /** The whole request, in ASCII. */
  readonly request: string;
  readonly landing: AnswerLanding;
  /** More of the answer is there. */
  onBytes(): void;
  /** All of it is. */
  onComplete(): void;
  /** It is not taken, and the connection is closed. */
  onRefused(error: unknown): void;
  /** The connection broke, or never stood. `cause` is undefined where the gateway closed it in good order. */
  onBroken(cause: Error | undefined): void;
}

export interface ConnectionOptions {
  readonly address: SocketAddress;
  readonly clock: Clock;
  /** How long it may take to stand, milliseconds. */
  readonly connectTimeoutMs: number;
  /** Undefined: plain text. */
  readonly tls: TlsOptions | undefined;
  /** An answer is complete; the connection may be used again. */
  onIdle(connection: HttpConnection): void;
  /** It is closed and must not be used any more. Called once. */
  onGone(connection: HttpConnection): void;
}

/**
 * Where bytes are received while it isn't known where they belong. One for all connections: whatever is in it has been taken
 * before the next bytes are received anywhere.
 */
const anywhere = Buffer.allocUnsafeSlow(64 << 10);

/**
 * A connection to one gateway, with at most one exchange at a time. The kernel writes the bodies of answers straight to where
 * they have room for them: `buffer` is asked after each read for where the next one goes.
 */
export class HttpConnection {
  readonly #options: ConnectionOptions;
  readonly #socket: Socket;
  readonly #cancelTimer: () => void;
  #exchange: HttpCall | undefined;
  #stood = false;
  #givenUp = false;
  #used = false;
  #gone = false;

  constructor(options: ConnectionOptions) {
    const { clock, connectTimeoutMs, tls } = options;
    this.#options = options;
    this.#socket = this.#open();
    this.#cancelTimer = clock.after(connectTimeoutMs, () =>
      this.#leave(new Error(`not connected within ${connectTimeoutMs} ms`)),
    );
    this.#socket.once(tls === undefined ? "connect" : "secureConnect", () => {
      this.#stood = true;
      this.#cancelTimer();
    });
    this.#socket.on("error", (error) => this.#leave(error));
    this.#socket.on("end", () => this.#leave());
    this.#socket.on("close", () => this.#leave());
  }

  /** Whether it ever stood. */
  get stood(): boolean {
    return this.#stood;
  }

  /** Whether it was closed from here, by `close`, while nothing was wrong with it. */
  get givenUp(): boolean {
    return this.#givenUp;
  }

  /** Whether it carried an answer before: then the gateway may have closed it without our having heard of it. */
  get used(): boolean {
    return this.#used;
  }

  /** Sends the request. The connection must be idle, or new. */
  run(exchange: HttpCall): void {
    this.#exchange = exchange;
    this.#socket.write(exchange.request, "latin1");
  }

  /** Closes it at once. A running exchange hears nothing any more, and nothing is written into its room. */
  close(): void {
    this.#exchange = undefined;
    this.#givenUp = true;
    this.#leave();
  }

  #open(): Socket {
    const { address, tls } = this.#options;
    const onread = { buffer: () => this.#exchange?.landing.room() ?? anywhere, callback: this.#onRead };
    if (tls === undefined) return connect({ ...address, noDelay: true, onread });
    const { ca, cert, key, serverName = address.host } = tls;
    // A name in a certificate may be asked for by SNI, an address may not.
    const options = { ...address, ...given({ ca, cert, key }), ...nameOf(serverName), onread };
    return connectTls(options).setNoDelay();
  }

  readonly #onRead = (bytes: number, buffer: Uint8Array): boolean => {
    // Nobody asked: whatever it is, it must not be taken for the next answer.
    if (this.#exchange === undefined) this.#leave();
    else this.#receive(this.#exchange, bytes, buffer);
    const readOn = true;
    return readOn;
  };

  #receive(exchange: HttpCall, bytes: number, buffer: Uint8Array): void {
    const { landing } = exchange;
    try {
      if (buffer === anywhere) landing.take(anywhere.subarray(0, bytes));
      else landing.landed(bytes);
    } catch (error) {
      this.close();
      exchange.onRefused(error);
      return;
    }
    exchange.onBytes();
    if (landing.complete) this.#complete(exchange);
  }

  #complete(exchange: HttpCall): void {
    this.#exchange = undefined;
    this.#used = true;
    exchange.onComplete();
    if (exchange.landing.keepAlive) this.#options.onIdle(this);
    else this.#leave();
  }

  #leave(cause?: Error): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#cancelTimer();
    this.#socket.destroy();
    const exchange = this.#exchange;
    this.#exchange = undefined;
    // First the exchange, which may begin again in this connection's place, then those that wait for one.
    exchange?.onBroken(cause);
    this.#options.onGone(this);
  }
}

/** What is checked in the gateway's certificate: a name, or where it is an address, that address. */
function nameOf(serverName: string): Pick<TlsConnectionOptions, "servername" | "checkServerIdentity"> {
  if (isIP(serverName) === 0) return { servername: serverName };
  return { checkServerIdentity: (_host, certificate) => checkServerIdentity(serverName, certificate) };
}

/** The values that are there. */
function given<Values extends object>(values: Values): { [Name in keyof Values]?: Exclude<Values[Name], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Values;
}
