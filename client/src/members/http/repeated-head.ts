import type { CacheStatus, ErrorCode } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import type { RepeatedHead } from "../../http/response-reader.js";
import type { CacheReport } from "../ports.js";
import { type AnswerHeading, type AnswerRange, MAX_HEAD_BYTES, possibleRange } from "./answer-head.js";

/** A head of a response with bytes of an object. */
interface Earlier {
  /** Its bytes from the first one to the end of OBJECT_END. */
  readonly bytes: Buffer;
  readonly heading: AnswerHeading;
}

/** Maximum objects whose last head is remembered. */
const MOST_OBJECTS = 500;

/** What follows the lines that describe the object. */
const OBJECT_END = Buffer.from("\r\nContent-Length: ");
const CONTENT_RANGE = Buffer.from("\r\nContent-Range: bytes ");
const X_CACHE = Buffer.from("X-Cache: ");
const AGE = Buffer.from("\r\nAge: ");
const LINE_END = Buffer.from("\r\n");
/** Further lines, whose values mean nothing to a client. */
const OTHER_LINES = ["x-amz-request-id: ", "Date: ", "Via: "].map((name) => Buffer.from(name));
const STATUSES: readonly (readonly [Buffer, CacheStatus])[] = (["HIT", "MISS", "STALE"] as const).map((status) => [
  Buffer.from(status),
  status,
]);

const DASH = 0x2d;
const SLASH = 0x2f;
const ZERO = 0x30;
/** As in Content-Length: a petabyte, which a number represents exactly. */
const MAX_DIGITS = 15;
const MAX_AGE_DIGITS = 9;

/**
 * Recognises heads from their bytes, without making text of them. The responses with bytes of an object begin with the same lines; only
 * those from the Content-Length on differ, and members write them in one form. Any other head is left to `parseHead`, which parses
 * it to the same.
 */
export class RepeatedHeads {
  readonly #earlier = new BoundedMap<string, Earlier>(MOST_OBJECTS);

  /**
   * Remembers the head of a response with bytes of the object, if its lines from the Content-Length on are in the form of members: then
   * all else that it says stands before them. `text` is the head in Latin-1, without the blank line.
   */
  remember(url: string, text: string, heading: AnswerHeading): void {
    const bytes = Buffer.from(`${text}\r\n\r\n`, "latin1");
    const at = bytes.indexOf(OBJECT_END);
    if (at < 0) return;
    const earlier = { bytes: Buffer.from(bytes.subarray(0, at + OBJECT_END.length)), heading };
    if (parseLike(earlier, bytes, bytes.length) !== undefined) this.#earlier.set(url, earlier);
  }

  /** Parses a head at the start of the buffer, if it is complete within the first `end` bytes, and resembles the object's last one. */
  parse(url: string, bytes: Buffer, end: number): RepeatedHead<AnswerHeading> | undefined {
    const earlier = this.#earlier.peek(url);
    return earlier === undefined ? undefined : parseLike(earlier, bytes, end);
  }
}

function parseLike(earlier: Earlier, bytes: Buffer, end: number): RepeatedHead<AnswerHeading> | undefined {
  const line = new HeadBytes(bytes, Math.min(end, MAX_HEAD_BYTES));
  if (!line.skip(earlier.bytes)) return undefined;
  const contentLength = line.number(MAX_DIGITS);
  if (contentLength < 0 || !line.skip(CONTENT_RANGE)) return undefined;
  const first = line.number(MAX_DIGITS);
  if (first < 0 || !line.skipByte(DASH)) return undefined;
  const last = line.number(MAX_DIGITS);
  if (last < 0 || !line.skipByte(SLASH)) return undefined;
  const objectSize = line.number(MAX_DIGITS);
  if (objectSize < 0 || !line.skip(LINE_END)) return undefined;
  const cached = line.skip(X_CACHE) ? line.report() : "none";
  if (cached === undefined || !line.skipOthers()) return undefined;
  const range = possibleRange(first, last, objectSize);
  const report = cached === "none" ? undefined : cached;
  return { head: new RepeatedHeading(earlier.heading, contentLength, range, report), headBytes: line.at };
}

/** The bytes of a head, read from left to right. */
class HeadBytes {
  readonly #bytes: Buffer;
  readonly #end: number;
  at = 0;

  constructor(bytes: Buffer, end: number) {
    this.#bytes = bytes;
    this.#end = end;
  }

  /** Skips these bytes. Returns false if others follow. */
  skip(expected: Buffer): boolean {
    const end = this.at + expected.length;
    if (end > this.#end || !isEqual(this.#bytes, this.at, expected)) return false;
    this.at = end;
    return true;
  }

  skipByte(expected: number): boolean {
    if (this.at >= this.#end || this.#bytes[this.at] !== expected) return false;
    this.at++;
    return true;
  }

  /** Reads a decimal number; -1: none, or too many digits. */
  number(maxDigits: number): number {
    const start = this.at;
    let value = 0;
    for (; this.at < this.#end; this.at++) {
      const digit = this.#bytes[this.at]! - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    const digits = this.at - start;
    return digits === 0 || digits > maxDigits ? -1 : value;
  }

  /** Reads how the member's cache answered, behind `X-Cache: `, with the age that may follow. Undefined: in another form. */
  report(): CacheReport | undefined {
    const known = STATUSES.find(([name]) => this.skip(name));
    if (known === undefined) return undefined;
    const ageSeconds = this.skip(AGE) ? this.number(MAX_AGE_DIGITS) : undefined;
    if (ageSeconds === -1 || !this.skip(LINE_END)) return undefined;
    return { status: known[1], ageSeconds };
  }

  /** Skips further lines and the blank line. Returns false if others follow, or the head is not complete. */
  skipOthers(): boolean {
    while (!this.skip(LINE_END)) {
      if (!OTHER_LINES.some((name) => this.skip(name))) return false;
      while (this.at < this.#end && isPrintable(this.#bytes[this.at]!)) this.at++;
      if (!this.skip(LINE_END)) return false;
    }
    return true;
  }
}

/** The native comparison pays for a whole head. */
const LONG_BYTES = 32;

function isEqual(bytes: Buffer, start: number, expected: Buffer): boolean {
  if (expected.length > LONG_BYTES) return bytes.compare(expected, 0, expected.length, start, start + expected.length) === 0;
  for (let at = 0; at < expected.length; at++) if (bytes[start + at] !== expected[at]) return false;
  return true;
}

function isPrintable(byte: number): boolean {
  return (byte >= 0x20 && byte !== 0x7f) || byte === 0x09;
}

/** A head that differs from an earlier one only behind the lines that describe the object. */
class RepeatedHeading implements AnswerHeading {
  readonly contentLength: number;
  readonly range: AnswerRange | undefined;
  readonly cached: CacheReport | undefined;
  readonly #earlier: AnswerHeading;

  constructor(earlier: AnswerHeading, contentLength: number, range: AnswerRange | undefined, cached: CacheReport | undefined) {
    this.#earlier = earlier;
    this.contentLength = contentLength;
    this.range = range;
    this.cached = cached;
  }

  get isChunked(): false {
    return false;
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
