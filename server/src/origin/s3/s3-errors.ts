import { abortError, type BucketRef, CacheError, type ErrorCode, outOfRange } from "@frontcache/proto";
import { NoSuchBucket, otherVersion } from "../checked-answer.js";
import type { OriginQuestion, OriginRequest } from "../origin.js";
import { notS3 } from "./s3-listing.js";

/** What an error of S3 means, by its code. For other codes the HTTP status decides. */
const byName: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  NoSuchKey: ["NOT_FOUND", "no such object"],
  NoSuchVersion: ["NOT_FOUND", "no such object version"],
  NoSuchBucket: ["NOT_FOUND", "no such bucket"],
  AccessDenied: ["PERMISSION_DENIED", "the origin denies access: allow this member's credentials to read it"],
  InvalidAccessKeyId: ["PERMISSION_DENIED", "the origin does not know this member's access key"],
  SignatureDoesNotMatch: ["PERMISSION_DENIED", "the origin rejects this member's secret key"],
  InvalidObjectState: ["PERMISSION_DENIED", "the object is archived: restore it first"],
  CredentialsProviderError: [
    "PERMISSION_DENIED",
    "this member has no AWS credentials: configure some, or anonymous access to the bucket",
  ],
  SlowDown: ["RESOURCE_EXHAUSTED", "the origin throttles"],
  Throttling: ["RESOURCE_EXHAUSTED", "the origin throttles"],
  ThrottlingException: ["RESOURCE_EXHAUSTED", "the origin throttles"],
  RequestLimitExceeded: ["RESOURCE_EXHAUSTED", "the origin throttles"],
  TooManyRequests: ["RESOURCE_EXHAUSTED", "the origin throttles"],
  ExpiredToken: ["UNAVAILABLE", "this member's credentials have expired"],
  RequestTimeTooSkewed: ["UNAVAILABLE", "this member's clock differs from the origin's"],
  RequestTimeout: ["UNAVAILABLE", "the origin's timeout for the request passed"],
  TemporaryRedirect: ["UNAVAILABLE", "the bucket is being moved to another region"],
  PermanentRedirect: ["UNAVAILABLE", "the bucket is in another region or at another endpoint: configure it for this bucket"],
  AuthorizationHeaderMalformed: ["UNAVAILABLE", "the bucket is in another region: configure it for this bucket"],
};

const byStatus: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  301: byName.PermanentRedirect!,
  307: byName.TemporaryRedirect!,
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
  /** From the body of AuthorizationHeaderMalformed. */
  readonly Region?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
}

/** Whether an error means that the object, or its bucket, does not exist: the answer to a HEAD does not say which. */
export function isMissing(error: unknown): boolean {
  return ((error ?? {}) as SdkError).$metadata?.httpStatusCode === 404;
}

/** The bucket's region according to an error: redirects name it in a header, rejected signatures in their body. */
export function regionOf(error: unknown): string | undefined {
  const { Region, $metadata, $response } = (error ?? {}) as SdkError;
  const status = $metadata?.httpStatusCode;
  if (status !== 301 && status !== 307 && status !== 400) return undefined;
  return $response?.headers?.["x-amz-bucket-region"] ?? Region;
}

/** Errors that new credentials can fix. */
const OF_CREDENTIALS = new Set([
  "ExpiredToken",
  "ExpiredTokenException",
  "InvalidToken",
  "TokenRefreshRequired",
  "InvalidAccessKeyId",
  "SignatureDoesNotMatch",
]);

/** Whether credentials that have become invalid may have caused the error. A HEAD's error has no body, only status 400. */
export function mayBeExpired(error: unknown): boolean {
  const { name = "", $metadata } = (error ?? {}) as SdkError;
  return OF_CREDENTIALS.has(name) || ($metadata?.httpStatusCode === 400 && byName[name] === undefined);
}

/** The error of a request whose credentials had expired, if there are new ones now: a retry can succeed. */
export function expiredCredentials(ref: BucketRef, cause: unknown): CacheError {
  return new CacheError("UNAVAILABLE", `${ref.url}: this member's credentials had expired and have been renewed`, { cause });
}

/** Total: an error of an S3 call as a CacheError of one line. The SDK's own text, which may contain signed URLs, stays in the cause. */
export function s3Error(error: unknown, request: OriginRequest | OriginQuestion): CacheError {
  const { ref, signal } = request;
  if (signal.aborted) return abortError(signal);
  if (error instanceof CacheError) return error;
  const { name = "", code, $metadata, $response } = (error ?? {}) as SdkError;
  const status = $metadata?.httpStatusCode;
  if ("offset" in request) {
    const { offset, version } = request;
    if (version !== undefined && (name === "PreconditionFailed" || status === 412)) return otherVersion(ref, version, error);
    if (name === "InvalidRange" || status === 416) return pastTheEnd(ref, offset, $response?.headers?.["content-range"], error);
  }
  const known = byName[name] ?? (status === undefined ? undefined : statusesOf(ref)[status]);
  if (known === byName.NoSuchBucket) return new NoSuchBucket(ref, error);
  if (known !== undefined) return new CacheError(known[0], `${ref.url}: ${known[1]}`, { cause: error });
  if (status !== undefined && status >= 200 && status < 300) return notS3(ref, error);
  const what = status === undefined ? `cannot be reached (${code ?? name})` : `returned an error (status ${status})`;
  return new CacheError("UNAVAILABLE", `${ref.url}: the origin ${what}`, { cause: error });
}

function pastTheEnd(ref: BucketRef, offset: number, contentRange: string | undefined, cause: unknown): CacheError {
  const size = /^bytes \*\/(\d+)$/.exec(contentRange ?? "")?.[1];
  if (size !== undefined) return outOfRange(ref.url, offset, Number(size));
  return new CacheError("OUT_OF_RANGE", `${ref.url}: offset ${offset} is not inside the object`, { cause });
}
