import type { ObjectInfo } from "@frontcache/proto";
import type { ObjectRead } from "../../cache/object-read.js";
import type { HttpContext } from "../http/http-context.js";
import { REQUEST_ID_HEADER } from "./error-response.js";
import {
  type AnswerHeaders,
  bodyHeaders,
  describedHeaders,
  knownHeaders,
  lacksChecksums,
  makeHeaders,
  memberHeaders,
  ObjectHeaders,
  pushCacheHeaders,
  pushTiming,
  withChecksums,
  withOverrides,
} from "./object-headers.js";
import type { ObjectPart } from "./object-parts.js";
import type { ObjectQuestions } from "./object-questions.js";
import type { ObjectRequest } from "./object-request.js";
import type { Span } from "./range-header.js";

/** The header with the number of parts of an object, in answers with one of them. */
const PARTS_COUNT = "x-amz-mp-parts-count";

/** The bytes that an answer has, or for a HEAD would have. */
export interface AnsweredBytes {
  readonly span: Span;
  /** They are a part of the object (206). */
  readonly isPartial: boolean;
  /** The part of an upload in parts that was requested. Absent: none. */
  readonly part?: ObjectPart | undefined;
}

/** The head of one answer with an object or a part of it: which headers of the object it has, and how the cache answered. */
export class ObjectHead {
  readonly #context: HttpContext;
  readonly #request: ObjectRequest;
  readonly #questions: ObjectQuestions;
  readonly #begunMs: number;

  constructor(context: HttpContext, request: ObjectRequest, questions: ObjectQuestions) {
    this.#context = context;
    this.#request = request;
    this.#questions = questions;
    this.#begunMs = context.request.isPlain === true ? 0 : context.clock.monotonicMs();
  }

  /**
   * The object's headers for an answer with the bytes of a read: immediately if all are known, else after the origin was asked.
   * `observed`: the record, if it was asked for just now. The block may have been described earlier.
   */
  headersOf(read: ObjectRead, isPartial: boolean, observed: ObjectInfo | undefined): ObjectHeaders | Promise<ObjectHeaders> {
    const { mayAskOrigin, isMembers } = this.#questions;
    if (isMembers) return memberHeaders(read.info);
    const isNewer = observed?.version === read.info.version && observed.lacks !== "metadata";
    const info = isNewer ? observed : read.info;
    const headers =
      knownHeaders(info) ?? (observed === undefined && mayAskOrigin ? undefined : makeHeaders(info, observed ?? info));
    const isComplete =
      headers !== undefined && (isPartial || !this.#request.wantsChecksums || !mayAskOrigin || !lacksChecksums(info, headers));
    if (isComplete) return this.#sent(headers, isPartial);
    return this.#described(info, headers).then((described) => this.#sent(described, isPartial));
  }

  /** The object's headers for an answer without a read. */
  headersOfRecord(info: ObjectInfo, isPartial: boolean): ObjectHeaders {
    return this.#sent(knownHeaders(info) ?? makeHeaders(info, info), isPartial);
  }

  /** Writes the head. `read`: the read whose bytes follow, if any. */
  write({ objectSize }: ObjectInfo, headers: ObjectHeaders, bytes: AnsweredBytes, read?: ObjectRead): void {
    const { request, response, requestId, clock } = this.#context;
    const { span, isPartial, part } = bytes;
    const own = bodyHeaders(span, objectSize, isPartial);
    if (part?.partsCount !== undefined && !headers.pairs.includes(PARTS_COUNT)) own.push(PARTS_COUNT, String(part.partsCount));
    // Frontcache's own clients do not read these headers; members pass them on.
    if (this.#questions.forwarded || request.isPlain !== true) pushCacheHeaders(this.#origin(read), own);
    if (request.isPlain !== true) pushTiming(clock.monotonicMs() - this.#begunMs, own);
    own.push(REQUEST_ID_HEADER, requestId);
    const status = isPartial ? 206 : 200;
    if (response.takesShared === true) response.writeHead(status, own, headers);
    else response.writeHead(status, [...headers.pairs, ...own]);
  }

  /** Where the answer comes from. */
  #origin(read: ObjectRead | undefined): Pick<ObjectRead, "result" | "ageMs" | "forwarded"> {
    const { freshness } = this.#questions;
    return freshness !== undefined && (read === undefined || freshness.result === "stale") ? freshness : read!;
  }

  async #described(info: ObjectInfo, known: AnswerHeaders | undefined): Promise<AnswerHeaders> {
    const { ref, wantsChecksums } = this.#request;
    const { cache } = this.#questions;
    const headers = known ?? (await describedHeaders(cache, ref, info, this.#context));
    return wantsChecksums && lacksChecksums(info, headers) ? withChecksums(cache, ref, info, this.#context) : headers;
  }

  /** The headers of the object that this answer has. */
  #sent({ all, checksums }: AnswerHeaders, isPartial: boolean): ObjectHeaders {
    const { wantsChecksums, overrides } = this.#request;
    const hasChecksums = checksums.length > 0 && !isPartial && wantsChecksums;
    return withOverrides(hasChecksums ? new ObjectHeaders([...all.pairs, ...checksums]) : all, overrides);
  }
}
