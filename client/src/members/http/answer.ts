import { CacheError, type LackingHeaders, type ObjectHeaders, versionOfEntityTag } from "@frontcache/proto";
import {
  type AnswerHead,
  type AnswerSource,
  type CacheReport,
  type ReadRequest,
  type ReadTarget,
  Unreachable,
} from "../ports.js";
import { type AnswerHeading, HeadGathering, objectHeadersIn, Unintelligible, type WholeHead } from "./answer-head.js";

/** The request of a response. */
export interface AnswerTo {
  readonly request: ReadRequest;
  readonly target: ReadTarget;
  /** `host:port` of the member's HTTP listener, for messages. */
  readonly member: string;
}

/**
 * Receives one response: first a header, in any pieces, then the body. `room` is the buffer of the body's next bytes, so
 * the socket can receive them there; bytes that arrive with the header are copied. Errors are thrown, and the connection
 * must then be closed, because the end of the response is unknown.
 */
export class HttpAnswer {
  readonly #to: AnswerTo;
  readonly #source: AnswerSource;
  readonly #head = new HeadGathering();
  #begun = false;
  #heading: AnswerHeading | undefined;
  #isError = false;
  #errorBody: Buffer | undefined;
  #bodyBytes = 0;
  #failure: CacheError | undefined;

  constructor(to: AnswerTo, source: AnswerSource) {
    this.#to = to;
    this.#source = source;
  }

  /** Whether any byte has arrived. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Whether its last byte has arrived. */
  get complete(): boolean {
    return this.#heading !== undefined && this.#bodyBytes === this.#heading.contentLength;
  }

  /** Whether another request may follow on its connection after it is complete. */
  get keepAlive(): boolean {
    return this.#heading?.keepAlive === true;
  }

  /** The member's error, if it returned one, after the response is complete. */
  get failure(): CacheError | undefined {
    return this.#failure;
  }

  /** The buffer for the next bytes, followed by `landed`; undefined: it is unknown yet, so pass the bytes to `take`. */
  room(): Buffer | undefined {
    if (this.#heading === undefined) return undefined;
    const missing = this.#heading.contentLength - this.#bodyBytes;
    if (missing === 0) return undefined;
    const room = this.#isError ? this.#errorBody!.subarray(this.#bodyBytes) : this.#to.target.room();
    return room.length > missing ? room.subarray(0, missing) : room;
  }

  /** Call when the first `bytes` of the room were received. Returns whether to receive more. */
  landed(bytes: number): boolean {
    this.#bodyBytes += bytes;
    if (!this.#isError) return this.#to.target.landed(bytes) || this.complete;
    if (this.complete) this.#fail(this.#heading!);
    return true;
  }

  /** Takes bytes that were received elsewhere and are not kept. Returns whether to receive more. */
  take(bytes: Buffer): boolean {
    this.#begun = true;
    const head = this.#readHead(bytes);
    if (head === undefined) return true;
    const { heading, headBytes } = head;
    this.#isError = heading.status !== 206 && heading.status !== 200;
    const opened = this.#isError ? undefined : this.#checked(heading);
    if (bytes.length - headBytes > heading.contentLength) throw this.#wrong("more bytes than it promised");
    if (opened === undefined) this.#errorBody = this.#openError(heading);
    else this.#to.target.open(opened, this.#source);
    this.#heading = heading;
    let more = true;
    for (let at = headBytes; at < bytes.length; ) {
      const copied = bytes.copy(this.room()!, 0, at);
      at += copied;
      more = this.landed(copied);
    }
    if (this.#isError && heading.contentLength === 0) this.#fail(heading);
    return more;
  }

  #readHead(bytes: Buffer): WholeHead | undefined {
    if (this.#heading !== undefined) throw this.#wrong("more bytes than it promised");
    try {
      return this.#head.take(bytes);
    } catch (error) {
      throw this.#wrong(CacheError.from(error).message);
    }
  }

  /** Checks that the header announces exactly the requested bytes. */
  #checked(heading: AnswerHeading): AnswerHead {
    const { status, contentLength, contentRange, etag } = heading;
    const { offset, length } = this.#to.request;
    if (etag === undefined) throw this.#wrong("an answer without an ETag");
    const range = status === 206 ? spanOf(contentRange) : { first: 0, end: contentLength, objectSize: contentLength };
    if (range === undefined) throw this.#wrong("no range that can be");
    const end = Math.min(offset + length, range.objectSize);
    if (status === 200 && (offset !== 0 || contentLength !== end)) throw this.#wrong("the whole object instead of a range");
    if (range.first !== offset || range.end !== end || contentLength !== end - offset || contentLength === 0) {
      throw this.#broken(`${contentLength} bytes from ${range.first} instead of ${end - offset} from ${offset}`);
    }
    const version = versionOfEntityTag(etag);
    if (version === undefined) throw this.#wrong("an ETag that is no entity tag");
    return new HttpAnswerHead(version, range.objectSize, heading);
  }

  #openError({ status, contentLength }: AnswerHeading): Buffer {
    if (status < 400) throw this.#wrong(`status ${status}`);
    if (contentLength > MAX_ERROR_BYTES) throw this.#wrong(`status ${status} with ${contentLength} bytes`);
    return Buffer.allocUnsafe(contentLength);
  }

  #fail(heading: AnswerHeading): void {
    const { request, member } = this.#to;
    this.#failure = errorOf({ heading, body: this.#errorBody! }, request, member);
    if (this.#failure instanceof Unintelligible) throw this.#failure;
  }

  get #subject(): string {
    const { url, offset } = this.#to.request;
    return `${url} at offset ${offset}`;
  }

  #wrong(what: string): Unintelligible {
    return new Unintelligible(`${this.#subject}: ${this.#to.member} answered with ${what}, as no member does`);
  }

  #broken(what: string): CacheError {
    return new CacheError("INTERNAL", `${this.#subject}: the member sent ${what}`);
  }
}

/** The header for targets. The description of the object is parsed on demand, because only members use it. */
class HttpAnswerHead implements AnswerHead {
  readonly version: string;
  readonly objectSize: number;
  readonly #heading: AnswerHeading;
  #object: ReturnType<typeof objectHeadersIn> | undefined;

  constructor(version: string, objectSize: number, heading: AnswerHeading) {
    this.version = version;
    this.objectSize = objectSize;
    this.#heading = heading;
  }

  get contentType(): string | undefined {
    return this.#heading.contentType;
  }

  get lastModifiedMs(): number | undefined {
    return this.#heading.lastModifiedMs;
  }

  get headers(): ObjectHeaders | undefined {
    return this.#described.headers;
  }

  get lacks(): LackingHeaders | undefined {
    return this.#described.lacks;
  }

  get objectLines(): string {
    return this.#heading.objectLines;
  }

  get cached(): CacheReport | undefined {
    return this.#heading.cached;
  }

  get #described(): ReturnType<typeof objectHeadersIn> {
    this.#object ??= objectHeadersIn(this.#heading.objectLines);
    return this.#object;
  }
}

const CONTENT_RANGE = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/;

/** Parses a Content-Range; `end` is one past its last byte. Undefined if it is invalid or impossible. */
function spanOf(contentRange: string | undefined): { first: number; end: number; objectSize: number } | undefined {
  const match = contentRange === undefined ? null : CONTENT_RANGE.exec(contentRange);
  if (match === null) return undefined;
  const [first, end, objectSize] = [Number(match[1]), Number(match[2]) + 1, Number(match[3])];
  return first < end && end <= objectSize ? { first, end, objectSize } : undefined;
}

/** Maximum body of an error, bytes. */
export const MAX_ERROR_BYTES = 8 << 10;
const MAX_MESSAGE_LENGTH = 2_000;

/** A response without the requested bytes. */
export interface ErrorAnswer {
  readonly heading: Pick<AnswerHeading, "status" | "keepAlive" | "errorCode" | "isOriginTried">;
  /** S3's error document in UTF-8; empty: the member sent only the code. */
  readonly body: Buffer;
}

/**
 * Returns a member's error with its message; if the message does not name the object, its URL precedes it. Unreachable if
 * the member is starting or shutting down. Unintelligible if the response has no error code: then its sender is not a member.
 */
export function errorOf({ heading, body }: ErrorAnswer, { url, offset }: ReadRequest, member: string): CacheError {
  const { status, keepAlive, errorCode, isOriginTried } = heading;
  if (errorCode === undefined) {
    return new Unintelligible(`${url}: ${member} answered ${status}, not as a member does`);
  }
  const message = body.length === 0 ? errorCode : (elementOf(body.toString("utf8"), "Message") ?? errorCode);
  if (errorCode === "CANCELLED" || (errorCode === "UNAVAILABLE" && !keepAlive && !isOriginTried)) {
    return new Unreachable(`${url}: member ${member} is starting or shutting down: ${message}`);
  }
  const words = message.includes(url) ? message : `${url}: ${message}`;
  return new CacheError(errorCode, errorCode === "OUT_OF_RANGE" ? `${words} (offset ${offset})` : words, { isOriginTried });
}

/** Returns the text of the document's first element with this name, on one line of bounded length; undefined if there is none. */
function elementOf(document: string, name: string): string | undefined {
  const start = document.indexOf(`<${name}>`);
  if (start < 0) return undefined;
  const end = document.indexOf(`</${name}>`, start);
  if (end < 0) return undefined;
  const text = document.slice(start + name.length + 2, Math.min(end, start + MAX_MESSAGE_LENGTH)).replace(ENTITY, character);
  return text.replace(/\p{Cc}+/gu, " ");
}

const ENTITY = /&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(amp|lt|gt|quot|apos));/g;
const named: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function character(entity: string, decimal?: string, hex?: string, name?: string): string {
  if (name !== undefined) return named[name]!;
  const point = decimal === undefined ? Number.parseInt(hex!, 16) : Number(decimal);
  return point > 0x10ffff ? entity : String.fromCodePoint(point);
}
