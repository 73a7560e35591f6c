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

/** Response header of every error that the HTTP listener answers: the ErrorCode. */
export const ERROR_HEADER = "frontcache-error";

/** Response header for a member that forwards a read, if not all headers of the object are known: what is lacking. */
export const LACKS_HEADER = "frontcache-lacks";
