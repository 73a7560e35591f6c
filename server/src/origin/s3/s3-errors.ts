import { abortError, type BucketRef, CacheError, type ErrorCode, outOfRange } from "@frontcache/proto";
import { otherVersion } from "../checked-answer.js";
import type { OriginQuestion, OriginRequest } from "../origin.js";
import { notS3 } from "./s3-listing.js";

/** What an error of S3 means to a reader, by its code; whatever is not here is judged by its HTTP status. */
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
    "this member has no AWS credentials: give it some, or make the bucket anonymous",
  ],
  SlowDown: ["RESOURCE_EXHAUSTED", "the origin throttles"],
  Throttling: ["RESOURCE_EXHAUSTED", "the origin throttles"],
  ThrottlingException: ["RESOURCE_EXHAUSTED", "the origin throttles"],
  RequestLimitExceeded: ["RESOURCE_EXHAUSTED", "the origin throttles"],
  TooManyRequests: ["RESOURCE_EXHAUSTED", "the origin throttles"],
  ExpiredToken: ["UNAVAILABLE", "this member's credentials have expired"],
  RequestTimeTooSkewed: ["UNAVAILABLE", "this member's clock is not the origin's"],
  RequestTimeout: ["UNAVAILABLE", "the origin gave up waiting"],
  TemporaryRedirect: ["UNAVAILABLE", "the bucket is on its way to another region"],
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
  // What S3 says to a GET of a version that marks the deletion of its object.
  405: byName.NoSuchKey!,
  429: byName.SlowDown!,
};

/** The same for requests that are not about one object. */
const byStatusOfBucket: typeof byStatus = {
  ...byStatus,
  404: byName.NoSuchBucket!,
  405: ["INVALID_ARGUMENT", "the origin does not list its objects"],
};

function statusesOf(ref: BucketRef): typeof byStatus {
  return "key" in ref ? byStatus : byStatusOfBucket;
}

/** The parts of the SDK's errors that are read here. All of them may be missing. */
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

/** The region that an error says the bucket is in: redirects name it in a header, rejected signatures in their body. */
export function regionOf(error: unknown): string | undefined {
  const { Region, $metadata, $response } = (error ?? {}) as SdkError;
  const status = $metadata?.httpStatusCode;
  if (status !== 301 && status !== 307 && status !== 400) return undefined;
  return $response?.headers?.["x-amz-bucket-region"] ?? Region;
}

/** Errors that other credentials cure. */
const OF_CREDENTIALS = new Set([
  "ExpiredToken",
  "ExpiredTokenException",
  "InvalidToken",
  "TokenRefreshRequired",
  "InvalidAccessKeyId",
  "SignatureDoesNotMatch",
]);

/** Whether an error may come from credentials that are not valid any more. A HEAD's has no body to tell that by: only 400. */
export function mayBeExpired(error: unknown): boolean {
  const { name = "", $metadata } = (error ?? {}) as SdkError;
  return OF_CREDENTIALS.has(name) || ($metadata?.httpStatusCode === 400 && byName[name] === undefined);
}

/** The error of a request whose credentials had expired, when there are new ones now: worth another try. */
export function expiredCredentials(ref: BucketRef, cause: unknown): CacheError {
  return new CacheError("UNAVAILABLE", `${ref.url}: this member's credentials had expired, there are new ones now`, { cause });
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
