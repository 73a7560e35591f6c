import { type CacheError, headersFromLines, LACKS_HEADER, lackingFrom, type ObjectInfo, TRIED_HEADER } from "@frontcache/proto";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import type { Access } from "../access.js";

/** The metadata of a client's call. */
export function callMetadata({ authorization }: Access): Metadata {
  const metadata = new Metadata();
  const value = authorization();
  if (value !== undefined) metadata.set("authorization", value);
  return metadata;
}

/**
 * Trailer of every error with which a member itself answers a read. gRPC uses the same codes for failures of the connection.
 * UNAVAILABLE with the trailer: the member's origin is unreachable, and another member could not do better. UNAVAILABLE without it:
 * the member is unreachable, starting or shutting down, and another member may answer.
 */
const ANSWERED = "frontcache-answered";

/** The trailers of an error with which a member answers. A new object each time, because grpc-js adds to it. */
export function answeredTrailers({ isOriginTried }: Pick<CacheError, "isOriginTried">): Metadata {
  const trailers = new Metadata();
  trailers.set(ANSWERED, "1");
  if (isOriginTried) trailers.set(TRIED_HEADER, "1");
  return trailers;
}

/** Whether a member says in the trailers of an error that the origin must not be asked again. */
export function isOriginTried({ metadata }: Partial<Pick<ServiceError, "metadata">>): boolean {
  return metadata?.get(TRIED_HEADER)[0] === "1";
}

/** Codes that grpc-js gives to calls whose connection breaks. The code depends on where in the call it breaks. */
const BROKEN: ReadonlySet<status> = new Set([status.UNAVAILABLE, status.CANCELLED, status.UNKNOWN, status.INTERNAL]);

/** Whether a call failed because the member is unreachable, starting or shutting down. Its caller must not have cancelled it. */
export function isUnreachable({ code, metadata }: Pick<ServiceError, "code" | "metadata">): boolean {
  return BROKEN.has(code) && metadata?.get(ANSWERED).length !== 1;
}

/** Response headers between members, for what FrontCache's messages have no field for. */
const CONTENT_TYPE = "frontcache-content-type-bin";
const LAST_MODIFIED = "frontcache-last-modified-ms";
const HEADERS = "frontcache-headers-bin";

/** What is known of an object as metadata of a response. Text is sent as bytes, since origins pass on what was uploaded. */
export function descriptionMetadata({ contentType, lastModifiedMs, headers, lacks }: ObjectInfo): Metadata {
  const metadata = new Metadata();
  if (contentType !== undefined) metadata.set(CONTENT_TYPE, Buffer.from(contentType));
  if (lastModifiedMs !== undefined) metadata.set(LAST_MODIFIED, `${lastModifiedMs}`);
  if (headers !== undefined) metadata.set(HEADERS, Buffer.from(headers, "latin1"));
  if (lacks !== undefined) metadata.set(LACKS_HEADER, lacks);
  return metadata;
}

/** What the metadata of a response says of an object. Everything is absent if the answering member sent nothing. */
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
