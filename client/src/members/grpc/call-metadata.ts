import {
  type CacheError,
  COMPLETION_TRAILER,
  CONFLICT_TRAILER,
  conflictReasonOf,
  decodeCompletion,
  encodeCompletion,
  headersFromLines,
  LACKS_HEADER,
  lackingFrom,
  type ObjectInfo,
  type S3Code,
  s3CodeOf,
  TRIED_HEADER,
  ValueConflict,
} from "@frontcache/proto";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import type { Access } from "../access.js";

/** Returns the metadata of a client's call. */
export function callMetadata({ authorization }: Access): Metadata {
  const metadata = new Metadata();
  const value = authorization();
  if (value !== undefined) metadata.set("authorization", value);
  return metadata;
}

/**
 * Trailer of every error that a member itself returns for a read. gRPC uses the same codes for failures of the connection.
 * UNAVAILABLE with the trailer: the member's origin is unreachable, and another member could not do better. UNAVAILABLE without
 * it: the member is unreachable, starting or shutting down, and another member may answer.
 */
const ANSWERED = "frontcache-answered";

/** Trailer of an error for which S3 has a code that says more than gRPC's. */
const S3_CODE = "frontcache-s3-code";

/** Returns the trailers of a member's error. A new object each time, because grpc-js adds to it. */
export function answeredTrailers(error: Pick<CacheError, "isOriginTried" | "s3Code">): Metadata {
  const { isOriginTried, s3Code } = error;
  const trailers = new Metadata();
  trailers.set(ANSWERED, "1");
  if (isOriginTried) trailers.set(TRIED_HEADER, "1");
  if (s3Code !== undefined) trailers.set(S3_CODE, s3Code);
  if (error instanceof ValueConflict) {
    trailers.set(CONFLICT_TRAILER, error.reason);
    const completion = error.completion && encodeCompletion(error.completion);
    if (completion !== undefined && completion.length <= MAX_COMPLETION_BYTES) trailers.set(COMPLETION_TRAILER, completion);
  }
  return trailers;
}

/** Trailers have little room. A completion in many pieces is left out: DescribeUpload has it. */
const MAX_COMPLETION_BYTES = 2 << 10;

/** Returns the conflict that the trailers of an error report; undefined: none. */
export function conflictIn(
  { metadata }: Partial<Pick<ServiceError, "metadata">>,
  message: string,
  cause: unknown,
): ValueConflict | undefined {
  const reason = conflictReasonOf(metadata?.get(CONFLICT_TRAILER)[0]);
  if (reason === undefined) return undefined;
  const [completion] = metadata?.get(COMPLETION_TRAILER) ?? [];
  const known = typeof completion === "object" ? decodeCompletion(completion) : undefined;
  return new ValueConflict(reason, message, known, { cause });
}

/** Returns S3's code of an error; undefined: the trailers name none. */
export function s3CodeIn({ metadata }: Partial<Pick<ServiceError, "metadata">>): S3Code | undefined {
  return s3CodeOf(metadata?.get(S3_CODE)[0]?.toString());
}

/** Returns whether the trailers of an error forbid further origin requests. */
export function isOriginTried({ metadata }: Partial<Pick<ServiceError, "metadata">>): boolean {
  return metadata?.get(TRIED_HEADER)[0] === "1";
}

/** Codes of calls whose connection was lost. The code depends on the time of the loss. */
const BROKEN: ReadonlySet<status> = new Set([status.UNAVAILABLE, status.CANCELLED, status.UNKNOWN, status.INTERNAL]);

/**
 * Returns whether a call failed because the member is unreachable, starting or shutting down. The caller must not have cancelled
 * it.
 */
export function isUnreachable({ code, metadata }: Pick<ServiceError, "code" | "metadata">): boolean {
  return BROKEN.has(code) && metadata?.get(ANSWERED).length !== 1;
}

/** Response headers between members, for data without a field in FrontCache's messages. */
const CONTENT_TYPE = "frontcache-content-type-bin";
const LAST_MODIFIED = "frontcache-last-modified-ms";
const HEADERS = "frontcache-headers-bin";

/**
 * Converts the description of an object to response metadata. Text is sent as bytes, because origins return it as it was
 * uploaded.
 */
export function descriptionMetadata({ contentType, lastModifiedMs, headers, lacks }: ObjectInfo): Metadata {
  const metadata = new Metadata();
  if (contentType !== undefined) metadata.set(CONTENT_TYPE, Buffer.from(contentType));
  if (lastModifiedMs !== undefined) metadata.set(LAST_MODIFIED, `${lastModifiedMs}`);
  if (headers !== undefined) metadata.set(HEADERS, Buffer.from(headers, "latin1"));
  if (lacks !== undefined) metadata.set(LACKS_HEADER, lacks);
  return metadata;
}

/** Reads the description of an object from response metadata. All fields are absent if the member sent none. */
export function descriptionFrom(metadata: Metadata): Omit<ObjectInfo, "version" | "objectSize"> {
  const [contentType] = metadata.get(CONTENT_TYPE);
  const lastModifiedMs = Number(metadata.get(LAST_MODIFIED)[0] ?? Number.NaN);
  const [headers] = metadata.get(HEADERS);
  const [lacks = ""] = metadata.get(LACKS_HEADER);
  return {
    ...(contentType === undefined ? {} : { contentType: contentType.toString() }),
    ...(Number.isFinite(lastModifiedMs) ? { lastModifiedMs } : {}),
    ...(headers === undefined ? {} : headersFromLines(headers.toString("latin1"))),
    ...lackingFrom(lacks.toString()),
  };
}
