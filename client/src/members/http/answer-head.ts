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
import { InvalidResponse, type ResponseFraming, ResponseHead } from "../../http/response-head.js";
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
export interface AnswerHeading extends ResponseFraming {
  /** 200 to 599. */
  readonly status: number;
  readonly contentLength: number;
  /** The Content-Range. Undefined: none, or one that cannot be. */
  readonly range: AnswerRange | undefined;
  /** Verbatim; undefined: no such header. */
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
}

/** The bytes of a response. */
export interface AnswerRange {
  readonly first: number;
  /** One past the last byte. */
  readonly end: number;
  readonly objectSize: number;
}

/**
 * Parses a member's header, as `ResponseHead` does. Throws InvalidResponse also for what is valid but no member sends: chunks, interim
 * responses, HTTP/1.0.
 */
export function parseHead(text: string): AnswerHeading {
  return new WholeHead(new ResponseHead(text), text);
}

const CONTENT_RANGE = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/;

function rangeIn(contentRange: string | undefined): AnswerRange | undefined {
  const match = contentRange === undefined ? null : CONTENT_RANGE.exec(contentRange);
  return match === null ? undefined : possibleRange(Number(match[1]), Number(match[2]), Number(match[3]));
}

/** Undefined if no response can have this range. */
export function possibleRange(first: number, last: number, objectSize: number): AnswerRange | undefined {
  return first <= last && last < objectSize ? { first, end: last + 1, objectSize } : undefined;
}

/** The rules that members keep besides those of HTTP/1.1. */
function checkMemberHead(head: ResponseHead, text: string): number {
  if (head.status < 200) throw new InvalidResponse("an interim response");
  if (!text.startsWith("HTTP/1.1 ")) throw new InvalidResponse("no status line of HTTP/1.1");
  if (head.contentLength === undefined) throw new InvalidResponse("no Content-Length");
  for (const name of ["content-range", "etag"]) if (head.hasSeveral(name)) throw new InvalidResponse(`two of ${name}`);
  return head.contentLength;
}

const OBJECT_LINES_END = /\r\ncontent-length:/i;

/** A header that resembles no remembered one. */
class WholeHead implements AnswerHeading {
  readonly status: number;
  readonly contentLength: number;
  readonly range: AnswerRange | undefined;
  readonly etag: string | undefined;
  readonly contentType: string | undefined;
  readonly errorCode: ErrorCode | undefined;
  readonly isOriginTried: boolean;
  readonly keepAlive: boolean;
  readonly #lastModified: string | undefined;
  readonly #text: string;
  #objectLines: string | undefined;

  constructor(head: ResponseHead, text: string) {
    this.contentLength = checkMemberHead(head, text);
    this.status = head.status;
    this.keepAlive = head.keepAlive;
    this.range = rangeIn(head.header("content-range"));
    this.etag = head.header("etag");
    this.contentType = head.header("content-type");
    const errorCode = head.header(ERROR_HEADER);
    this.errorCode = errorCode !== undefined && errorCode in errorTable ? (errorCode as ErrorCode) : undefined;
    this.isOriginTried = head.header(TRIED_HEADER) === "1";
    this.#lastModified = head.header("last-modified");
    this.#text = text;
  }

  get isChunked(): false {
    return false;
  }

  get objectLines(): string {
    this.#objectLines ??= this.#text.slice(this.#text.indexOf("\r\n") + 2, this.#text.search(OBJECT_LINES_END) + 2);
    return this.#objectLines;
  }

  get lastModifiedMs(): number | undefined {
    return this.#lastModified === undefined ? undefined : parseDate(this.#lastModified);
  }

  get cached(): CacheReport | undefined {
    return cacheReportIn(this.#text);
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
