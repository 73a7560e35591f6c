import { InvalidResponse } from "@frontcache/client/http";
import { abortError, CacheError, type ErrorCode, outOfRange } from "@frontcache/proto";
import { Misconfigured, NoAnswer, NoSuchBucket, otherVersion, UnusableAnswer } from "../checked-answer.js";
import { CredentialsFailure } from "../credentials.js";
import { certificateProblem } from "../http/certificate-errors.js";
import { isConnectionError } from "../http/connection-errors.js";
import type { OriginQuestion, OriginRequest, WriteRequest } from "../origin.js";

/** An unsuccessful answer of GCS. */
export interface GcsRefusal {
  readonly status: number;
  readonly contentRange: string | undefined;
  /** Whether the request had a token. */
  readonly isAuthorized: boolean;
  /** The start of its body: JSON with reasons, or a line of text. */
  readonly body: string;
}

const throttled = ["RESOURCE_EXHAUSTED", "the origin throttles"] as const;
const denied = ["PERMISSION_DENIED", "the origin denies access: allow this member's service account to read it"] as const;
const missing = ["NOT_FOUND", "no such object"] as const;

/** What a refusal means, by its status; all others are UNAVAILABLE. */
const byStatus: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  400: ["INVALID_ARGUMENT", "the origin rejects the request"],
  401: denied,
  403: denied,
  404: missing,
  410: missing,
  412: ["FAILED_PRECONDITION", "a condition of the request is not fulfilled"],
  416: ["OUT_OF_RANGE", "the range has none of the object's bytes"],
  429: throttled,
};

/** How GCS distinguishes a missing bucket from a missing object: "No such object: bucket/key". */
const MISSING_BUCKET = /^(?!.*No such object).*The specified bucket does not exist/s;

/** Reasons that mean throttling although their status is 403. */
const THROTTLE_REASON = /"reason":\s*"(?:userRateLimitExceeded|rateLimitExceeded|quotaExceeded)"/;

/** A refusal as a CacheError of one line. */
export function gcsRefusal(refusal: GcsRefusal, request: OriginRequest | OriginQuestion | Pick<WriteRequest, "ref">): CacheError {
  const { ref } = request;
  const { status, contentRange, isAuthorized, body } = refusal;
  const cause = `status ${status}: ${body}`;
  if (status === 401 && isAuthorized) {
    const problem = "the origin rejects this member's token, and its source has no other: check the service account";
    return new Misconfigured(ref, problem, cause);
  }
  if ("offset" in request) {
    const { offset, version } = request;
    if (status === 412 && version !== undefined) return otherVersion(ref, version, cause);
    if (status === 416) {
      const size = /^bytes \*\/(\d+)$/.exec(contentRange ?? "")?.[1];
      if (size !== undefined) return outOfRange(ref.url, offset, Number(size));
      return new CacheError("OUT_OF_RANGE", `${ref.url}: offset ${offset} is not inside the object`, { cause });
    }
  }
  if (status === 404 && (!("key" in ref) || MISSING_BUCKET.test(body))) return new NoSuchBucket(ref, cause);
  const known = status === 403 && THROTTLE_REASON.test(body) ? throttled : byStatus[status];
  if (known !== undefined) return new CacheError(known[0], `${ref.url}: ${known[1]}`, { cause });
  return new CacheError("UNAVAILABLE", `${ref.url}: the origin returned an error (status ${status})`, { cause });
}

/** Total: an error of a call of GCS as a CacheError of one line. */
export function gcsError(error: unknown, { ref, signal }: OriginRequest | OriginQuestion | WriteRequest): CacheError {
  if (error instanceof CredentialsFailure) {
    const message =
      "this member has no valid Google credentials: check their source (Workload Identity, metadata server, key file), or configure anonymous access";
    return new CacheError("UNAVAILABLE", `${ref.url}: ${message}`, { cause: error.cause });
  }
  if (signal.aborted) return abortError(signal);
  if (error instanceof CacheError) return error;
  if (error instanceof InvalidResponse) return new UnusableAnswer(ref, `violates HTTP/1.1: it has ${error.message}`, error);
  const untrusted = certificateProblem(error);
  if (untrusted !== undefined) return new Misconfigured(ref, untrusted, error);
  const code = (error as { code?: unknown } | undefined)?.code;
  const what = typeof code === "string" ? ` (${code})` : "";
  if (isConnectionError(error)) return new NoAnswer(ref, `cannot be reached${what}`, error);
  return new CacheError("UNAVAILABLE", `${ref.url}: the origin cannot be reached${what}`, { cause: error });
}

/** Refuses what a request in S3's form asks for, and GCS does not have. */
export function noEquivalent(what: string): CacheError {
  const message = `GCS has no equivalent of ${what}: leave it out, or ask GCS itself`;
  return new CacheError("INVALID_ARGUMENT", message, { s3Code: "NotImplemented" });
}
