import { CACHED_ONLY_HEADER, CacheError, type ObjectInfo } from "@frontcache/proto";
import type { ObjectRead } from "../../cache/object-read.js";
import type { Cache } from "../../routing/cache.js";
import { callStatus, MAX_STARTS, readFailure, wasOverwritten } from "../call-status.js";
import type { HttpContext } from "../http/http-context.js";
import { Sending } from "../sending/sending.js";
import { judge, needsObject, rangeCounts } from "./conditions.js";
import {
  answerCachedOnlyMiss,
  type ErrorResponse,
  errorResponseOf,
  notImplemented,
  REQUEST_ID_HEADER,
  sendError,
} from "./error-response.js";
import { type AnsweredBytes, ObjectHead } from "./object-head.js";
import { notModifiedHeaders, type ObjectHeaders } from "./object-headers.js";
import { ObjectQuestions } from "./object-questions.js";
import { FAILED, NOT_CACHED, originKnowsMore, resourceOf, unsatisfiable } from "./object-refusals.js";
import { type ObjectRequest, parseObjectRequest } from "./object-request.js";
import { mediaToPass, type Passed, PassedReply, passedHeaders, passedParameters } from "./passed-answer.js";
import { type DirectRange, directRange, type RequestedRange, type Span, spanOf } from "./range-header.js";
import type { ObjectTarget } from "./request-target.js";
import { warmObject } from "./warm-request.js";

const NEEDS_OBJECT = `${CACHED_ONLY_HEADER} reads take a range with a known offset, and If-Match with one ETag at most`;

/** Answers one GET or HEAD of an object. Never throws. */
export function answerObject(context: HttpContext, cache: Cache, target: ObjectTarget): void {
  let request: ObjectRequest | ErrorResponse;
  try {
    request = parseObjectRequest(context.request, target);
  } catch (error) {
    request = errorResponseOf(error);
  }
  if ("status" in request) sendError(context, request, resourceOf(target));
  else new ObjectAnswer(context, cache, request).run();
}

/**
 * One answer. If the offset is known, the read starts at once, and its first block brings version and size. If a condition, a part or
 * a suffix range needs the object's record, the cache is asked for it first, and the bytes are read of the version that it names. What
 * the cache cannot answer is passed on to the origin.
 */
class ObjectAnswer {
  readonly #context: HttpContext;
  readonly #request: ObjectRequest;
  readonly #questions: ObjectQuestions;
  readonly #head: ObjectHead;
  #read: ObjectRead | undefined;
  #sending: Sending | undefined;
  #passing: PassedReply | undefined;
  #over = false;
  /** It counts as a running read. */
  #isCounted = false;
  #starts = 0;

  constructor(context: HttpContext, cache: Cache, request: ObjectRequest) {
    this.#context = context;
    this.#request = request;
    this.#questions = new ObjectQuestions(context, cache, request);
    this.#head = new ObjectHead(context, request, this.#questions);
    context.whenClosed(this.#closed);
  }

  /** Answers. Never throws. */
  run(): void {
    const busy = this.#context.client.beginRead();
    this.#isCounted = busy === undefined;
    if (busy === undefined) this.#start();
    else this.#fail(busy);
  }

  /** Starts the answer, also again after the object was overwritten before its first byte. Never throws. */
  #start(): void {
    this.#starts++;
    try {
      const { passes, warms, isHead, conditions, range, partNumber, cacheControl, target } = this.#request;
      const isDirect = !isHead && partNumber === undefined && cacheControl?.maxAgeMs === undefined && !needsObject(conditions);
      const requested = isDirect ? directRange(range) : undefined;
      if (passes !== undefined || target.isAmbiguous === true) this.#passOrRefuse();
      else if (warms) void this.#warm().catch(this.#fail);
      else if (requested !== undefined) this.#readAtOnce(requested);
      else if (this.#questions.cachedOnly) throw new CacheError("INVALID_ARGUMENT", NEEDS_OBJECT);
      else void this.#answerByRecord().catch(this.#fail);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Passes the request on to the origin, if that is possible. */
  #passOrRefuse(): void {
    const { ref, passes } = this.#request;
    if (ref.scheme === "s3") this.#passWhole();
    else if (passes === "no-store") void this.#answerByRecord().catch(this.#fail);
    else if (passes === "customer key") void this.#passMedia().catch(this.#fail);
    else this.#sendError(notImplemented("the expected bucket owner"));
  }

  /** Passes an S3 request on as it is. */
  #passWhole(): void {
    const { target, isHead } = this.#request;
    const { bare: ref, query } = target;
    this.#pass({
      ref,
      method: isHead ? "HEAD" : "GET",
      query: passedParameters(query),
      headers: passedHeaders(this.#context),
    });
  }

  /** Has GCS answer with the bytes that only the client's key decrypts, if the object's record fulfils the conditions. */
  async #passMedia(): Promise<void> {
    const { info } = await this.#questions.record();
    if (this.#over || !this.#meetsConditions(info)) return;
    const hasRange = this.#effectiveRange(info) !== undefined;
    const passed = mediaToPass(this.#request, this.#context.request.headers, info.version, hasRange);
    if ("status" in passed) this.#sendError(passed);
    else this.#pass(passed);
  }

  #pass(passed: Passed): void {
    this.#passing = new PassedReply(this.#context, this.#questions.cache, resourceOf(this.#request.target));
    void this.#passing.run(passed);
  }

  /** Fetches the object into the cache and answers without its bytes. */
  async #warm(): Promise<void> {
    const { ref, isHead } = this.#request;
    const { principal, response, requestId } = this.#context;
    // Asked first: a principal that may not read the object fetches nothing.
    const { info } = await this.#questions.record();
    await warmObject(this.#questions.cache, ref, { principal, signal: this.#questions.signal });
    if (this.#over) return;
    if (isHead) this.#answerWithoutBytes(info, { span: wholeOf(info), isPartial: false });
    else {
      response.writeHead(204, [...notModifiedHeaders(info), REQUEST_ID_HEADER, requestId]);
      response.end();
    }
  }

  #readAtOnce({ offset, length }: DirectRange): void {
    const { requiredVersion, range } = this.#request;
    const read = this.#questions.open(requiredVersion, offset, length);
    if (read instanceof Promise) read.then((opened) => this.#opened(opened), this.#fail);
    else this.#begin(read, range !== undefined);
  }

  #opened(read: ObjectRead): void {
    try {
      this.#begin(read, this.#request.range !== undefined);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Asks for the object's record, then answers without bytes or reads them. */
  async #answerByRecord(): Promise<void> {
    const { info } = await this.#questions.record();
    if (this.#over || !this.#meetsConditions(info)) return;
    const part = await this.#questions.part(info);
    if (this.#over) return;
    if (part === "unknown") return this.#passWhole();
    const range = part === undefined ? this.#effectiveRange(info) : undefined;
    const span = part?.span ?? (range === undefined ? wholeOf(info) : spanOf(range, info.objectSize));
    if (span === undefined) return this.#sendError(unsatisfiable(this.#context.request, this.#request, info.objectSize));
    const isPartial = range !== undefined || (part !== undefined && info.objectSize > 0);
    if (this.#request.isHead || span.end === span.start) return this.#answerWithoutBytes(info, { span, isPartial, part });
    const read = await this.#questions.open(info.version, span.start, span.end - span.start);
    this.#begin(read, isPartial, info, part);
  }

  /** Returns whether the conditions are fulfilled. Answers if they are not. */
  #meetsConditions(info: ObjectInfo): boolean {
    const verdict = judge(this.#request.conditions, info);
    if (verdict === "answer") return true;
    const { response, requestId } = this.#context;
    if (verdict === "failed") this.#sendError(FAILED);
    else {
      response.writeHead(304, [...notModifiedHeaders(info), REQUEST_ID_HEADER, requestId]);
      response.end();
    }
    return false;
  }

  /** The range that counts, the object being this one. */
  #effectiveRange(info: ObjectInfo): RequestedRange | undefined {
    return rangeCounts(this.#request.conditions, info) ? this.#request.range : undefined;
  }

  #answerWithoutBytes(info: ObjectInfo, bytes: AnsweredBytes): void {
    this.#head.write(info, this.#head.headersOfRecord(info, bytes.isPartial), bytes);
    this.#context.response.end();
  }

  /** `observed`: the object's record, if it was asked for before. */
  #begin(read: ObjectRead, isPartial: boolean, observed?: ObjectInfo, part?: AnsweredBytes["part"]): void {
    if (this.#over) {
      read.close();
      return;
    }
    this.#read = read;
    // Of an object without bytes no range can be had, not even an open one from its beginning.
    if (isPartial && read.length === 0) throw new CacheError("OUT_OF_RANGE", `${this.#request.ref.url}: the object is empty`);
    const headers = this.#head.headersOf(read, isPartial, observed);
    if (headers instanceof Promise) headers.then((all) => this.#send(read, all, isPartial, part)).catch(this.#fail);
    else this.#send(read, headers, isPartial, part);
  }

  #send(read: ObjectRead, headers: ObjectHeaders, isPartial: boolean, part: AnsweredBytes["part"]): void {
    if (this.#over) return;
    const { response: sink, clock, client, strategyFor } = this.#context;
    const span = { start: read.offset, end: read.offset + read.length };
    const begin = (): void => this.#head.write(read.info, headers, { span, isPartial, part }, read);
    this.#sending = new Sending({ read, sink, strategyFor, client, clock, begin, onFailure: this.#fail });
    this.#sending.start();
  }

  readonly #fail = (thrown: unknown): void => {
    if (this.#over) return;
    const { request, requestId, response, client, log } = this.#context;
    if (!response.headersSent && this.#starts < MAX_STARTS && wasOverwritten(thrown, this.#request.requiredVersion)) {
      this.#startAgain();
      return;
    }
    const error = response.headersSent ? thrown : readFailure(thrown, this.#request.ref.url, this.#request.requiredVersion);
    if (!response.headersSent && this.#isAnsweredOtherwise(CacheError.from(error))) return;
    const { details } = callStatus(error, `${request.method} object`, log, {
      url: this.#request.ref.url,
      requestId,
      client: client.address,
    });
    // The head was sent and promises more bytes: only closing the connection can report the failure.
    if (response.headersSent) response.destroy();
    else this.#sendError({ ...errorResponseOf(error), message: details });
  };

  /** Nothing was sent, so another version may be read. Conditions and ranges are compared with that one. */
  #startAgain(): void {
    this.#sending?.end();
    this.#read?.close();
    this.#sending = undefined;
    this.#read = undefined;
    this.#questions.recordOutdated();
    this.#start();
  }

  /** Answers failures that are not answered by their own code and message. */
  #isAnsweredOtherwise(error: CacheError): boolean {
    const { code, s3Code } = error;
    const { isMembers, mayAskOrigin, cachedOnly } = this.#questions;
    const isPastTheEnd = code === "OUT_OF_RANGE" && s3Code === undefined && this.#request.range !== undefined;
    if (code === "NOT_FOUND" && cachedOnly) answerCachedOnlyMiss(this.#context.response);
    else if (code === "NOT_FOUND" && !mayAskOrigin) this.#sendError(NOT_CACHED);
    else if (!isMembers && mayAskOrigin && originKnowsMore(error, this.#request)) this.#passWhole();
    else if (isPastTheEnd && !isMembers && mayAskOrigin) void this.#refuseRange(error);
    else return false;
    return true;
  }

  /** S3 names the size in this answer, and the error does not. */
  async #refuseRange(error: unknown): Promise<void> {
    const refusal = await this.#questions.stat().then(
      ({ info }) => unsatisfiable(this.#context.request, this.#request, info.objectSize),
      (unknown) => errorResponseOf(CacheError.from(unknown).code === "FAILED_PRECONDITION" ? unknown : error),
    );
    if (!this.#over) this.#sendError(refusal);
  }

  #sendError(refusal: ErrorResponse): void {
    sendError(this.#context, refusal, resourceOf(this.#request.target));
  }

  /** The response is closed, the answer sent or not. */
  readonly #closed = (): void => {
    this.#over = true;
    this.#questions.end();
    if (this.#isCounted) this.#context.client.endRead();
    this.#sending?.end();
    this.#passing?.end();
    this.#read?.close();
    if (this.#context.log.debugEnabled) this.#log();
  };

  /** One line for each request, found by the id that its response has. */
  #log(): void {
    const { request, requestId, client, log } = this.#context;
    const { offset, length, result } = this.#read ?? {};
    const { ref, passes } = this.#request;
    const fields = { event: "request", requestId, method: request.method, url: ref.url, range: request.headers.range, passes };
    log.debug(
      { ...fields, client: client.address, offset, length, result, complete: this.#sending?.complete === true },
      "answered a request",
    );
  }
}

function wholeOf({ objectSize }: ObjectInfo): Span {
  return { start: 0, end: objectSize };
}
