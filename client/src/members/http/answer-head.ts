import {
  CacheError,
  type CacheStatus,
  ERROR_HEADER,
  type ErrorCode,
  errorTable,
  headersFromPairs,
  LACKS_HEADER,
  lackingFrom,
  TRIED_HEADER,
} from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import type { AnswerHead, CacheReport } from "../ports.js";

/** Maximum response header, including its blank line, bytes. A member's have about 400 bytes without further object headers. */
export const MAX_HEAD_BYTES = 16 << 10;

/**
 * The error for a response that is not from a member's HTTP listener: it violates HTTP/1.1, contains something that no listener
 * sends, or lacks something that every listener sends. HTTP is then not used for its sender.
 */
export class Unintelligible extends CacheError {
  constructor(message: string) {
    super("INTERNAL", message);
  }
}

/** The header of a member's response, checked as far as possible without the request. */
export interface AnswerHeading {
  /** 200 to 599. */
  readonly status: number;
  /** Bytes of the body. */
  readonly contentLength: number;
  /** Verbatim; undefined: no such header. */
  readonly contentRange: string | undefined;
  readonly etag: string | undefined;
  readonly contentType: string | undefined;
  /** Milliseconds since 1970; parsed on demand. */
  readonly lastModifiedMs: number | undefined;
  /** The lines that describe the object, as sent: all before the Content-Length. Equal for equal descriptions. */
  readonly objectLines: string;
  /** How the member's cache answered; parsed when it is asked for. */
  readonly cached: CacheReport | undefined;
  /** The member's error code; undefined: none, or an unknown one. */
  readonly errorCode: ErrorCode | undefined;
  /** Whether further origin requests are forbidden. */
  readonly isOriginTried: boolean;
  /** Whether another request may follow on the connection. */
  readonly keepAlive: boolean;
}

const STATUS_LINE = /^HTTP\/1\.1 ([2-5]\d\d) [\t\x20-\x7e\x80-\xff]*$/;
const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Fifteen digits are a petabyte, which a number represents exactly. */
const LENGTH = /^\d{1,15}$/;

/**
 * Parses a header, decoded as Latin-1, from its first byte to the end of its last line, without the blank line. Strict: only the
 * form of RFC 9112 that members send is accepted; anything else is Unintelligible. This excludes everything that could make the
 * end of the body ambiguous: Transfer-Encoding, several lengths, folded lines, line ends other than CRLF, interim responses.
 */
export function parseHead(text: string): AnswerHeading {
  const bodyAt = text.indexOf(BODY);
  const body = bodyAt < 0 ? null : BODY_LINES.exec(text.slice(bodyAt));
  if (body === null) return parseAll(text);
  const beginning = text.slice(0, bodyAt);
  const known = beginnings.peek(beginning);
  if (known !== undefined) return new RepeatedHead(known, body);
  const heading = parseAll(text);
  beginnings.set(beginning, heading);
  return heading;
}

const BODY = "\r\nContent-Length: ";

/** The lines of a response that differ between responses with bytes of the same object. */
const BODY_LINES =
  /^\r\nContent-Length: (\d{1,15})\r\nContent-Range: (bytes \d{1,15}-\d{1,15}\/\d{1,15})(?:\r\n(?:x-amz-request-id|Date|Age|X-Cache|Via): [\t\x20-\x7e\x80-\xff]*)*$/;

/** Maximum remembered headers; their keys are the lines before the Content-Length. */
const MOST_BEGINNINGS = 500;
const beginnings = new BoundedMap<string, AnswerHeading>(MOST_BEGINNINGS);

/** Parses a header that differs from a remembered one only in its BODY_LINES. */
class RepeatedHead implements AnswerHeading {
  readonly contentLength: number;
  readonly contentRange: string | undefined;
  readonly #earlier: AnswerHeading;
  readonly #bodyLines: string;

  constructor(earlier: AnswerHeading, [bodyLines, contentLength, contentRange]: RegExpExecArray) {
    this.#earlier = earlier;
    this.#bodyLines = bodyLines;
    this.contentLength = Number(contentLength);
    this.contentRange = contentRange;
  }

  get cached(): CacheReport | undefined {
    return cacheReportIn(this.#bodyLines);
  }

  get status(): number {
    return this.#earlier.status;
  }

  get etag(): string | undefined {
    return this.#earlier.etag;
  }

  get contentType(): string | undefined {
    return this.#earlier.contentType;
  }

  get lastModifiedMs(): number | undefined {
    return this.#earlier.lastModifiedMs;
  }

  get objectLines(): string {
    return this.#earlier.objectLines;
  }

  get errorCode(): ErrorCode | undefined {
    return this.#earlier.errorCode;
  }

  get isOriginTried(): boolean {
    return this.#earlier.isOriginTried;
  }

  get keepAlive(): boolean {
    return this.#earlier.keepAlive;
  }
}

function parseAll(text: string): AnswerHeading {
  const lineEnd = text.indexOf("\r\n");
  const status = STATUS_LINE.exec(lineEnd < 0 ? text : text.slice(0, lineEnd))?.[1];
  if (status === undefined) throw new Unintelligible("no status line of HTTP/1.1");
  const start = lineEnd < 0 ? text.length : lineEnd + 2;
  const known = new KnownHeaders(Number(status), text, start);
  for (let at = start; at < text.length; ) {
    const next = text.indexOf("\r\n", at);
    const end = next < 0 ? text.length : next;
    known.readLine(at, end);
    at = end + 2;
  }
  return known.complete();
}

/** Collects the relevant headers. */
class KnownHeaders implements AnswerHeading {
  readonly status: number;
  contentLength = 0;
  contentRange: string | undefined;
  etag: string | undefined;
  contentType: string | undefined;
  errorCode: ErrorCode | undefined;
  isOriginTried = false;
  keepAlive = true;
  #hasLength = false;
  #lastModified: string | undefined;
  readonly #text: string;
  /** Start of its lines, and end of those before the Content-Length. */
  readonly #start: number;
  #objectEnd = 0;
  #objectLines: string | undefined;

  constructor(status: number, text: string, start: number) {
    this.status = status;
    this.#text = text;
    this.#start = start;
  }

  get objectLines(): string {
    this.#objectLines ??= this.#text.slice(this.#start, this.#objectEnd);
    return this.#objectLines;
  }

  get lastModifiedMs(): number | undefined {
    return this.#lastModified === undefined ? undefined : parseDate(this.#lastModified);
  }

  get cached(): CacheReport | undefined {
    return cacheReportIn(this.#text);
  }

  readLine(start: number, end: number): void {
    const text = this.#text;
    const colon = text.indexOf(":", start);
    const name = colon < 0 || colon >= end ? "" : text.slice(start, colon).toLowerCase();
    if (!NAME.test(name)) throw new Unintelligible("a line that is no header");
    const value = trimmed(text, colon + 1, end);
    if (!VALUE.test(value)) throw new Unintelligible(`control characters in its ${name}`);
    this.#read(name, value, start);
  }

  complete(): AnswerHeading {
    if (!this.#hasLength) throw new Unintelligible("no Content-Length");
    return this;
  }

  #read(name: string, value: string, lineStart: number): void {
    switch (name) {
      case "content-length":
        if (this.#hasLength) throw twice(name);
        if (!LENGTH.test(value)) throw new Unintelligible("a Content-Length that is no number");
        this.#hasLength = true;
        this.#objectEnd = lineStart;
        this.contentLength = Number(value);
        break;
      case "content-range":
        if (this.contentRange !== undefined) throw twice(name);
        this.contentRange = value;
        break;
      case "etag":
        if (this.etag !== undefined) throw twice(name);
        this.etag = value;
        break;
      case "connection":
        if (/(?:^|,)[\t ]*close[\t ]*(?:,|$)/i.test(value)) this.keepAlive = false;
        break;
      case "content-type":
        this.contentType ??= value;
        break;
      case "last-modified":
        this.#lastModified ??= value;
        break;
      case ERROR_HEADER:
        if (value in errorTable) this.errorCode = value as ErrorCode;
        break;
      case TRIED_HEADER:
        this.isOriginTried = value === "1";
        break;
      case "transfer-encoding":
        throw new Unintelligible(`a ${name}`);
    }
  }
}

const CACHE_LINES = /\r\nX-Cache: (HIT|MISS|STALE)(?:\r\nAge: (\d{1,9}))?(?=\r\n|$)/;

/** How the member's cache answered, as members write it. */
function cacheReportIn(lines: string): CacheReport | undefined {
  const match = CACHE_LINES.exec(lines);
  if (match === null) return undefined;
  return { status: match[1] as CacheStatus, ageSeconds: match[2] === undefined ? undefined : Number(match[2]) };
}

/** Parses the headers of the object, and what they lack, from the lines that describe it. */
export function objectHeadersIn(objectLines: string): Pick<AnswerHead, "headers" | "lacks"> {
  const pairs: [string, string][] = [];
  let lacks = "";
  for (const line of objectLines.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon < 0) continue;
    const [name, value] = [line.slice(0, colon).toLowerCase(), line.slice(colon + 1)];
    if (name === LACKS_HEADER) lacks = value.trim();
    else pairs.push([name, value]);
  }
  const { headers } = headersFromPairs(pairs);
  return { headers, ...lackingFrom(lacks) };
}

/** The last parsed date, because consecutive reads are often of the same object. */
let parsed: { readonly text: string; readonly ms: number | undefined } = { text: "", ms: undefined };

function parseDate(text: string): number | undefined {
  if (parsed.text === text) return parsed.ms;
  const ms = Date.parse(text);
  parsed = { text, ms: Number.isNaN(ms) ? undefined : ms };
  return parsed.ms;
}

function twice(name: string): Unintelligible {
  return new Unintelligible(`two of ${name}`);
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
const BEGINNING = Buffer.from("HTTP/1.1 ");

/** A header, and the number of the last received bytes that belong to it. */
export interface WholeHead {
  readonly heading: AnswerHeading;
  readonly headBytes: number;
}

/** Assembles a header from received pieces. Usually it arrives in one piece, which is parsed in place. */
export class HeadGathering {
  #gathered: Buffer | undefined;
  #gatheredBytes = 0;

  /**
   * Takes the next bytes, which are not kept. Returns the header when it is complete; undefined: more bytes are needed. Throws
   * Unintelligible for an invalid or too long header.
   */
  take(bytes: Buffer): WholeHead | undefined {
    if (this.#gathered === undefined) {
      const end = bytes.indexOf(BLANK_LINE, 0, "latin1");
      if (end >= 0) return { heading: parse(bytes, end), headBytes: end + BLANK_LINE.length };
    }
    return this.#gather(bytes);
  }

  #gather(bytes: Buffer): WholeHead | undefined {
    this.#gathered ??= Buffer.allocUnsafe(MAX_HEAD_BYTES);
    const before = this.#gatheredBytes;
    this.#gatheredBytes += bytes.copy(this.#gathered, before);
    const gathered = this.#gathered.subarray(0, this.#gatheredBytes);
    // Other protocols may never send a blank line, so they are rejected by their first bytes.
    if (before < BEGINNING.length && !beginsAlike(gathered)) throw new Unintelligible("no status line of HTTP/1.1");
    // The blank line may begin in the last three bytes of the previous piece.
    const end = gathered.indexOf(BLANK_LINE, Math.max(0, before - 3), "latin1");
    if (end >= 0) return { heading: parse(gathered, end), headBytes: end + BLANK_LINE.length - before };
    if (this.#gatheredBytes === MAX_HEAD_BYTES) throw tooLong();
    return undefined;
  }
}

function beginsAlike(bytes: Buffer): boolean {
  const length = Math.min(bytes.length, BEGINNING.length);
  return bytes.compare(BEGINNING, 0, length, 0, length) === 0;
}

function parse(bytes: Buffer, end: number): AnswerHeading {
  if (end + BLANK_LINE.length > MAX_HEAD_BYTES) throw tooLong();
  return parseHead(bytes.toString("latin1", 0, end));
}

function tooLong(): Unintelligible {
  return new Unintelligible(`a head of more than ${MAX_HEAD_BYTES} bytes`);
}
