import { CacheError, type LackingHeaders, type ObjectHeaders, s3CodeOf, versionOfEntityTag } from "@frontcache/proto";
import { InvalidResponse } from "../../http/response-head.js";
import { type RepeatedHead, ResponseReader } from "../../http/response-reader.js";
import {
  type AnswerHead,
  type AnswerSource,
  type CacheReport,
  type MoveBytes,
  type ReadRequest,
  type ReadTarget,
  Unreachable,
} from "../ports.js";
import { type AnswerHeading, MAX_HEAD_BYTES, objectHeadersIn, parseHead, Unintelligible } from "./answer-head.js";
import { RepeatedHeads } from "./repeated-head.js";
import { textOf } from "./xml-text.js";

/** The request of a response. */
export interface AnswerTo {
  readonly request: ReadRequest;
  readonly target: ReadTarget;
  /** `host:port` of the member's HTTP listener, for messages. */
  readonly member: string;
}

/** The heads of all members' responses. */
const heads = new RepeatedHeads();

/** Receives one response of a member: the requested bytes into the target, or an error. */
export class HttpAnswer extends ResponseReader<AnswerHeading> implements AnswerSource {
  protected readonly to: AnswerTo;
  #errorBody: Buffer | undefined;
  #errorBytes = 0;
  #failure: CacheError | undefined;

  constructor(to: AnswerTo) {
    super(MAX_HEAD_BYTES);
    this.to = to;
  }

  /** Overridden by what can pause. */
  resume(): void {}

  /** Overridden by what has a socket. */
  drain(_move: MoveBytes): number {
    return 0;
  }

  /** The member's error, if it returned one, after the response is complete. */
  get failure(): CacheError | undefined {
    return this.#failure;
  }

  override take(bytes: Buffer, end?: number): boolean {
    try {
      return super.take(bytes, end);
    } catch (error) {
      throw error instanceof InvalidResponse ? this.#wrong(error.message) : error;
    }
  }

  protected parseHead(text: string): AnswerHeading {
    const heading = parseHead(text);
    if (heading.status === 206) heads.remember(this.to.request.url, text, heading);
    return heading;
  }

  protected override repeatedHead(bytes: Buffer, end: number): RepeatedHead<AnswerHeading> | undefined {
    return heads.parse(this.to.request.url, bytes, end);
  }

  protected onHead(heading: AnswerHeading): void {
    if (heading.status === 206 || heading.status === 200) this.to.target.open(this.#checked(heading), this);
    else this.#errorBody = this.#openError(heading);
  }

  protected bodyRoom(): Buffer {
    return this.#errorBody === undefined ? this.to.target.room() : this.#errorBody.subarray(this.#errorBytes);
  }

  protected bodyLanded(bytes: number): boolean {
    if (this.#errorBody === undefined) return this.to.target.landed(bytes);
    this.#errorBytes += bytes;
    return true;
  }

  /** Never called, because every body has room. */
  protected keep(): void {
    throw this.#wrong("bytes without a destination");
  }

  protected override onEnd(heading: AnswerHeading): void {
    if (this.#errorBody === undefined) return;
    const { request, member } = this.to;
    this.#failure = errorOf({ heading, body: this.#errorBody }, request, member);
    if (this.#failure instanceof Unintelligible) throw this.#failure;
  }

  /** Checks that the header announces exactly the requested bytes. */
  #checked(heading: AnswerHeading): AnswerHead {
    const { status, contentLength, etag } = heading;
    const { offset, length } = this.to.request;
    if (etag === undefined) throw this.#wrong("an answer without an ETag");
    const range = status === 206 ? heading.range : { first: 0, end: contentLength, objectSize: contentLength };
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

  get #subject(): string {
    const { url, offset } = this.to.request;
    return `${url} at offset ${offset}`;
  }

  #wrong(what: string): Unintelligible {
    return new Unintelligible(`${this.#subject}: ${this.to.member} answered with ${what}, as no member does`);
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

/** Maximum body of an error, bytes. */
export const MAX_ERROR_BYTES = 8 << 10;

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
  const message = body.length === 0 ? errorCode : (textOf(body.toString("utf8"), "Message") ?? errorCode);
  if (errorCode === "CANCELLED" || (errorCode === "UNAVAILABLE" && !keepAlive && !isOriginTried)) {
    return new Unreachable(`${url}: member ${member} is starting or shutting down: ${message}`);
  }
  const words = message.includes(url) ? message : `${url}: ${message}`;
  const s3Code = s3CodeOf(body.length === 0 ? undefined : textOf(body.toString("utf8"), "Code"));
  return new CacheError(errorCode, errorCode === "OUT_OF_RANGE" ? `${words} (offset ${offset})` : words, {
    isOriginTried,
    s3Code,
  });
}
