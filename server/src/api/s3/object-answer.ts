import {
  CACHED_ONLY_HEADER,
  CacheError,
  FORWARDED_HEADER,
  type ObjectInfo,
  OPEN_ENDED_HEADER,
  REPEATED_HEADER,
} from "@frontcache/proto";
import type { ObjectRead } from "../../cache/object-read.js";
import type { Cache, ObjectStat } from "../../routing/cache.js";
import { isMembersRequest } from "../../security/member-authentication.js";
import { callStatus, readFailure } from "../call-status.js";
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
import {
  type AnswerHeaders,
  bodyHeaders,
  describedHeaders,
  knownHeaders,
  lacksChecksums,
  makeHeaders,
  memberHeaders,
  notModifiedHeaders,
  pushCacheHeaders,
  pushTiming,
  withChecksums,
  withOverrides,
} from "./object-headers.js";
import { type ObjectPart, partOf } from "./object-parts.js";
import { FAILED, NOT_CACHED, originKnowsMore, resourceOf, unsatisfiable } from "./object-refusals.js";
import { type ObjectRequest, parseObjectRequest } from "./object-request.js";
import { PassedReply, passedHeaders, passedParameters } from "./passed-answer.js";
import { type DirectRange, directRange, type RequestedRange, type Span, spanOf } from "./range-header.js";
import { type Deadline, deadlineOf } from "./request-deadline.js";
import type { ObjectTarget } from "./request-target.js";
import { warmObject } from "./warm-request.js";

/** Attempts of a read whose object changes between the question for its record and the read of its bytes. */
const MAX_STARTS = 3;

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
  readonly #cache: Cache;
  readonly #request: ObjectRequest;
  /** A member sent the read: it is never forwarded again. */
  readonly #forwarded: boolean;
  readonly #cachedOnly: boolean;
  /** The range's end is not the client's: a member put the block's end there. */
  readonly #openEnded: boolean;
  readonly #begunMs: number;
  #read: ObjectRead | undefined;
  /** What the cache answered about the object's record. */
  #record: Pick<ObjectRead, "result" | "ageMs"> | undefined;
  #sending: Sending | undefined;
  #passing: PassedReply | undefined;
  /** The deadline that the client named. */
  readonly #deadline: Deadline | undefined;
  #over = false;
  /** It counts as a running read. */
  #isCounted = false;
  /** The record turned out to be outdated: the origin is to confirm the next one. */
  #isOutdated = false;

  constructor(context: HttpContext, cache: Cache, request: ObjectRequest) {
    this.#context = context;
    this.#cache = cache;
    this.#request = request;
    const { headers, isPlain } = context.request;
    this.#begunMs = isPlain === true ? 0 : context.clock.monotonicMs();
    this.#forwarded = this.#isSetByMember(FORWARDED_HEADER);
    this.#cachedOnly = headers[CACHED_ONLY_HEADER] === "1";
    this.#openEnded = this.#isSetByMember(OPEN_ENDED_HEADER);
    this.#deadline = deadlineOf(context, request.ref);
    context.whenClosed(this.#closed);
  }

  /** Answers. Never throws. */
  run(): void {
    try {
      const busy = this.#context.client.beginRead();
      if (busy !== undefined) throw busy;
      this.#isCounted = true;
      const { passes, warms, isHead, conditions, range, partNumber, cacheControl, target } = this.#request;
      const isDirect = !isHead && partNumber === undefined && cacheControl?.maxAgeMs === undefined && !needsObject(conditions);
      const requested = isDirect ? directRange(range) : undefined;
      if (passes !== undefined || target.isAmbiguous === true) this.#passOrRefuse();
      else if (warms) void this.#warm().catch(this.#fail);
      else if (requested !== undefined) this.#readAtOnce(requested);
      else if (this.#cachedOnly) throw new CacheError("INVALID_ARGUMENT", NEEDS_OBJECT);
      else void this.#answerByRecord().catch(this.#fail);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Passes the request on to the origin, if that is possible. */
  #passOrRefuse(): void {
    const { ref, passes } = this.#request;
    if (ref.scheme === "s3") this.#pass();
    else if (passes === "no-store") void this.#answerByRecord().catch(this.#fail);
    else this.#sendError(notImplemented(passes === "customer key" ? "a key of the client (SSE-C)" : "the expected bucket owner"));
  }

  #pass(): void {
    const { target, isHead } = this.#request;
    this.#passing = new PassedReply(this.#context, this.#cache, resourceOf(target));
    const { bare: ref, query } = target;
    const headers = passedHeaders(this.#context);
    void this.#passing.run({ ref, method: isHead ? "HEAD" : "GET", query: passedParameters(query), headers });
  }

  /** Fetches the object into the cache and answers without its bytes. */
  async #warm(): Promise<void> {
    const { ref } = this.#request;
    const { principal } = this.#context;
    await warmObject(this.#cache, ref, { principal, signal: this.#signal });
    const { info } = await this.#askedRecord();
    if (this.#over) return;
    const { response } = this.#context;
    if (this.#request.isHead) this.#writeHead(info, this.#sentHeaders(makeHeaders(info, info), false), wholeOf(info), false);
    else response.writeHead(204, [...notModifiedHeaders(info), REQUEST_ID_HEADER, this.#context.requestId]);
    response.end();
  }

  #readAtOnce({ offset, length }: DirectRange): void {
    const { requiredVersion, range } = this.#request;
    const read = this.#open(requiredVersion, offset, length);
    if (read instanceof Promise) read.then((opened) => this.#begin(opened, range !== undefined)).catch(this.#fail);
    else this.#begin(read, range !== undefined);
  }

  /** Aborted when the client is gone, or its deadline is over. */
  get #signal(): AbortSignal {
    return this.#deadline?.abort.signal ?? this.#context.signal;
  }

  /** Whether a member asks: it needs what this member knows, without a question to the origin for the rest. */
  get #isMembers(): boolean {
    return this.#forwarded || (this.#cachedOnly && this.#context.principal.isMember);
  }

  /** Whether a header is set that is ignored unless a member sends it. */
  #isSetByMember(header: string): boolean {
    const { request, principal, listener, client, refusals } = this.#context;
    if (request.headers[header] !== "1") return false;
    return isMembersRequest({ what: header, principal, listener, client: client.address }, refusals);
  }

  /** Asks for the object's record, then answers without bytes or reads them. */
  async #answerByRecord(): Promise<void> {
    for (let starts = 1; ; starts++) {
      const { info } = await this.#askedRecord();
      if (this.#over || !this.#meetsConditions(info)) return;
      try {
        const part = await this.#part(info);
        if (this.#over) return;
        if (part === "unknown") return this.#pass();
        const range = part === undefined ? this.#effectiveRange(info) : undefined;
        const span = part?.span ?? (range === undefined ? wholeOf(info) : spanOf(range, info.objectSize));
        if (span === undefined) return this.#sendError(unsatisfiable(this.#context.request, this.#request, info.objectSize));
        const partial = range !== undefined || (part !== undefined && info.objectSize > 0);
        if (this.#request.isHead || span.end === span.start) return await this.#answerByHead(info, span, partial, part);
        const read = await this.#open(info.version, span.start, span.end - span.start);
        return this.#begin(read, partial, info, part);
      } catch (error) {
        const changed = CacheError.from(error).code === "FAILED_PRECONDITION" && this.#request.requiredVersion === undefined;
        if (!changed || this.#over || starts === MAX_STARTS) throw error;
        this.#isOutdated = true;
      }
    }
  }

  async #askedRecord(): Promise<Pick<ObjectStat, "info">> {
    const { cacheControl, requiredVersion, passes } = this.#request;
    if (cacheControl?.isCachedOnly === true) {
      const read = await this.#open(requiredVersion, 0, 0);
      read.close();
      this.#record = read;
      return read;
    }
    const { clock } = this.#context;
    const askedAtMs = clock.monotonicMs();
    const maxAgeMs = this.#isOutdated || passes === "no-store" ? 0 : (cacheControl?.maxAgeMs ?? Number.POSITIVE_INFINITY);
    let stat = await this.#stat(maxAgeMs === 0);
    if (maxAgeMs > 0 && (stat.ageMs ?? Number.MAX_VALUE) > maxAgeMs) stat = await this.#stat(true);
    const { isStale, ageMs } = stat;
    const isNew = ageMs !== undefined && ageMs <= clock.monotonicMs() - askedAtMs;
    this.#record = { result: isStale === true ? "stale" : isNew ? "filled" : "hit", ageMs };
    return stat;
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

  /** The requested part. Undefined: none was requested. `unknown`: the origin does not answer with parts. */
  async #part(info: ObjectInfo): Promise<ObjectPart | "unknown" | undefined> {
    const { partNumber, target } = this.#request;
    if (partNumber === undefined) return undefined;
    const { principal } = this.#context;
    const { bare, versionId } = target;
    return (await partOf(this.#cache, bare, info, partNumber, versionId, { principal, signal: this.#signal })) ?? "unknown";
  }

  async #answerByHead(info: ObjectInfo, span: Span, partial: boolean, part: ObjectPart | undefined): Promise<void> {
    const headers = knownHeaders(info) ?? makeHeaders(info, info);
    this.#writeHead(info, this.#sentHeaders(headers, partial), span, partial, part);
    this.#context.response.end();
  }

  /** The range that counts, the object being this one. */
  #effectiveRange(info: ObjectInfo): RequestedRange | undefined {
    return rangeCounts(this.#request.conditions, info) ? this.#request.range : undefined;
  }

  #open(version: string | undefined, offset: number, length: number): ObjectRead | Promise<ObjectRead> {
    const { principal, request } = this.#context;
    return this.#cache.open({
      ref: this.#request.ref,
      version,
      offset,
      length,
      forwarded: this.#forwarded,
      cachedOnly: this.#cachedOnly || this.#request.cacheControl?.isCachedOnly === true,
      openEnded: this.#openEnded,
      isRepeated: request.headers[REPEATED_HEADER] === "1",
      principal,
      deadlineAtMs: this.#deadline?.atMs,
      signal: this.#signal,
    });
  }

  /** `confirmed`: the origin is asked, whatever the age of the record is. */
  #stat(confirmed = false): Promise<ObjectStat> {
    const { principal } = this.#context;
    const { ref, requiredVersion: version, isHead, wantsChecksums } = this.#request;
    const of = { ref, version, forwarded: this.#forwarded, checksums: isHead && wantsChecksums, confirmed };
    return this.#cache.ask({ kind: "stat", ...of, principal, signal: this.#signal });
  }

  /** `observed`: the object's record, if it was asked for before. */
  #begin(read: ObjectRead, partial: boolean, observed?: ObjectInfo, part?: ObjectPart): void {
    if (this.#over) {
      read.close();
      return;
    }
    this.#read = read;
    // Of an object without bytes no range can be had, not even an open one from its beginning.
    if (partial && read.length === 0) throw new CacheError("OUT_OF_RANGE", `${this.#request.ref.url}: the object is empty`);
    if (this.#isMembers) {
      this.#send(read, memberHeaders(read.info), partial);
      return;
    }
    // The record was asked for just now. The block may have been described earlier.
    const isNewer = observed?.version === read.info.version && observed.lacks !== "metadata";
    const info = isNewer ? observed : read.info;
    const headers =
      knownHeaders(info) ?? (observed === undefined && this.#mayAsk ? undefined : makeHeaders(info, observed ?? info));
    const isComplete =
      headers !== undefined && (partial || !this.#request.wantsChecksums || !this.#mayAsk || !lacksChecksums(info, headers));
    if (isComplete) this.#send(read, this.#sentHeaders(headers, partial), partial, part);
    else
      this.#described(info, headers)
        .then((described) => this.#send(read, this.#sentHeaders(described, partial), partial, part))
        .catch(this.#fail);
  }

  /** Whether the origin may be asked. */
  get #mayAsk(): boolean {
    return this.#request.cacheControl?.isCachedOnly !== true;
  }

  async #described(info: ObjectInfo, known: AnswerHeaders | undefined): Promise<AnswerHeaders> {
    const { ref, wantsChecksums } = this.#request;
    const headers = known ?? (await describedHeaders(this.#cache, ref, info, this.#context));
    return wantsChecksums && lacksChecksums(info, headers) ? withChecksums(this.#cache, ref, info, this.#context) : headers;
  }

  /** The headers of the object that this answer has. */
  #sentHeaders({ all, checksums }: AnswerHeaders, partial: boolean): readonly string[] {
    const { wantsChecksums, overrides } = this.#request;
    return withOverrides(checksums.length > 0 && !partial && wantsChecksums ? [...all, ...checksums] : all, overrides);
  }

  #send(read: ObjectRead, headers: readonly string[], partial: boolean, part?: ObjectPart): void {
    if (this.#over) return;
    const { response: sink, clock, client, strategyFor } = this.#context;
    const span = { start: read.offset, end: read.offset + read.length };
    const begin = (): void => this.#writeHead(read.info, headers, span, partial, part);
    this.#sending = new Sending({ read, sink, strategyFor, client, clock, begin, onFailure: this.#fail });
    this.#sending.start();
  }

  #writeHead({ objectSize }: ObjectInfo, headers: readonly string[], span: Span, partial: boolean, part?: ObjectPart): void {
    const { request, response, requestId, clock } = this.#context;
    const all = bodyHeaders(headers, span, objectSize, partial);
    if (part?.partsCount !== undefined && !headers.includes(PARTS_COUNT)) all.push(PARTS_COUNT, String(part.partsCount));
    // Frontcache's own clients do not read these headers; members pass them on.
    if (this.#forwarded || request.isPlain !== true) pushCacheHeaders(this.#origin, all);
    if (request.isPlain !== true) pushTiming(clock.monotonicMs() - this.#begunMs, all);
    all.push(REQUEST_ID_HEADER, requestId);
    response.writeHead(partial ? 206 : 200, all);
  }

  /** Where the answer comes from. */
  get #origin(): Pick<ObjectRead, "result" | "ageMs" | "forwarded"> {
    const [read, record] = [this.#read, this.#record];
    return record !== undefined && (read === undefined || record.result === "stale") ? record : read!;
  }

  readonly #fail = (thrown: unknown): void => {
    if (this.#over) return;
    const { request, requestId, response, client, log } = this.#context;
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

  /** Answers failures that are not answered by their own code and message. */
  #isAnsweredOtherwise(error: CacheError): boolean {
    const { code, s3Code } = error;
    const isPastTheEnd = code === "OUT_OF_RANGE" && s3Code === undefined && this.#request.range !== undefined;
    if (code === "NOT_FOUND" && this.#cachedOnly) answerCachedOnlyMiss(this.#context.response);
    else if (code === "NOT_FOUND" && !this.#mayAsk) this.#sendError(NOT_CACHED);
    else if (!this.#isMembers && this.#mayAsk && originKnowsMore(error, this.#request)) this.#pass();
    else if (isPastTheEnd && !this.#isMembers && this.#mayAsk) void this.#refuseRange(error);
    else return false;
    return true;
  }

  /** S3 names the size in this answer, and the error does not. */
  async #refuseRange(error: unknown): Promise<void> {
    const refusal = await this.#stat().then(
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
    this.#deadline?.cancel();
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

/** The header with the number of parts of an object, in answers with one of them. */
const PARTS_COUNT = "x-amz-mp-parts-count";

function wholeOf({ objectSize }: ObjectInfo): Span {
  return { start: 0, end: objectSize };
}
