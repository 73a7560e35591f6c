import type { ObjectInfo } from "@frontcache/proto";
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
export function answeredTrailers(): Metadata {
  const trailers = new Metadata();
  trailers.set(ANSWERED, "1");
  return trailers;
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

/** An object's type and time as headers of a response. The type is sent as bytes, since origins pass on what was uploaded. */
export function objectHeaders({ contentType, lastModifiedMs }: ObjectInfo): Metadata {
  const headers = new Metadata();
  if (contentType !== undefined) headers.set(CONTENT_TYPE, Buffer.from(contentType));
  if (lastModifiedMs !== undefined) headers.set(LAST_MODIFIED, `${lastModifiedMs}`);
  return headers;
}

/** An object's type and time in the headers of a response. Both are absent if the answering member sent none. */
export function fromObjectHeaders(headers: Metadata): Pick<ObjectInfo, "contentType" | "lastModifiedMs"> {
  const [contentType] = headers.get(CONTENT_TYPE);
  const lastModifiedMs = Number(headers.get(LAST_MODIFIED)[0] ?? Number.NaN);
  return {
    ...(contentType === undefined ? {} : { contentType: contentType.toString() }),
    ...(Number.isFinite(lastModifiedMs) ? { lastModifiedMs } : {}),
  };
}
