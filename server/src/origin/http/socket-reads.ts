import type { IncomingMessage } from "node:http";
import type { OnReadOpts, Socket } from "node:net";
import { bypassableHead, ParserBypass } from "./parser-bypass.js";

/** The size of a read whose landing is unknown: as large as Node's own reads. */
const READ_BYTES = 64 << 10;

/** The body that the parser gets in place of one that bypasses it. */
const STAND_IN = Buffer.alloc(1);

const readsOf = new WeakMap<Socket, SocketReads>();

/**
 * The reads of an HTTP client's connection. Node reads into new memory each time, and its HTTP parser copies the body from there
 * into more new memory: two bytes of garbage for each byte. V8 collects this garbage, which is outside its heap, every 32 MiB.
 *
 * SocketReads reads into one buffer per connection instead. The parser, which listens to the socket, has copied what it needs
 * before `push` returns, so the buffer is free for the next read. If nobody listens, the socket keeps the buffer, and the next
 * read gets a new one.
 *
 * The body of an answer that `expectRange` announced bypasses the parser:
 * 1. Its head arrives. The parser gets the head with a Content-Length of one byte. Received bytes of the body are kept, and
 *    reading stops; Node starts it once more by itself, so at most two reads are kept.
 * 2. The landing becomes known. The kept bytes are copied there, and the kernel writes the rest there.
 * 3. The last byte has landed. The parser gets its one byte: now the answer is complete for Node, and the connection is free.
 * Node's request and response see all events of the connection, as without a bypass. A head in another form than stores send, or
 * in several pieces, goes through the parser, and so does its body.
 */
export class SocketReads implements OnReadOpts {
  #socket: Socket | undefined;
  #buffer: Buffer | undefined;
  /** A range was requested, and nothing of its answer has arrived. */
  #expecting = false;
  #bypass: ParserBypass | undefined;

  /** The reads of a connection; undefined for connections of other agents. */
  static of(socket: Socket): SocketReads | undefined {
    return readsOf.get(socket);
  }

  /** The connection; must be set before the first read. */
  set socket(socket: Socket) {
    this.#socket = socket;
    readsOf.set(socket, this);
  }

  /** The next answer on the connection is for a GET of a range. */
  expectRange(): void {
    this.#expecting = true;
    this.#bypass = undefined;
  }

  /** The bypass of the current answer's body; undefined if the body goes through the parser. */
  get bypass(): ParserBypass | undefined {
    return this.#bypass;
  }

  /** Where the next read goes. */
  readonly buffer = (): Buffer => {
    this.#buffer ??= Buffer.allocUnsafeSlow(READ_BYTES);
    return this.#bypass?.room() ?? this.#buffer;
  };

  /** Handles received bytes; false stops reading until the socket resumes. */
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

  /** Handles bytes that may be the start of an answer. */
  #answered(bytes: Buffer): boolean {
    const head = this.#expecting ? bypassableHead(bytes) : undefined;
    this.#expecting = false;
    if (head === undefined) return this.#parse(bytes);
    const connection = { resume: () => this.#socket!.resume(), onComplete: this.#onComplete };
    this.#bypass = new ParserBypass(head.contentLength, connection);
    this.#bypass.take(bytes.subarray(head.headBytes));
    this.#socket!.push(head.withLength(STAND_IN.length));
    return false;
  }

  readonly #onComplete = (): void => {
    this.#bypass = undefined;
    this.#socket!.push(STAND_IN);
  };

  #parse(bytes: Buffer): boolean {
    const wantsMore = this.#socket!.push(bytes);
    if (this.#socket!.readableLength > 0) this.#buffer = undefined;
    return wantsMore;
  }
}

const bypasses = new WeakMap<object, ParserBypass>();

/** Must be called in the `response` event. If the response's body bypasses the parser, its true length is set in the headers. */
export function noteBypass(response: IncomingMessage): void {
  const bypass = SocketReads.of(response.socket)?.bypass;
  if (bypass === undefined) return;
  response.headers["content-length"] = String(bypass.length);
  bypasses.set(response, bypass);
}

/** The bypass of a response's body; undefined if the body comes from the response itself. */
export function bypassOf(response: object): ParserBypass | undefined {
  return bypasses.get(response);
}
