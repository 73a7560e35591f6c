/** An error for a response that violates HTTP/1.1, or contains something that could make the end of its body ambiguous. */
export class InvalidResponse extends Error {
  readonly code = "ERR_HTTP_RESPONSE";
}

/** The part of a head that determines the end of its body. */
export interface ResponseFraming {
  readonly status: number;
  /** Bytes of the body, or those that it would have in the answer to a HEAD; undefined: the head does not say. */
  readonly contentLength: number | undefined;
  /** Whether the body consists of chunks, of which the last one is empty. */
  readonly isChunked: boolean;
  /** Whether another request may follow on the connection after a body that ends before the connection does. */
  readonly keepAlive: boolean;
}

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
/** Any number of header lines, each after a line end. Its match takes time linear in the length, because no part can match twice. */
const HEADER_LINES = /^(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*)*$/;
/** Fifteen digits are a petabyte, which a number represents exactly. */
const LENGTH = /^\d{1,15}$/;
const CLOSE = /(?:^|,)[\t ]*close[\t ]*(?:,|$)/i;
/** A connection is never switched to another protocol, because no request asks for it. */
const SWITCHING_PROTOCOLS = 101;

/**
 * The head of a response: its status line and headers, in the form of RFC 9112 alone. Everything that could make the end of the body
 * ambiguous is invalid: a Content-Length that is repeated, or accompanied by a Transfer-Encoding; a Transfer-Encoding other than
 * chunked; folded lines; line ends other than CRLF; control characters.
 */
export class ResponseHead implements ResponseFraming {
  readonly status: number;
  readonly contentLength: number | undefined;
  readonly isChunked: boolean;
  readonly keepAlive: boolean;
  readonly #names: readonly string[];
  readonly #values: readonly string[];

  /**
   * Parses a head, decoded as Latin-1, from its first byte to the end of its last line, without the blank line. Throws
   * InvalidResponse.
   */
  constructor(text: string) {
    const lineEnd = text.indexOf("\r\n");
    const headersAt = lineEnd < 0 ? text.length : lineEnd;
    const [line, minor, status] = STATUS_LINE.exec(text.slice(0, headersAt)) ?? [];
    if (line === undefined) throw new InvalidResponse("no status line of HTTP/1.1");
    this.status = Number(status);
    if (this.status === SWITCHING_PROTOCOLS) throw new InvalidResponse("a switch to another protocol");
    checkHeaderLines(text.slice(headersAt));
    const names: string[] = [];
    const values: string[] = [];
    let contentLength: number | undefined;
    let isChunked = false;
    let keepAlive = minor === "1";
    for (let at = headersAt; at < text.length; ) {
      const colon = text.indexOf(":", at);
      const next = text.indexOf("\r\n", colon);
      const end = next < 0 ? text.length : next;
      const name = text.slice(at + 2, colon).toLowerCase();
      const value = trimmed(text, colon + 1, end);
      names.push(name);
      values.push(value);
      if (name === "content-length") {
        if (contentLength !== undefined) throw new InvalidResponse(`two of ${name}`);
        if (!LENGTH.test(value)) throw new InvalidResponse("a Content-Length that is no number");
        contentLength = Number(value);
      } else if (name === "transfer-encoding") {
        if (isChunked || value.toLowerCase() !== "chunked") throw new InvalidResponse("an unknown transfer coding");
        isChunked = true;
      } else if (name === "connection" && CLOSE.test(value)) keepAlive = false;
      at = end;
    }
    if (isChunked && contentLength !== undefined) throw new InvalidResponse("a Content-Length and a Transfer-Encoding");
    if (isChunked && minor === "0") throw new InvalidResponse("chunks of HTTP/1.0");
    this.contentLength = contentLength;
    this.isChunked = isChunked;
    this.keepAlive = keepAlive;
    this.#names = names;
    this.#values = values;
  }

  /** Returns the value of a header by its name in lower case: its values, joined by a comma, if there are several; undefined: none. */
  header(name: string): string | undefined {
    const at = this.#names.indexOf(name);
    if (at < 0) return undefined;
    let value = this.#values[at]!;
    for (let next = this.#names.indexOf(name, at + 1); next >= 0; next = this.#names.indexOf(name, next + 1)) {
      value += `, ${this.#values[next]}`;
    }
    return value;
  }

  /** Returns whether there are several headers of this name. */
  hasSeveral(name: string): boolean {
    return this.#names.indexOf(name) !== this.#names.lastIndexOf(name);
  }

  /** The headers of which `accepts` accepts the name, which is in lower case, in order. */
  select(accepts: (name: string) => boolean): (readonly [name: string, value: string])[] {
    const selected: (readonly [string, string])[] = [];
    for (let at = 0; at < this.#names.length; at++) {
      const name = this.#names[at]!;
      if (accepts(name)) selected.push([name, this.#values[at]!]);
    }
    return selected;
  }

  /** All headers by their names in lower case, in order. */
  *[Symbol.iterator](): Generator<readonly [name: string, value: string]> {
    for (const [at, name] of this.#names.entries()) yield [name, this.#values[at]!];
  }

  /** All headers by their names in lower case; several of one name are joined by a comma. */
  toRecord(): Record<string, string> {
    const record: Record<string, string> = Object.create(null);
    for (const [at, name] of this.#names.entries()) {
      record[name] = name in record ? `${record[name]}, ${this.#values[at]}` : this.#values[at]!;
    }
    return record;
  }
}

/** Checks lines of headers or trailers, each after a line end. */
export function checkHeaderLines(lines: string): void {
  if (!HEADER_LINES.test(lines)) throw new InvalidResponse("a line that is no header, or control characters in one");
}

function trimmed(text: string, start: number, end: number): string {
  let [first, last] = [start, end];
  while (first < last && isBlank(text.charCodeAt(first))) first++;
  while (first < last && isBlank(text.charCodeAt(last - 1))) last--;
  return text.slice(first, last);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

const BLANK_LINE = "\r\n\r\n";
const BEGINNING = Buffer.from("HTTP/1.");

/** A head as text, without its blank line, and the number of the last received bytes that belong to it. */
export interface HeadText {
  readonly text: string;
  readonly headBytes: number;
}

/** Returns the head at the start of received bytes if it is complete. Throws InvalidResponse if it is too long. */
export function headAt(bytes: Buffer, start: number, maxBytes: number): HeadText | undefined {
  const end = bytes.indexOf(BLANK_LINE, start, "latin1");
  if (end < 0) return undefined;
  const headBytes = end + BLANK_LINE.length - start;
  if (headBytes > maxBytes) throw tooLong(maxBytes);
  return { text: bytes.toString("latin1", start, end), headBytes };
}

/** Assembles a head that arrives in several pieces. */
export class HeadGathering {
  readonly #maxBytes: number;
  #gathered = Buffer.alloc(0);
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes the next bytes, which are not kept. Returns the head when it is complete; undefined: more bytes are needed. Throws
   * InvalidResponse if it is too long, or does not begin as a response of HTTP/1.
   */
  take(bytes: Buffer): HeadText | undefined {
    const before = this.#bytes;
    this.#reserve(Math.min(before + bytes.length, this.#maxBytes));
    this.#bytes += bytes.copy(this.#gathered, before, 0, this.#maxBytes - before);
    const gathered = this.#gathered.subarray(0, this.#bytes);
    // Other protocols may never send a blank line, so they are rejected by their first bytes.
    if (before < BEGINNING.length && !beginsAlike(gathered)) throw new InvalidResponse("no status line of HTTP/1.1");
    // The blank line may begin in the last three bytes of the previous piece.
    const end = gathered.indexOf(BLANK_LINE, Math.max(0, before - 3), "latin1");
    if (end >= 0) return { text: gathered.toString("latin1", 0, end), headBytes: end + BLANK_LINE.length - before };
    if (this.#bytes === this.#maxBytes) throw tooLong(this.#maxBytes);
    return undefined;
  }

  /** Doubles the memory when it is full, so that a head byte by byte is not copied as often as it has bytes. */
  #reserve(bytes: number): void {
    if (bytes <= this.#gathered.length) return;
    const larger = Buffer.allocUnsafe(Math.min(this.#maxBytes, Math.max(bytes, 2 * this.#gathered.length, 1 << 10)));
    this.#gathered.copy(larger, 0, 0, this.#bytes);
    this.#gathered = larger;
  }
}

function beginsAlike(bytes: Buffer): boolean {
  const length = Math.min(bytes.length, BEGINNING.length);
  return bytes.compare(BEGINNING, 0, length, 0, length) === 0;
}

function tooLong(maxBytes: number): InvalidResponse {
  return new InvalidResponse(`a head of more than ${maxBytes} bytes`);
}
