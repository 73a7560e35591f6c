import { CacheError, versionOfEntityTag } from "@frontcache/proto";
import type { ReadRequest, ReadTarget } from "../transport.js";
import type { AnswerHeading } from "./answer-head.js";
import { errorOf, MAX_ERROR_BYTES } from "./error-answer.js";
import { HeadGathering, type WholeHead } from "./head-gathering.js";
import { Unintelligible } from "./unintelligible.js";

/** The most that is received at a time, so that a reader who waits for the first bytes of a block gets them soon. */
const READ_BYTES = 4 << 20;

/** What an answer belongs to. */
export interface AnswerTo {
  readonly request: ReadRequest;
  readonly target: ReadTarget;
  /** `host:port` of the gateway, for messages. */
  readonly member: string;
}

/**
 * One answer as it comes in: first a head, in any pieces, then the body. `room` is where the body's next bytes belong, so that
 * the socket can write them there; bytes that came with the head are copied. Whatever is wrong is thrown, and the connection
 * must be closed then, for nobody knows where the answer ends.
 */
export class AnswerLanding {
  readonly #to: AnswerTo;
  #head: HeadGathering | undefined = new HeadGathering();
  #begun = false;
  #heading: AnswerHeading | undefined;
  #body: Buffer | undefined;
  #bodyBytes = 0;
  #failure: CacheError | undefined;

  constructor(to: AnswerTo) {
    this.#to = to;
  }

  /** Whether anything of it has come. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Whether it is here to its last byte. */
  get complete(): boolean {
    return this.#body !== undefined && this.#bodyBytes === this.#body.length;
  }

  /** Whether another request may follow on its connection, once it is complete. */
  get keepAlive(): boolean {
    return this.#heading?.keepAlive === true;
  }

  /** What the member said instead of sending the bytes, once it is complete. */
  get failure(): CacheError | undefined {
    return this.#failure;
  }

  /** Where the next bytes belong, to be told by `landed`; undefined: it isn't known yet, they are to be handed to `take`. */
  room(): Buffer | undefined {
    if (this.#body === undefined || this.complete) return undefined;
    return this.#body.subarray(this.#bodyBytes, this.#bodyBytes + READ_BYTES);
  }

  /** The first `bytes` of the room are filled. */
  landed(bytes: number): void {
    this.#bodyBytes += bytes;
    if (isSuccess(this.#heading!)) this.#to.target.landed(this.#bodyBytes);
    else if (this.complete) this.#fail(this.#heading!);
  }

  /** Takes bytes that were received elsewhere and are not kept. */
  take(bytes: Buffer): void {
    this.#begun = true;
    const head = this.#readHead(bytes);
    if (head === undefined) return;
    this.#heading = head.heading;
    this.#body = isSuccess(head.heading) ? this.#open(head.heading) : this.#openError(head.heading);
    const withHead = bytes.length - head.headBytes;
    if (withHead > this.#body.length) throw this.#wrong("more bytes than it promised");
    bytes.copy(this.#body, 0, head.headBytes);
    if (withHead > 0 || this.complete) this.landed(withHead);
  }

  #readHead(bytes: Buffer): WholeHead | undefined {
    try {
      const head = this.#head?.take(bytes);
      if (head !== undefined) this.#head = undefined;
      return head;
    } catch (error) {
      throw this.#wrong(CacheError.from(error).message);
    }
  }

  /** Checks that the head promises exactly the bytes asked for. */
  #open({ status, contentLength, contentRange, etag }: AnswerHeading): Buffer {
    const { offset, length } = this.#to.request;
    if (etag === undefined) throw this.#wrong("an answer without an ETag");
    const range = status === 206 ? spanOf(contentRange) : { first: 0, end: contentLength, objectSize: contentLength };
    if (range === undefined) throw this.#wrong("no range that can be");
    const end = Math.min(offset + length, range.objectSize);
    if (status === 200 && (offset !== 0 || contentLength !== end)) throw this.#wrong("the whole object instead of a range");
    if (range.first !== offset || range.end !== end || contentLength !== end - offset) {
      throw this.#broken(`${contentLength} bytes from ${range.first} instead of ${end - offset} from ${offset}`);
    }
    const version = versionOfEntityTag(etag);
    if (version === undefined) throw this.#wrong("an ETag that is no entity tag");
    const buffer = this.#to.target.open({ version, objectSize: range.objectSize });
    if (buffer.length !== contentLength) throw this.#broken(`${contentLength} bytes instead of ${buffer.length}`);
    return buffer;
  }

  #openError({ status, contentLength }: AnswerHeading): Buffer {
    if (status < 400) throw this.#wrong(`status ${status}`);
    if (contentLength > MAX_ERROR_BYTES) throw this.#wrong(`status ${status} with ${contentLength} bytes`);
    return Buffer.allocUnsafe(contentLength);
  }

  #fail({ status, keepAlive }: AnswerHeading): void {
    const { request, member } = this.#to;
    this.#failure = errorOf({ status, keepAlive, body: this.#body! }, request.url, request.offset, member);
    if (this.#failure instanceof Unintelligible) throw this.#failure;
  }

  get #subject(): string {
    const { url, offset } = this.#to.request;
    return `${url} at offset ${offset}`;
  }

  #wrong(what: string): Unintelligible {
    return new Unintelligible(`${this.#subject}: ${this.#to.member} answered with ${what}, as no gateway does`);
  }

  #broken(what: string): CacheError {
    return new CacheError("INTERNAL", `${this.#subject}: the member sent ${what}`);
  }
}

function isSuccess({ status }: AnswerHeading): boolean {
  return status === 206 || status === 200;
}

const CONTENT_RANGE = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/;

/** What a Content-Range says; `end` is one past its last byte. Undefined where it is none, or says what can't be. */
function spanOf(contentRange: string | undefined): { first: number; end: number; objectSize: number } | undefined {
  const match = contentRange === undefined ? null : CONTENT_RANGE.exec(contentRange);
  if (match === null) return undefined;
  const [first, end, objectSize] = [Number(match[1]), Number(match[2]) + 1, Number(match[3])];
  return first < end && end <= objectSize ? { first, end, objectSize } : undefined;
}
