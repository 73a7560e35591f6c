import { InvalidResponse } from "@frontcache/client/http";
import { abortError, type BucketRef, CacheError, type ErrorCode, outOfRange } from "@frontcache/proto";
import { Misconfigured, NoAnswer, NoSuchBucket, otherVersion, UnusableAnswer } from "../checked-answer.js";
import { CredentialsFailure } from "../credentials.js";
import { certificateProblem } from "../http/certificate-errors.js";
import { isConnectionError } from "../http/connection-errors.js";
import type { OriginQuestion, OriginRequest, WriteRequest } from "../origin.js";
import { endpointOf, isRedirect, regionOf } from "./bucket-place.js";
import { notS3 } from "./s3-listing.js";

/** What an error of S3 means, by its code. For other codes the HTTP status decides. */
const byName: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  NoSuchKey: ["NOT_FOUND", "no such object"],
  NoSuchVersion: ["NOT_FOUND", "no such object version"],
  NoSuchBucket: ["NOT_FOUND", "no such bucket"],
  AccessDenied: ["PERMISSION_DENIED", "the origin denies access: allow this member's credentials to read it"],
  InvalidObjectState: ["PERMISSION_DENIED", "the object is archived: restore it first"],
  SlowDown: ["RESOURCE_EXHAUSTED", "the origin throttles"],
  Throttling: ["RESOURCE_EXHAUSTED", "the origin throttles"],
  ThrottlingException: ["RESOURCE_EXHAUSTED", "the origin throttles"],
  RequestLimitExceeded: ["RESOURCE_EXHAUSTED", "the origin throttles"],
  TooManyRequests: ["RESOURCE_EXHAUSTED", "the origin throttles"],
  RequestTimeTooSkewed: ["UNAVAILABLE", "this member's clock differs from the origin's: set it"],
  RequestTimeout: ["UNAVAILABLE", "the origin's timeout for the request passed"],
};

const byStatus: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  400: ["INVALID_ARGUMENT", "the origin rejects the request"],
  401: byName.AccessDenied!,
  403: byName.AccessDenied!,
  404: byName.NoSuchKey!,
  // S3's answer to a GET of a version that is a delete marker.
  405: byName.NoSuchKey!,
  429: byName.SlowDown!,
};

/** The same for requests about a bucket. */
const byStatusOfBucket: typeof byStatus = {
  ...byStatus,
  404: byName.NoSuchBucket!,
  405: ["INVALID_ARGUMENT", "the origin does not support listing"],
};

function statusesOf(ref: BucketRef): typeof byStatus {
  return "key" in ref ? byStatus : byStatusOfBucket;
}

/** The fields of the SDK's errors that are used here. Any of them may be missing. */
interface SdkError {
  readonly name?: string;
  readonly code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
}

/** Whether an error means that the object, or its bucket, does not exist: the answer to a HEAD does not say which. */
export function isMissing(error: unknown): boolean {
  return ((error ?? {}) as SdkError).$metadata?.httpStatusCode === 404;
}

/** Rejections of the credentials themselves, which new ones can fix, with what to do if there are no others. */
const rejections: Readonly<Record<string, string>> = {
  ExpiredToken: "have expired, and their source has no others: check the source",
  ExpiredTokenException: "have expired, and their source has no others: check the source",
  TokenRefreshRequired: "have expired, and their source has no others: check the source",
  InvalidToken: "have an invalid session token: check their source",
  InvalidAccessKeyId: "have an access key that the origin does not know: replace it",
  SignatureDoesNotMatch: "do not sign as the origin expects: replace the key pair",
};

/** What a repeated request needs: credentials in place of rejected ones, or nothing but another signature, by the corrected clock. */
export function remedyOf(error: unknown): "other credentials" | "another signature" | undefined {
  const { name = "" } = (error ?? {}) as SdkError;
  if (Object.hasOwn(rejections, name)) return "other credentials";
  // The SDK takes the time from the answer, and signs with it from now on.
  return name === "RequestTimeTooSkewed" ? "another signature" : undefined;
}

/** Whether another request may succeed at once: elsewhere, or with another signature. */
export function isRemediable(error: unknown): boolean {
  return isRedirect(error) || remedyOf(error) !== undefined;
}

/** Whether the error may have a code that S3 sends only in the body of an error, which an answer to a HEAD does not have. */
export function lacksCode(error: unknown): boolean {
  const status = ((error ?? {}) as SdkError).$metadata?.httpStatusCode;
  return status === 400 || status === 403 || (status === 301 && regionOf(error) === undefined);
}

/** Total: an error of an S3 call as a CacheError of one line. The SDK's own text, which may contain signed URLs, stays in the cause. */
export function s3Error(error: unknown, request: OriginRequest | OriginQuestion | WriteRequest): CacheError {
  const { ref, signal } = request;
  if (error instanceof CredentialsFailure) {
    const message =
      "this member has no valid AWS credentials: check their source (IAM role, Pod Identity, profile, AWS_*), or configure anonymous access";
    return new CacheError("UNAVAILABLE", `${ref.url}: ${message}`, { cause: error.cause });
  }
  if (signal.aborted) return abortError(signal);
  if (error instanceof CacheError) return error;
  const { name = "", code, $metadata, $response } = (error ?? {}) as SdkError;
  if (Object.hasOwn(rejections, name)) {
    // A wrong key pair does not mend itself, and S3's clients repeat requests that are unavailable.
    const s3Code = name === "SignatureDoesNotMatch" ? "AccessDenied" : undefined;
    return new Misconfigured(ref, `this member's credentials ${rejections[name]}`, error, s3Code);
  }
  const status = $metadata?.httpStatusCode;
  if ("offset" in request) {
    const { offset, version } = request;
    if (version !== undefined && (name === "PreconditionFailed" || status === 412)) return otherVersion(ref, version, error);
    if (name === "InvalidRange" || status === 416) return pastTheEnd(ref, offset, $response?.headers?.["content-range"], error);
  }
  if (isRedirect(error) || name === "AuthorizationHeaderMalformed") return new Misconfigured(ref, elsewhere(error, ref), error);
  const known = byName[name] ?? (status === undefined ? undefined : statusesOf(ref)[status]);
  if (known === byName.NoSuchBucket) return new NoSuchBucket(ref, error);
  if (known !== undefined) {
    const s3Code = known === byName.InvalidObjectState ? "InvalidObjectState" : undefined;
    return new CacheError(known[0], `${ref.url}: ${known[1]}`, { cause: error, s3Code });
  }
  if (status !== undefined && status >= 200 && status < 300) return notS3(ref, error);
  if (error instanceof InvalidResponse) return new UnusableAnswer(ref, `violates HTTP/1.1: it has ${error.message}`, error);
  const untrusted = certificateProblem(error);
  if (untrusted !== undefined) return new Misconfigured(ref, untrusted, error);
  if (isConnectionError(error)) return new NoAnswer(ref, `cannot be reached (${code ?? name})`, error);
  const what = status === undefined ? `cannot be reached (${code ?? name})` : `returned an error (status ${status})`;
  return new CacheError("UNAVAILABLE", `${ref.url}: the origin ${what}`, { cause: error });
}

/** The longest name in DNS. */
const MAX_HOST_LENGTH = 253;

/** What to configure for a bucket whose place could not be found by a redirect. */
function elsewhere(error: unknown, ref: BucketRef): string {
  const region = regionOf(error);
  const host = endpointOf(error, ref, "https:")?.host.slice(0, MAX_HOST_LENGTH);
  const settings = [
    region === undefined ? "`region`" : `\`region: ${region}\``,
    host === undefined ? "`endpoint`" : `\`endpoint\` (the origin names ${host})`,
  ];
  return `the bucket is in another region or at another endpoint: set ${settings.join(" and ")} for it in the origins file`;
}

function pastTheEnd(ref: BucketRef, offset: number, contentRange: string | undefined, cause: unknown): CacheError {
  const size = /^bytes \*\/(\d+)$/.exec(contentRange ?? "")?.[1];
  if (size !== undefined) return outOfRange(ref.url, offset, Number(size));
  return new CacheError("OUT_OF_RANGE", `${ref.url}: offset ${offset} is not inside the object`, { cause });
}
