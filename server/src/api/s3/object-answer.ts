import {
  CACHED_ONLY_HEADER,
  CacheError,
  FORWARDED_HEADER,
  type ObjectInfo,
  type ObjectRef,
  OPEN_ENDED_HEADER,
  REPEATED_HEADER,
  TIMEOUT_HEADER,
} from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { ObjectRead } from "../../cache/object-read.js";
import type { Cache, ObjectStat } from "../../routing/cache.js";
import { isMembersRequest } from "../../security/member-authentication.js";
import { callStatus, readFailure } from "../call-status.js";
import type { HttpContext } from "../http/http-context.js";
import { encryptedSocket, plainSocket } from "../sending/send-strategy.js";
import { Sending } from "../sending/sending.js";
import { type Conditions, judge, needsObject, parseConditions, rangeCounts, requiredVersion } from "./conditions.js";
import { answerCachedOnlyMiss, type ErrorResponse, errorResponseOf, REQUEST_ID_HEADER, sendError } from "./error-response.js";
import {
  type AnswerHeaders,
  bodyHeaders,
  describedHeaders,
  knownHeaders,
  makeHeaders,
  memberHeaders,
  notModifiedHeaders,
  pushCacheHeaders,
} from "./object-headers.js";
import { parseRange, type RequestedRange, type Span, spanOf } from "./range-header.js";
import type { ObjectTarget } from "./request-target.js";

/** Request header by which clients of S3 ask for the checksums of an object. The only value is ENABLED. */
const CHECKSUM_MODE_HEADER = "x-amz-checksum-mode";

/** Attempts of a read whose object changes between the question for its record and the read of its bytes. */
const MAX_STARTS = 3;

const NEEDS_OBJECT = `${CACHED_ONLY_HEADER} reads take a range with a known offset, and If-Match with one ETag at most`;

/** The answer if an If-Match or If-Unmodified-Since is not fulfilled. */
const FAILED: ErrorResponse = {
  status: 412,
  code: "PreconditionFailed",
  errorCode: "FAILED_PRECONDITION",
  message: "a condition of the request is not fulfilled",
};

/**
 * Answers one GET or HEAD of an object. If the offset is known, the read starts at once, and its first block brings version and
 * size. If a condition or a suffix range needs the object's record, the cache is asked for it first, and the bytes are read of
 * the version that it names.
 */
export class ObjectAnswer {
  readonly #context: HttpContext;
  readonly #cache: Cache;
  readonly #ref: ObjectRef;

  readonly #conditions: Conditions;
  readonly #range: RequestedRange | undefined;
  /** The version that the client requires. */
  readonly #requiredVersion: string | undefined;
  /** A member sent the read: it is never forwarded again. */
  readonly #forwarded: boolean;
  readonly #cachedOnly: boolean;
  /** The range's end is not the client's: a member put the block's end there. */
  readonly #openEnded: boolean;
  #read: ObjectRead | undefined;
  /** What the cache answered about the object's record. */
  #record: Pick<ObjectRead, "result" | "ageMs"> | undefined;
  #sending: Sending | undefined;
  /** The deadline that the client named. */
  readonly #deadline: Deadline | undefined;
  #over = false;
  /** It counts as a running read. */
  #isCounted = false;

  constructor(context: HttpContext, cache: Cache, { ref }: ObjectTarget) {
    this.#context = context;
    this.#cache = cache;
    this.#ref = ref;
    const { headers } = context.request;
    this.#conditions = parseConditions(headers);
    this.#range = parseRange(headers.range);
    this.#requiredVersion = requiredVersion(this.#conditions);
    this.#forwarded = this.#isSetByMember(FORWARDED_HEADER);
    this.#cachedOnly = headers[CACHED_ONLY_HEADER] === "1";
    this.#openEnded = this.#isSetByMember(OPEN_ENDED_HEADER);
    this.#deadline = deadlineOf(context, ref);
    context.whenClosed(this.#closed);
  }

  /** Answers. Never throws. */
  run(): void {
    try {
      const busy = this.#context.client.beginRead();
      if (busy !== undefined) throw busy;
      this.#isCounted = true;
      const direct = this.#context.request.method === "GET" && !needsObject(this.#conditions);
      const requested = direct ? directRange(this.#range) : undefined;
      if (requested !== undefined) this.#readAtOnce(requested);
      else if (this.#cachedOnly) throw new CacheError("INVALID_ARGUMENT", NEEDS_OBJECT);
      else void this.#answerByRecord().catch(this.#fail);
    } catch (error) {
      this.#fail(error);
    }
  }

  #readAtOnce({ offset, length }: DirectRange): void {
    const read = this.#open(this.#requiredVersion, offset, length);
    if (read instanceof Promise) read.then((opened) => this.#begin(opened, this.#range !== undefined)).catch(this.#fail);
    else this.#begin(read, this.#range !== undefined);
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
      const span = this.#over ? undefined : this.#answerByHead(info);
      if (span === undefined) return;
      try {
        const read = await this.#open(info.version, span.start, span.end - span.start);
        return this.#begin(read, this.#effectiveRange(info) !== undefined, info);
      } catch (error) {
        const changed = CacheError.from(error).code === "FAILED_PRECONDITION" && this.#requiredVersion === undefined;
        if (!changed || this.#over || starts === MAX_STARTS) throw error;
      }
    }
  }

  async #askedRecord(): Promise<ObjectStat> {
    const { clock } = this.#context;
    const askedAtMs = clock.monotonicMs();
    const stat = await this.#stat();
    const { isStale, ageMs } = stat;
    const isNew = ageMs !== undefined && ageMs <= clock.monotonicMs() - askedAtMs;
    this.#record = { result: isStale === true ? "stale" : isNew ? "filled" : "hit", ageMs };
    return stat;
  }

  /** Answers if no bytes are needed. Otherwise returns where the requested ones are. */
  #answerByHead(info: ObjectInfo): Span | undefined {
    const { request, response } = this.#context;
    const verdict = judge(this.#conditions, info);
    if (verdict !== "answer") {
      if (verdict === "failed") this.#sendError(FAILED);
      else {
        response.writeHead(304, [...notModifiedHeaders(info), REQUEST_ID_HEADER, this.#context.requestId]);
        response.end();
      }
      return undefined;
    }
    const range = this.#effectiveRange(info);
    const span = range === undefined ? { start: 0, end: info.objectSize } : spanOf(range, info.objectSize);
    if (span !== undefined && request.method === "GET" && span.end > span.start) return span;
    if (span === undefined) this.#sendError(unsatisfiable(this.#ref, info.objectSize));
    else {
      const headers = knownHeaders(info) ?? makeHeaders(info, info);
      this.#writeHead(info, this.#sentHeaders(headers, range !== undefined), span, range !== undefined);
      response.end();
    }
    return undefined;
  }

  /** The range that counts, the object being this one. */
  #effectiveRange(info: ObjectInfo): RequestedRange | undefined {
    return rangeCounts(this.#conditions, info) ? this.#range : undefined;
  }

  #open(version: string | undefined, offset: number, length: number): ObjectRead | Promise<ObjectRead> {
    const { principal } = this.#context;
    const signal = this.#signal;
    return this.#cache.open({
      ref: this.#ref,
      version,
      offset,
      length,
      forwarded: this.#forwarded,
      cachedOnly: this.#cachedOnly,
      openEnded: this.#openEnded,
      isRepeated: this.#context.request.headers[REPEATED_HEADER] === "1",
      principal,
      deadlineAtMs: this.#deadline?.atMs,
      signal,
    });
  }

  #stat(): Promise<ObjectStat> {
    const { principal } = this.#context;
    const signal = this.#signal;
    // A GET has its checksums from the bytes' answer, if at all: S3's clients ask for them with every read.
    const checksums = this.#context.request.method === "HEAD" && this.#wantsChecksums;
    const of = { ref: this.#ref, version: this.#requiredVersion, forwarded: this.#forwarded, checksums };
    return this.#cache.ask({ kind: "stat", ...of, principal, signal });
  }

  /** `observed`: the object's record, if it was asked for before. */
  #begin(read: ObjectRead, partial: boolean, observed?: ObjectInfo): void {
    if (this.#over) {
      read.close();
      return;
    }
    this.#read = read;
    // Of an object without bytes no range can be had, not even an open one from its beginning.
    if (partial && read.length === 0) throw new CacheError("OUT_OF_RANGE", `${this.#ref.url}: the object is empty`);
    if (this.#isMembers) {
      this.#send(read, memberHeaders(read.info), partial);
      return;
    }
    // The record was asked for just now. The block may have been described earlier.
    const isNewer = observed?.version === read.info.version && observed.lacks !== "metadata";
    const info = isNewer ? observed : read.info;
    const headers = knownHeaders(info) ?? (observed === undefined ? undefined : makeHeaders(info, observed));
    if (headers !== undefined) this.#send(read, this.#sentHeaders(headers, partial), partial);
    else
      describedHeaders(this.#cache, this.#ref, info, this.#context)
        .then((described) => this.#send(read, this.#sentHeaders(described, partial), partial))
        .catch(this.#fail);
  }

  /** The headers of the object that this answer has. */
  #sentHeaders({ all, checksums }: AnswerHeaders, partial: boolean): readonly string[] {
    return checksums.length > 0 && !partial && this.#wantsChecksums ? [...all, ...checksums] : all;
  }

  get #wantsChecksums(): boolean {
    return this.#context.request.headers[CHECKSUM_MODE_HEADER] === "ENABLED";
  }

  #send(read: ObjectRead, headers: readonly string[], partial: boolean): void {
    if (this.#over) return;
    const { response: sink, clock, client, encrypted } = this.#context;
    const span = { start: read.offset, end: read.offset + read.length };
    const begin = (): void => this.#writeHead(read.info, headers, span, partial);
    const strategyFor = encrypted ? encryptedSocket : plainSocket;
    this.#sending = new Sending({ read, sink, strategyFor, client, clock, begin, onFailure: this.#fail });
    this.#sending.start();
  }

  #writeHead({ objectSize }: ObjectInfo, headers: readonly string[], span: Span, partial: boolean): void {
    const { request, response, requestId } = this.#context;
    const all = bodyHeaders(headers, span, objectSize, partial);
    // Frontcache's own clients do not read these headers; members pass them on.
    if (this.#forwarded || request.isPlain !== true) pushCacheHeaders(this.#origin, all);
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
    const error = response.headersSent ? thrown : readFailure(thrown, this.#ref.url, this.#requiredVersion);
    const { code } = CacheError.from(error);
    if (!response.headersSent) {
      if (code === "NOT_FOUND" && this.#cachedOnly) {
        answerCachedOnlyMiss(response);
        return;
      }
      if (code === "OUT_OF_RANGE" && this.#range !== undefined && !this.#isMembers) {
        void this.#refuseRange(error);
        return;
      }
    }
    const { details } = callStatus(error, `${request.method} object`, log, {
      url: this.#ref.url,
      requestId,
      client: client.address,
    });
    // The head was sent and promises more bytes: only closing the connection can report the failure.
    if (response.headersSent) response.destroy();
    else this.#sendError({ ...errorResponseOf(error), message: details });
  };

  /** S3 names the size in this answer, and the error does not. */
  async #refuseRange(error: unknown): Promise<void> {
    const refusal = await this.#stat().then(
      ({ info }) => unsatisfiable(this.#ref, info.objectSize),
      (unknown) => errorResponseOf(CacheError.from(unknown).code === "FAILED_PRECONDITION" ? unknown : error),
    );
    if (!this.#over) this.#sendError(refusal);
  }

  #sendError(refusal: ErrorResponse): void {
    sendError(this.#context, refusal, `/${this.#ref.bucket}/${this.#ref.key}`);
  }

  /** The response is closed, the answer sent or not. */
  readonly #closed = (): void => {
    this.#over = true;
    this.#deadline?.cancel();
    if (this.#isCounted) this.#context.client.endRead();
    this.#sending?.end();
    this.#read?.close();
    if (this.#context.log.debugEnabled) this.#log();
  };

  /** One line for each request, found by the id that its response has. */
  #log(): void {
    const { request, requestId, client, log } = this.#context;
    const { offset, length, result } = this.#read ?? {};
    const fields = { event: "request", requestId, method: request.method, url: this.#ref.url, range: request.headers.range };
    log.debug(
      { ...fields, client: client.address, offset, length, result, complete: this.#sending?.complete === true },
      "answered a request",
    );
  }
}

interface Deadline {
  /** Monotonic milliseconds. */
  readonly atMs: number;
  /** Linked to the connection's signal. */
  readonly abort: LinkedAbort;
  /** Frees the timer and the link. */
  cancel(): void;
}

/** The deadline of a request that names one. Another form of the header is ignored. */
function deadlineOf({ request, clock, signal }: HttpContext, { url }: ObjectRef): Deadline | undefined {
  const timeout = request.headers[TIMEOUT_HEADER];
  if (typeof timeout !== "string" || !/^\d{1,9}$/.test(timeout)) return undefined;
  const timeoutMs = Number(timeout);
  const abort = new LinkedAbort(signal);
  const message = `${url}: not done within the client's ${timeoutMs} ms`;
  const cancelTimer = clock.after(timeoutMs, () => abort.abort(new CacheError("DEADLINE_EXCEEDED", message)));
  const cancel = (): void => {
    cancelTimer();
    abort.unlink();
  };
  return { atMs: clock.monotonicMs() + timeoutMs, abort, cancel };
}

/** A range as the cache takes it; `length` 0: to the object's end. */
interface DirectRange {
  readonly offset: number;
  readonly length: number;
}

/** Undefined if the range depends on the object's size: a suffix, or an offset that is no exact number. */
function directRange(range: RequestedRange | undefined): DirectRange | undefined {
  if (range === undefined) return { offset: 0, length: 0 };
  if (range.form === "suffix" || !Number.isSafeInteger(range.first)) return undefined;
  const end = range.last + 1;
  return { offset: range.first, length: Number.isSafeInteger(end) ? end - range.first : 0 };
}

function unsatisfiable({ url }: ObjectRef, objectSize: number): ErrorResponse {
  const message = `${url}: the range has none of the object's ${objectSize} bytes`;
  return {
    status: 416,
    code: "InvalidRange",
    errorCode: "OUT_OF_RANGE",
    message,
    headers: ["Content-Range", `bytes */${objectSize}`],
  };
}
