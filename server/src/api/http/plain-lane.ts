import type { Socket } from "node:net";
import { ListenerHandshake } from "@frontcache/client/members";
import type { Clock } from "../../runtime/clock.js";
import type { Connection } from "./connection.js";
import type { Reply, Request } from "./http-context.js";
import { PlainReply } from "./plain-reply.js";
import { type PlainRequest, parsePlainRequest } from "./plain-request.js";

/** Bytes that may come while a request is answered; more of them end the connection. */
const MAX_BEHIND_BYTES = 64 << 10;

export interface PlainLaneOptions {
  readonly socket: Socket;
  readonly connection: Connection;
  readonly clock: Clock;
  /** For the first bytes of a new connection. */
  readonly firstBytesTimeoutMs: number;
  /** For a connection on which nothing moves after that. */
  readonly idleTimeoutMs: number;
  answer(request: Request, reply: Reply): void;
  /** Answers a member that proves itself, with these bytes first; then calls back with the bytes that came behind. */
  prove(first: Buffer, then: (rest: Buffer) => void): void;
  /** Gives the socket to Node's HTTP server, with the bytes that have come unshifted. */
  handOver(): void;
}

/**
 * The beginning of every connection. Requests in the one form that frontcache's clients send, each in one piece and after the
 * answer to the last, are answered here, which takes half the CPU time that Node's HTTP server takes (measured: 11 us
 * a request of 4 KiB, writing included, in place of 18). At the first bytes that are anything else the whole connection goes
 * to Node's HTTP server, so that there is one place that understands HTTP.
 */
export class PlainLane {
  readonly #options: PlainLaneOptions;

  #behind: Buffer[] = [];
  #behindBytes = 0;
  /** Something has come. */
  #begun = false;
  /** A request has come. */
  #isPlain = false;

  constructor(options: PlainLaneOptions) {
    this.#options = options;
    const { socket, firstBytesTimeoutMs } = options;
    socket.setTimeout(firstBytesTimeoutMs);
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("timeout", this.#onTimeout);
    socket.on("error", this.#onError);
  }

  readonly #onData = (bytes: Buffer): void => {
    const { socket, connection, idleTimeoutMs } = this.#options;
    if (connection.running) {
      this.#behind.push(bytes);
      this.#behindBytes += bytes.length;
      if (this.#behindBytes > MAX_BEHIND_BYTES) socket.destroy();
      return;
    }
    const request = parsePlainRequest(bytes);
    if (request === undefined) {
      if (!this.#begun && ListenerHandshake.begins(bytes)) this.#prove(bytes);
      else this.#handOver(bytes);
      return;
    }
    if (!this.#isPlain) socket.setTimeout(idleTimeoutMs);
    this.#begun = true;
    this.#isPlain = true;
    this.#answer(request);
  };

  /** A member proves itself before its first request. */
  #prove(first: Buffer): void {
    const { socket, prove } = this.#options;
    this.#begun = true;
    socket.off("data", this.#onData);
    prove(first, (rest) => {
      socket.on("data", this.#onData).resume();
      if (rest.length > 0) this.#onData(rest);
    });
  }

  #answer({ url, headers }: PlainRequest): void {
    const { socket, connection, clock, answer } = this.#options;
    const reply = new PlainReply(socket, clock.nowMs(), this.#sent);
    const request = { method: "GET", url, httpVersion: "1.1", headers, isPlain: true };
    connection.answer(reply, () => answer(request, reply));
  }

  /** What came meanwhile was sent too early for this lane. */
  readonly #sent = (): void => {
    if (this.#behindBytes === 0) return;
    const bytes = Buffer.concat(this.#behind);
    this.#behind = [];
    this.#behindBytes = 0;
    if (this.#options.socket.writable) this.#handOver(bytes);
  };

  #handOver(bytes: Buffer): void {
    const { socket, handOver } = this.#options;
    socket.off("data", this.#onData);
    socket.off("end", this.#onEnd);
    socket.off("timeout", this.#onTimeout);
    socket.off("error", this.#onError);
    socket.setTimeout(0);
    socket.unshift(bytes);
    handOver();
  }

  /** As Node's server does it: what is written is sent, and then the connection ends. */
  readonly #onEnd = (): void => {
    this.#options.socket.end();
  };

  readonly #onTimeout = (): void => {
    this.#options.socket.destroy();
  };

  /** The socket's `close` follows, which is all that matters. */
  readonly #onError = (): void => {};
}
