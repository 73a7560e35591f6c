import type { Readable } from "node:stream";
import { type BucketRef, CacheError, MAX_VERSION_LENGTH, type ObjectInfo, type ObjectRef, outOfRange } from "@frontcache/proto";
import { type BodyErrors, SocketBody } from "./http/socket-body.js";
import type { OriginAnswer, OriginRange } from "./origin.js";

/** What a store's head says of a range, before anything of it is believed. */
export interface RangeHead {
  readonly status: number;
  readonly contentRange: string | undefined;
  /** Bytes of the body; undefined where the head doesn't say. */
  readonly contentLength: number | undefined;
  /** In our form: an ETag without quotes, a generation; undefined where the head has none. */
  readonly version: string | undefined;
  readonly contentType: string | undefined;
  readonly lastModifiedMs: number | undefined;
}

/** Stores take any text for a type. A longer one is passed on as none: it would have to go through headers. */
const MAX_TYPE_LENGTH = 1_024;

/** What must be known of an object before it is believed to exist. */
export type InfoHead = Pick<RangeHead, "version" | "contentType" | "lastModifiedMs">;

/**
 * An answer of which the head has been checked and the body will be: of one version, of exactly the range asked for or to
 * the object's end. Throws UNAVAILABLE for an answer that isn't, FAILED_PRECONDITION for one of another version; the
 * stream is destroyed then.
 */
export function checkedAnswer(
  ref: ObjectRef,
  range: OriginRange,
  head: RangeHead,
  stream: Readable,
  signal: AbortSignal,
): OriginAnswer {
  try {
    const { length, objectSize } = checkRangeHead(ref, range, head);
    const info = checkedInfo(ref, objectSize, head);
    if (range.version !== undefined && info.version !== range.version) throw otherVersion(ref, range.version);
    const body = new SocketBody(stream, length, bodyErrors(ref, range.offset, length), signal);
    return { info, length, body };
  } catch (error) {
    stream.on("error", () => {});
    stream.destroy();
    throw error;
  }
}

/** The object as its head tells; throws UNAVAILABLE where it has no version, because then no two answers belong together. */
export function checkedInfo(ref: ObjectRef, objectSize: number | undefined, head: InfoHead): ObjectInfo {
  const { version, contentType, lastModifiedMs } = head;
  if (version === undefined || version === "") throw distrusted(ref, "names no version of the object");
  if (version.length > MAX_VERSION_LENGTH) throw distrusted(ref, "names a version that is too long for one");
  // No header could name it to a reader, and block files are named by it.
  if (/\p{Cc}/u.test(version)) throw distrusted(ref, "names a version with control characters");
  if (objectSize === undefined || !Number.isSafeInteger(objectSize)) throw distrusted(ref, "does not say the object's size");
  return {
    version,
    objectSize,
    ...(contentType !== undefined && contentType.length <= MAX_TYPE_LENGTH && { contentType }),
    ...(lastModifiedMs !== undefined && Number.isFinite(lastModifiedMs) && { lastModifiedMs }),
  };
}

/** The error of an object that has, or has by now, another version than the one asked for. */
export function otherVersion(ref: BucketRef, version: string, cause?: unknown): CacheError {
  const message = `${ref.url} is not of version ${JSON.stringify(version)} (any more): read it with its current version or with none`;
  return new CacheError("FAILED_PRECONDITION", message, { cause });
}

function checkRangeHead(ref: ObjectRef, range: OriginRange, head: RangeHead): { length: number; objectSize: number } {
  const { offset } = range;
  if (head.status === 200) {
    // Without a Content-Range only a whole object proves where its bytes belong.
    const whole = head.contentLength;
    if (whole === undefined || offset !== 0 || whole > range.length) {
      throw distrusted(ref, `is the whole object where ${range.length} bytes at ${offset} were asked for`);
    }
    // Some stores answer a range of an empty object so; to a reader it is a range past the end.
    if (whole === 0) throw outOfRange(ref.url, offset, 0);
    return { length: whole, objectSize: whole };
  }
  if (head.status !== 206) throw distrusted(ref, `has status ${head.status}, not 206`);
  const match = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16})$/.exec(head.contentRange ?? "");
  if (match === null) throw distrusted(ref, `has no Content-Range to rely on: ${JSON.stringify(head.contentRange ?? "")}`);
  const [first, last, objectSize] = [Number(match[1]), Number(match[2]), Number(match[3])];
  const length = Math.min(range.length, objectSize - offset);
  if (first !== offset || last !== offset + length - 1) {
    throw distrusted(ref, `is bytes ${first}-${last} of ${objectSize} where ${range.length} at ${offset} were asked for`);
  }
  if (head.contentLength !== undefined && head.contentLength !== length) {
    throw distrusted(ref, `holds ${head.contentLength} bytes where its Content-Range names ${length}`);
  }
  return { length, objectSize };
}

function bodyErrors(ref: ObjectRef, offset: number, length: number): BodyErrors {
  return {
    broken: (received, cause) =>
      new CacheError(
        "UNAVAILABLE",
        `${ref.url} at ${offset}: the origin's answer broke off after ${received} of ${length} bytes`,
        {
          cause,
        },
      ),
    surplus: () => distrusted(ref, `is longer than the ${length} bytes at ${offset} that it names`),
  };
}

/** The error of an answer that can't be relied on; `what` goes on after "the origin's answer". */
export function distrusted(ref: BucketRef, what: string): CacheError {
  return new CacheError("UNAVAILABLE", `${ref.url}: not used, because the origin's answer ${what}`);
}
