import { type Landing, landCopy } from "../origin.js";

/** The head of an answer whose body may bypass the HTTP parser. */
export interface BypassableHead {
  /** Bytes of the head, with its blank line. */
  readonly headBytes: number;
  /** Bytes of the body. */
  readonly contentLength: number;
  /** The head with another Content-Length. */
  withLength(contentLength: number): Buffer;
}

const BLANK_LINE = "\r\n\r\n";
const START = "HTTP/1.1 206 ";

/** Fifteen digits are a petabyte, and exact as a number. */
const CONTENT_LENGTH = /(\r\nContent-Length:[ \t]*)(\d{1,15})(?=[ \t]*\r\n)/i;

/** Anything that could end the body elsewhere, or give a line a second meaning. */
const AMBIGUOUS = /\r\n(?:transfer-encoding|content-length[\s\S]*\r\ncontent-length|[ \t])|\r(?!\n)|(?<!\r)\n|\0/i;

/**
 * Recognizes a head at the start of `bytes` whose body may bypass the parser: complete, status 206, exactly one Content-Length,
 * which is more than the received bytes of the body. Undefined for any other head: Node's parser reads or rejects it, with its
 * body. This is not a parser: Node's parser still reads each recognized head, and everything else in it is checked there.
 */
export function bypassableHead(bytes: Buffer): BypassableHead | undefined {
  if (bytes.toString("latin1", 0, START.length) !== START) return undefined;
  const end = bytes.indexOf(BLANK_LINE, 0, "latin1");
  if (end < 0) return undefined;
  const headBytes = end + BLANK_LINE.length;
  const head = bytes.toString("latin1", 0, headBytes);
  const [line, name = "", digits] = CONTENT_LENGTH.exec(head) ?? [];
  const contentLength = Number(digits);
  if (line === undefined || AMBIGUOUS.test(head) || contentLength <= bytes.length - headBytes) return undefined;
  const withLength = (length: number): Buffer => Buffer.from(head.replace(line, `${name}${length}`), "latin1");
  return { headBytes, contentLength, withLength };
}

/** What a bypass does with its connection. */
export interface BypassConnection {
  /** Continues reading, because the landing is known now. */
  readonly resume: () => void;
  /** The last byte has landed. */
  readonly onComplete: () => void;
}

/** The body of one answer that bypasses the HTTP parser: the kernel writes it into its landing, without a copy in new memory. */
export class ParserBypass {
  /** Bytes of the body, more than 0. */
  readonly length: number;
  readonly #connection: BypassConnection;
  /** Bytes received before `land`, usually together with the head. */
  readonly #early: Buffer[] = [];
  #earlyBytes = 0;
  #landedBytes = 0;
  #landing: Landing | undefined;

  constructor(length: number, connection: BypassConnection) {
    this.length = length;
    this.#connection = connection;
  }

  /** Whether bytes may arrive: the landing is known. */
  get isLanding(): boolean {
    return this.#landing !== undefined;
  }

  /** Where the next bytes go, reported by `landed`; undefined: they must be given to `take`. */
  room(): Buffer | undefined {
    const left = this.length - this.#landedBytes;
    return left === 0 ? undefined : this.#landing?.room().subarray(0, left);
  }

  /** The first `bytes` of the room are written. */
  landed(bytes: number): void {
    this.#landedBytes += bytes;
    this.#landing?.landed(bytes);
    if (this.#landedBytes === this.length) this.#connection.onComplete();
  }

  /** Copies bytes that were received into other memory. Returns how many of them belong to the body. */
  take(bytes: Buffer): number {
    const own = bytes.subarray(0, this.length - this.#landedBytes - this.#earlyBytes);
    if (this.isLanding) this.#copy(own);
    else {
      this.#early.push(Buffer.from(own));
      this.#earlyBytes += own.length;
    }
    return own.length;
  }

  /** Writes all bytes into the landing; once. */
  land(landing: Landing): void {
    this.#landing = landing;
    this.#earlyBytes = 0;
    for (const bytes of this.#early.splice(0)) this.#copy(bytes);
    this.#connection.resume();
  }

  /** Nothing is written into the landing's room any more. */
  cut(): void {
    this.#landing = undefined;
  }

  #copy(bytes: Buffer): void {
    const counting = { room: () => this.room()!, landed: (count: number) => this.landed(count) };
    landCopy(bytes, counting, () => !this.isLanding);
  }
}
