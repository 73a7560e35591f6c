import { CacheError } from "@frontcache/proto";
import type { Query } from "../../runtime/query.js";

/** A signature in the query of a request. */
export interface Presigned {
  /** Undefined: it is not of S3's form. */
  readonly accessKeyId: string | undefined;
  /** Milliseconds since 1970. */
  readonly expiresAtMs: number;
}

/** S3's limit: seven days. */
const MAX_EXPIRY_SECONDS = 604_800;

/** Cheap test of a target: only these have a signature in their query. */
const SIGNED_QUERY = /[?&](?:X-Amz-|AWSAccessKeyId=)/i;

/** Returns whether a target may have a signature in its query. */
export function mayBePresigned(target: string): boolean {
  return target.includes("?") && SIGNED_QUERY.test(target);
}

/** Returns whether a request is signed, by a header or in its query, in any form that S3 has. */
export function isSignedRequest(authorization: string | undefined, query: Query): boolean {
  return authorization !== undefined || query.has("X-Amz-Signature") || query.has("AWSAccessKeyId");
}

/**
 * Parses the signature of a presigned URL: SigV4 (X-Amz-Credential, X-Amz-Date, X-Amz-Expires) or SigV2 (AWSAccessKeyId, Expires). The
 * signature itself is not verified. Undefined: the query has none. Throws S3's error for a validity that S3 rejects.
 */
export function presignedIn(query: Query): Presigned | undefined {
  if (query.has("X-Amz-Signature") || query.has("X-Amz-Credential")) return presignedV4(query);
  if (!query.has("AWSAccessKeyId")) return undefined;
  const expires = query.get("Expires") ?? "";
  if (!/^\d{1,12}$/.test(expires)) throw denied("Invalid date (should be seconds since epoch): Expires");
  return { accessKeyId: query.get("AWSAccessKeyId"), expiresAtMs: Number(expires) * 1_000 };
}

/** Throws S3's error if the URL is no longer valid. */
export function checkExpiry({ expiresAtMs }: Presigned, nowMs: number): void {
  if (expiresAtMs <= nowMs) throw denied("Request has expired");
}

function presignedV4(query: Query): Presigned {
  const signedAtMs = amzDateMs(query.get("X-Amz-Date") ?? "");
  if (signedAtMs === undefined) throw denied("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"");
  const expires = query.get("X-Amz-Expires") ?? "";
  if (!/^-?\d{1,9}$/.test(expires)) throw denied("X-Amz-Expires should be a number");
  const seconds = Number(expires);
  if (seconds < 0 || seconds > MAX_EXPIRY_SECONDS) {
    throw denied(`X-Amz-Expires must be from 0 to ${MAX_EXPIRY_SECONDS} seconds`);
  }
  return { accessKeyId: accessKeyIdOf(query.get("X-Amz-Credential") ?? ""), expiresAtMs: signedAtMs + seconds * 1_000 };
}

/** The key's id in `id/date/region/service/aws4_request`; SigV4A has no region. An id may contain slashes. */
function accessKeyIdOf(credential: string): string | undefined {
  return /^(.+)\/\d{8}\/(?:[^/]+\/)?[^/]+\/aws4_request$/.exec(credential)?.[1] ?? /^([^/]+)\/\d{8}$/.exec(credential)?.[1];
}

/** The time of a date of SigV4, `20261128T235959Z`, milliseconds since 1970. Undefined: it is not of this form. */
export function amzDateMs(text: string): number | undefined {
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text) ?? [];
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(ms) ? undefined : ms;
}

function denied(message: string): CacheError {
  return new CacheError("PERMISSION_DENIED", message, { s3Code: "AccessDenied" });
}
