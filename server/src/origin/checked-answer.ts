import type { HttpBody } from "@frontcache/client/http";
import {
  type BucketRef,
  CacheError,
  collectHeaders,
  type LackingHeaders,
  MAX_VERSION_LENGTH,
  type ObjectHeaders,
  type ObjectInfo,
  type ObjectRef,
  outOfRange,
  type S3Code,
} from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import { type BodyErrors, CheckedBody } from "./http/checked-body.js";
import type { OriginAnswer, OriginRequest } from "./origin.js";

/** An unverified head of a store's answer to a range request. */
export interface RangeHead {
  readonly status: number;
  readonly contentRange: string | undefined;
  /** Bytes of the body; undefined if the head does not say. */
  readonly contentLength: number | undefined;
  /** An ETag without quotes, or a generation; undefined if the head has none. */
  readonly version: string | undefined;
  readonly contentType: string | undefined;
  readonly lastModifiedMs: number | undefined;
  /** All headers of the object besides; undefined: the store returned none. */
  readonly headers: ObjectHeaders | undefined;
  /** What answers of this kind cannot bring, although the object may have it. */
  readonly lacks: LackingHeaders | undefined;
}

/** Called with the names of an object's headers that are ignored: too long, or with characters that a header cannot contain. */
export type OnDroppedHeaders = (ref: ObjectRef, names: readonly string[]) => void;

/** Stores accept any text as a type. A longer one is ignored, because it would have to fit into headers. */
const MAX_TYPE_LENGTH = 1_024;

/** The fields that an object's information is made of. */
export type InfoHead = Pick<RangeHead, "version" | "contentType" | "lastModifiedMs" | "headers" | "lacks">;

/** Lists of headers that several objects have alike, such as the encryption of their bucket. Each is kept once. */
const shared = new BoundedMap<ObjectHeaders, ObjectHeaders>(1_000);

/** Media types. Each is kept once. */
const types = new BoundedMap<string, string>(1_000);

/** V8 copies shorter parts of a string. Longer ones refer to it. */
const MIN_REFERRING_LENGTH = 13;

/** Returns a copy of a part of an answer's head. The part itself would keep the whole head in memory as long as the object is cached. */
function copied(text: string): string {
  return text.length < MIN_REFERRING_LENGTH ? text : Buffer.from(text).toString();
}

function keptType(type: string): string {
  const known = types.get(type);
  if (known !== undefined) return known;
  const kept = copied(type);
  types.set(kept, kept);
  return kept;
}

/** The headers of an object among those of an answer. */
export function objectHeadersOf(
  ref: ObjectRef,
  all: Iterable<readonly [name: string, value: string]>,
  onDropped: OnDroppedHeaders,
): ObjectHeaders | undefined {
  const { headers, dropped } = collectHeaders(all);
  if (dropped.length > 0) onDropped(ref, dropped);
  if (headers === "") return undefined;
  const known = shared.get(headers);
  if (known !== undefined) return known;
  shared.set(headers, headers);
  return headers;
}

/**
 * Checks the head of an answer and makes its body, which is checked while it is received: one version, exactly the requested
 * range or the range up to the object's end. Throws UNAVAILABLE for any other answer, FAILED_PRECONDITION for another version;
 * the body is destroyed then.
 */
export function checkedAnswer(request: OriginRequest, head: RangeHead, received: HttpBody): OriginAnswer {
  const { ref, offset, version } = request;
  try {
    const { length, objectSize } = checkRangeHead(request, head);
    const info = checkedInfo(ref, objectSize, head);
    if (version !== undefined && info.version !== version) throw otherVersion(ref, version);
    const body = new CheckedBody(received, length, bodyErrors(ref, offset, length));
    return { info, length, body };
  } catch (error) {
    received.destroy();
    throw error;
  }
}

/** The object's information. Throws UNAVAILABLE if the version is missing: no two answers could be known to belong together. */
export function checkedInfo(ref: ObjectRef, objectSize: number | undefined, head: InfoHead): ObjectInfo {
  const { version, contentType, lastModifiedMs, headers, lacks } = head;
  if (version === undefined || version === "") throw new UnusableAnswer(ref, "names no version of the object");
  if (version.length > MAX_VERSION_LENGTH)
    throw new UnusableAnswer(ref, `names a version of more than ${MAX_VERSION_LENGTH} characters`);
  // Versions are sent in headers, and block files are named by them.
  if (/\p{Cc}/u.test(version)) throw new UnusableAnswer(ref, "names a version with control characters");
  if (objectSize === undefined || !Number.isSafeInteger(objectSize))
    throw new UnusableAnswer(ref, "does not name the object's size");
  const info: { -readonly [Name in keyof ObjectInfo]: ObjectInfo[Name] } = { version: copied(version), objectSize };
  if (contentType !== undefined && contentType.length <= MAX_TYPE_LENGTH) info.contentType = keptType(contentType);
  if (lastModifiedMs !== undefined && Number.isFinite(lastModifiedMs)) info.lastModifiedMs = lastModifiedMs;
  if (headers !== undefined) info.headers = headers;
  if (lacks !== undefined) info.lacks = lacks;
  return info;
}

/** The error of an object whose version is, or has become, another one than the requested one. */
export function otherVersion(ref: BucketRef, version: string, cause?: unknown): CacheError {
  const message = `${ref.url}: the object's version is not ${JSON.stringify(version)}: request its current version, or none`;
  return new CacheError("FAILED_PRECONDITION", message, { cause });
}

function checkRangeHead(request: OriginRequest, head: RangeHead): { length: number; objectSize: number } {
  const { ref, offset } = request;
  if (head.status === 200) {
    // Without a Content-Range only a whole object shows where its bytes belong.
    const whole = head.contentLength;
    if (whole === undefined || offset !== 0 || whole > request.length) {
      throw new UnusableAnswer(ref, `is the whole object where ${request.length} bytes at ${offset} were requested`);
    }
    // Some stores answer a range of an empty object with a 200; it is a range past the end.
    if (whole === 0) throw outOfRange(ref.url, offset, 0);
    return { length: whole, objectSize: whole };
  }
  if (head.status !== 206) throw new UnusableAnswer(ref, `has status ${head.status}, not 206`);
  const match = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16})$/.exec(head.contentRange ?? "");
  if (match === null) throw new UnusableAnswer(ref, `has no valid Content-Range: ${JSON.stringify(head.contentRange ?? "")}`);
  const [first, last, objectSize] = [Number(match[1]), Number(match[2]), Number(match[3])];
  const length = Math.min(request.length, objectSize - offset);
  if (first !== offset || last !== offset + length - 1) {
    throw new UnusableAnswer(
      ref,
      `is bytes ${first}-${last} of ${objectSize} where ${request.length} at ${offset} were requested`,
    );
  }
  if (head.contentLength !== undefined && head.contentLength !== length) {
    throw new UnusableAnswer(ref, `has ${head.contentLength} bytes, but its Content-Range names ${length}`);
  }
  return { length, objectSize };
}

function bodyErrors(ref: ObjectRef, offset: number, length: number): BodyErrors {
  return {
    broken(received, cause) {
      const message = `${ref.url} at ${offset}: the origin's answer ended after ${received} of ${length} bytes`;
      return new CacheError("UNAVAILABLE", message, { cause });
    },
    surplus: () => new UnusableAnswer(ref, `is longer than the ${length} bytes at ${offset} that it names`),
  };
}

/** The object's bucket does not exist. Another NOT_FOUND is about the object only. */
export class NoSuchBucket extends CacheError {
  constructor({ url }: Pick<BucketRef, "url">, cause?: unknown) {
    super("NOT_FOUND", `${url}: no such bucket`, { cause, s3Code: "NoSuchBucket" });
  }
}

/** An answer that cannot be used, because it does not fit the request or is not a store's at all. Repeating the request rarely helps. */
export class UnusableAnswer extends CacheError {
  /** `why` continues "the origin's answer". */
  constructor(ref: BucketRef, why: string, cause?: unknown) {
    super("UNAVAILABLE", `${ref.url}: the origin's answer ${why}`, { cause });
  }
}

/** Requests fail until somebody changes the configuration. Repeating them does not help, so that nobody does. */
export class Misconfigured extends CacheError {
  constructor({ url }: Pick<BucketRef, "url">, problem: string, cause?: unknown, s3Code?: S3Code) {
    super("UNAVAILABLE", `${url}: ${problem}`, { cause, isOriginTried: true, s3Code });
  }
}

/** The origin denies a principal with credentials of its own what it asks for: nothing that the operator of the cache must mend. */
export class DeniedToPrincipal extends CacheError {
  constructor({ url }: Pick<BucketRef, "url">, problem: string, cause?: unknown) {
    super("PERMISSION_DENIED", `${url}: ${problem}`, { cause, s3Code: "AccessDenied" });
  }
}

/** No answer came: the origin could not be reached, or the connection ended or stood still before the answer. */
export class NoAnswer extends CacheError {
  /** `what` continues "the origin". */
  constructor({ url }: Pick<BucketRef, "url">, what: string, cause?: unknown) {
    super("UNAVAILABLE", `${url}: the origin ${what}`, { cause });
  }
}

/** The origin is known not to answer. Nothing was sent, and repeating the request at once does not help. */
export class OriginUnavailable extends CacheError {
  /** `cause`: the failure that made it unavailable, perhaps of a request for another object. */
  constructor({ url }: Pick<BucketRef, "url">, endpoint: string, silentMs: number, cause: CacheError) {
    const why = cause.message.replace(/^\S+: the origin /, "");
    const message = `${url}: the origin ${endpoint} has not answered for ${Math.ceil(silentMs / 1_000)} s: it ${why}`;
    super("UNAVAILABLE", message, { cause, isOriginTried: true });
  }
}
