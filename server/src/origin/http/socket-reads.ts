import type { IncomingMessage } from "node:http";
import type { OnReadOpts, Socket } from "node:net";
import { ParserBypass } from "./parser-bypass.js";
import { passingHead } from "./passing-head.js";

/** What one read of a socket takes at most where it isn't known where the bytes belong: as much as Node's own reads. */
const READ_BYTES = 64 << 10;

/** All of a body that the parser is told of where the body passes by it. */
const TOLD = Buffer.alloc(1);

const readsOf = new WeakMap<Socket, SocketReads>();

/**
 * The reads of a connection of an HTTP client. Node reads into new memory each time, and its HTTP parser copies the body out
 * of there into more: two bytes of garbage for each byte, and of memory outside its heap V8 collects the garbage every 32 MiB.
 *
 * Here each connection reads into one buffer of its own, again and again: the parser, which listens to the socket, has copied
 * what it wants before `push` returns, and the buffer is free for the next read; what the socket keeps instead, because nobody
 * listens just then, keeps its buffer.
 *
 * And the body of an answer that `expectRange` announced passes by the parser:
 * 1. Its head comes. The parser is given it with a Content-Length of one byte. What came of the body is set aside, and reading
 *    stops; Node begins it once more by itself, so that two reads are set aside at most.
 * 2. It is told where the body belongs: what was set aside is copied there, and the kernel writes the rest there.
 * 3. The last byte has landed. The parser is given its one byte: to Node the answer is complete now and the connection free.
 * Whatever happens to the connection in between happens to Node's request and response, as ever. A head that is not as plain
 * as stores send it, or that comes in pieces, is the parser's, with its body.
 */
export class SocketReads implements OnReadOpts {
  #socket: Socket | undefined;
  #buffer: Buffer | undefined;
  /** A range was asked for, and nothing of the answer has come. */
  #expecting = false;
  #bypass: ParserBypass | undefined;

  /** The reads of a connection; undefined where it isn't read so. */
  static of(socket: Socket): SocketReads | undefined {
    return readsOf.get(socket);
  }

  /** The connection that they are the reads of. Before anything is read. */
  set socket(socket: Socket) {
    this.#socket = socket;
    readsOf.set(socket, this);
  }

  /** The next answer on the connection is one to a GET of a range. */
  expectRange(): void {
    this.#expecting = true;
    this.#bypass = undefined;
  }

  /** The way of the body whose head the parser was given last; undefined where it goes through the parser. */
  get bypass(): ParserBypass | undefined {
    return this.#bypass;
  }

  /** Where the next read goes. */
  readonly buffer = (): Buffer => {
    this.#buffer ??= Buffer.allocUnsafeSlow(READ_BYTES);
    return this.#bypass?.room() ?? this.#buffer;
  };

  /** Takes what was read; false stops the reading until the socket asks for more. */
  readonly callback = (bytes: number, buffer: Uint8Array): boolean => {
    const received = Buffer.from(buffer.buffer, buffer.byteOffset, bytes);
    const bypass = this.#bypass;
    if (bypass === undefined) return this.#answered(received);
    if (buffer !== this.#buffer) {
      bypass.landed(bytes);
      return true;
    }
    const taken = bypass.take(received);
    return taken === bytes ? bypass.isLanding : this.#parse(received.subarray(taken));
  };

  /** Takes what may be the beginning of an answer. */
  #answered(bytes: Buffer): boolean {
    const head = this.#expecting ? passingHead(bytes) : undefined;
    this.#expecting = false;
    if (head === undefined) return this.#parse(bytes);
    const ends = { readOn: () => this.#socket!.resume(), onComplete: this.#onComplete };
    this.#bypass = new ParserBypass(head.contentLength, ends);
    this.#bypass.take(bytes.subarray(head.headBytes));
    this.#socket!.push(head.withLength(TOLD.length));
    return false;
  }

  readonly #onComplete = (): void => {
    this.#bypass = undefined;
    this.#socket!.push(TOLD);
  };

  #parse(bytes: Buffer): boolean {
    const readOn = this.#socket!.push(bytes);
    if (this.#socket!.readableLength > 0) this.#buffer = undefined;
    return readOn;
  }
}

const bypasses = new WeakMap<object, ParserBypass>();

/** To be called for a response in its event: where its body passes by the parser, its headers tell the true length again. */
export function noteBypass(response: IncomingMessage): void {
  const bypass = SocketReads.of(response.socket)?.bypass;
  if (bypass === undefined) return;
  response.headers["content-length"] = String(bypass.length);
  bypasses.set(response, bypass);
}

/** The way of a response's body past the parser; undefined where the response itself brings it. */
export function bypassOf(response: object): ParserBypass | undefined {
  return bypasses.get(response);
}
