import type { Query } from "./query.js";

/** Returns whether a request is signed, by a header or in its query, in any form that S3 has. The signature is not verified. */
export function isSignedRequest(authorization: string | undefined, query: Query): boolean {
  if (authorization !== undefined) return true;
  return query.has("X-Amz-Signature") || query.has("AWSAccessKeyId");
}
