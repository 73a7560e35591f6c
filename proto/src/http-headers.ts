/**
 * Request header of a member that forwards a read: the receiver answers from its own cache and never forwards the read again.
 * The only value that counts is `1`.
 */
export const FORWARDED_HEADER = "frontcache-forwarded";

/**
 * Request header of a read that must not cause a fill: the receiver answers with cached bytes, or with 404 and NOT_FOUND. The
 * only value that counts is `1`.
 */
export const CACHED_ONLY_HEADER = "frontcache-cached-only";

/**
 * Request header of a member that forwards a read whose client did not say where the read ends: the range's end is the block's,
 * and the object may end long before. The only value that counts is `1`.
 */
export const OPEN_ENDED_HEADER = "frontcache-open-ended";

/**
 * Request header, and metadata over gRPC, of a read that was requested before and got no answer, or not all of it. The receiver
 * counts the requests to the origin that the block has cost a moment ago: if they were as many as one read may cost, it repeats
 * their error. If it knows of none, another member may have made some. The only value that counts is `1`.
 */
export const REPEATED_HEADER = "frontcache-repeated";

/**
 * Request header, and metadata over gRPC, of a member that forwards a read: how many requests to the origin the block may still cost, a
 * whole number. Absent: as many as any first read.
 */
export const ORIGIN_REQUESTS_HEADER = "frontcache-origin-requests";

/**
 * Request header, and metadata over gRPC, of a member that forwards a read: the name of the principal whose own credentials sign the
 * requests to the origin that the read needs, escaped as in URLs. The origin has allowed the principal to read the object.
 */
export const ON_BEHALF_OF_HEADER = "frontcache-on-behalf-of";

/** Returns the name in ON_BEHALF_OF_HEADER. Undefined: the header is missing or malformed. */
export function parseOnBehalfOf(value: unknown): string | undefined {
  if (typeof value !== "string" || !/^[!-~]{1,1024}$/.test(value)) return undefined;
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}

/** The value of ORIGIN_REQUESTS_HEADER. Undefined: the header is missing or malformed. */
export function parseOriginRequests(value: unknown): number | undefined {
  return typeof value === "string" && /^\d{1,2}$/.test(value) ? Number(value) : undefined;
}

/**
 * Request header of a read with a deadline: whole milliseconds until the client gives up. The receiver ends the read then, and starts
 * no request to the origin after it. It only bounds the read: without it, the read ends with its connection.
 */
export const TIMEOUT_HEADER = "frontcache-timeout-ms";

/** Response header of every error that the HTTP listener answers: the ErrorCode. */
export const ERROR_HEADER = "frontcache-error";

/** Response header for a member that forwards a read, if not all headers of the object are known: what is lacking. */
export const LACKS_HEADER = "frontcache-lacks";

/**
 * Response header, and trailing metadata over gRPC, of an error after which nobody asks the origin again: the answering member, or
 * the member that it forwarded to, has asked it as often as one read may. The only value that counts is `1`.
 */
export const TRIED_HEADER = "frontcache-tried";

/** Response header of objects over HTTP: whether the answer came from the cache. */
export const CACHE_STATUS_HEADER = "X-Cache";

/**
 * Whether an answer came from the cache (HIT), from the origin (MISS), or from the cache although the version could not be confirmed
 * because the origin is slow or unreachable (STALE).
 */
export type CacheStatus = "HIT" | "MISS" | "STALE";

/**
 * Response header of a write whose request was sent to the object store, but whose outcome is not known. The only value is `unknown`.
 */
export const OUTCOME_HEADER = "frontcache-outcome";
