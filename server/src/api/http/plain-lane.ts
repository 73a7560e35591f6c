import type { Socket } from "node:net";
import { ListenerHandshake } from "@frontcache/client/members";
import type { Clock } from "../../runtime/clock.js";
import type { DirectSocket } from "../sending/direct-socket.js";
import type { Connection } from "./connection.js";
import type { Reply, Request } from "./http-context.js";
import { PlainReply, type ReplyConnection } from "./plain-reply.js";
import type { PlainRequest } from "./plain-request.js";
import { mayRepeat, RepeatedRequest } from "./repeated-request.js";
import { type Reads, readShared } from "./shared-reads.js";

/** Maximum bytes that may arrive during a response. More bytes end the connection. */
const MAX_BEHIND_BYTES = 64 << 10;

export interface PlainLaneOptions {
  readonly socket: Socket;
  /** Sends past the socket's stream. Undefined: impossible. */
  readonly direct: DirectSocket | undefined;
  readonly connection: Connection;
  readonly clock: Clock;
  /** Timeout of the first bytes of a new connection. */
  readonly firstBytesTimeoutMs: number;
  /** Timeout of a connection without progress after that. */
  readonly idleTimeoutMs: number;
  /** As `Site.parsePlain`. */
  parse(bytes: Buffer): PlainRequest | undefined;
  answer(request: Request, reply: Reply): void;
  /** Runs a member's handshake, beginning with these bytes; then calls back with the bytes after it. */
  prove(first: Buffer, then: (rest: Buffer) => void): void;
  /** Passes the socket to Node's HTTP server, with the received bytes unshifted. */
  handOver(): void;
}

/**
 * The start of every connection. Simple GETs and HEADs, as frontcache's clients, simple tools and S3's SDKs send them, each in one piece and
 * after the response to the last one, are answered here, which takes about half the CPU time of Node's HTTP server (measured: 11 us
 * per request of 4 KiB including the write, instead of 18). At the first other bytes, the whole connection is passed
 * to Node's HTTP server, which is the only full HTTP parser.
 */
export class PlainLane {
  readonly #options: PlainLaneOptions;
  readonly #reads: Reads;
  readonly #replies: ReplyConnection;

  /** The path of the last request, and the last request if it was of the same object as the one before. */
  #lastUrl: string | undefined;
  #repeated: RepeatedRequest | undefined;
  #behind: Buffer[] = [];
  #behindBytes = 0;
  /** Whether bytes have arrived. */
  #begun = false;
  /** Whether a request has arrived. */
  #isPlain = false;

  constructor(options: PlainLaneOptions) {
    this.#options = options;
    const { socket, direct, clock, firstBytesTimeoutMs } = options;
    this.#replies = { socket, direct, clock, sent: () => this.#sent() };
    socket.setTimeout(firstBytesTimeoutMs);
    this.#reads = readShared(socket, this.#onBytes);
    socket.on("end", this.#onEnd);
    socket.on("timeout", this.#onTimeout);
    socket.on("error", this.#onError);
  }

  /** Takes the first `count` bytes of a buffer, which are valid until it returns. */
  readonly #onBytes = (buffer: Buffer, count: number): void => {
    if (this.#options.connection.running) {
      this.#keepBehind(buffer.subarray(0, count));
      return;
    }
    const repeated = this.#repeated?.parse(buffer, count);
    if (repeated === undefined) this.#take(buffer.subarray(0, count));
    else this.#answer(repeated);
  };

  /** Keeps a copy of bytes that arrive during a response. */
  #keepBehind(bytes: Buffer): void {
    this.#behind.push(Buffer.from(bytes));
    this.#behindBytes += bytes.length;
    if (this.#behindBytes > MAX_BEHIND_BYTES) this.#options.socket.destroy();
  }

  /** Takes the bytes of a request that repeats none, or of something else. */
  #take(bytes: Buffer): void {
    const { socket, idleTimeoutMs } = this.#options;
    const request = this.#parse(bytes);
    if (request === undefined) {
      if (!this.#begun && ListenerHandshake.begins(bytes)) this.#prove(Buffer.from(bytes));
      else this.#handOver(Buffer.from(bytes));
      return;
    }
    if (!this.#isPlain) socket.setTimeout(idleTimeoutMs);
    this.#begun = true;
    this.#isPlain = true;
    this.#answer(request);
  }

  #parse(bytes: Buffer): PlainRequest | undefined {
    const request = this.#options.parse(bytes);
    const isAgain = request !== undefined && request.url === this.#lastUrl && mayRepeat(request);
    this.#repeated = isAgain ? new RepeatedRequest(bytes, request) : undefined;
    this.#lastUrl = request?.url;
    return request;
  }

  /** A member proves its identity before its first request. */
  #prove(first: Buffer): void {
    const { socket, prove } = this.#options;
    this.#begun = true;
    this.#reads.toStream();
    prove(first, (rest) => {
      this.#reads.fromStream();
      socket.resume();
      if (rest.length > 0) this.#onBytes(rest, rest.length);
    });
  }

  #answer(request: PlainRequest): void {
    const { connection, answer } = this.#options;
    const reply = new PlainReply(this.#replies, request.method === "HEAD");
    connection.answer(reply, () => answer(request, reply));
  }

  /**
   * Continues after a response, with the bytes that have arrived meanwhile. With TLS they may be the next request of a client that has the
   * whole response already: its last write is over only in the next iteration of the event loop. Several requests leave this lane.
   */
  #sent(): void {
    if (this.#behindBytes === 0) return;
    const bytes = Buffer.concat(this.#behind);
    this.#behind = [];
    this.#behindBytes = 0;
    if (this.#options.socket.writable) this.#onBytes(bytes, bytes.length);
  }

  #handOver(bytes: Buffer): void {
    const { socket, handOver } = this.#options;
    this.#reads.toStream();
    socket.off("end", this.#onEnd);
    socket.off("timeout", this.#onTimeout);
    socket.off("error", this.#onError);
    socket.setTimeout(0);
    socket.unshift(bytes);
    handOver();
  }

  /** Ends the connection after the written bytes, like Node's server. */
  readonly #onEnd = (): void => {
    this.#options.socket.end();
  };

  readonly #onTimeout = (): void => {
    this.#options.socket.destroy();
  };

  /** Ignores an error; the socket's `close` event follows. */
  readonly #onError = (): void => {};
}
