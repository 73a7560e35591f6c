import type { CacheError } from "@frontcache/proto";
import type { Request } from "../http/http-context.js";
import type { ErrorResponse } from "./error-response.js";
import type { ObjectRequest } from "./object-request.js";
import type { ObjectTarget } from "./request-target.js";

/** The answer if an If-Match or If-Unmodified-Since is not fulfilled. */
export const FAILED: ErrorResponse = {
  status: 412,
  code: "PreconditionFailed",
  errorCode: "FAILED_PRECONDITION",
  message: "a condition of the request is not fulfilled",
};

/** The answer to a read that must not ask the origin (only-if-cached), if not all of it is cached. */
export const NOT_CACHED: ErrorResponse = {
  status: 504,
  code: "GatewayTimeout",
  errorCode: "NOT_FOUND",
  message: "the object is not cached, and the request forbids to ask the origin (Cache-Control: only-if-cached)",
};

/** Characters of a Range header that an error document repeats. */
const MAX_RANGE = 200;

/** S3's answer to a range that has no byte of the object. */
export function unsatisfiable({ headers }: Request, { ref }: ObjectRequest, objectSize: number): ErrorResponse {
  return {
    status: 416,
    code: "InvalidRange",
    errorCode: "OUT_OF_RANGE",
    message: `${ref.url}: the range has none of the object's ${objectSize} bytes`,
    elements: ["RangeRequested", (headers.range ?? "").slice(0, MAX_RANGE), "ActualObjectSize", String(objectSize)],
    headers: ["Content-Range", `bytes */${objectSize}`],
  };
}

/** Whether the origin's own answer says more than the error: its document, its status, headers such as x-amz-delete-marker. */
export function originKnowsMore({ code, s3Code }: CacheError, { ref, target, paysRequest, isPlain }: ObjectRequest): boolean {
  // Frontcache's own clients use the code.
  if (ref.scheme !== "s3" || isPlain) return false;
  if (s3Code === "InvalidObjectState") return true;
  if (code === "PERMISSION_DENIED") return paysRequest;
  return target.versionId !== undefined && s3Code !== "NoSuchBucket" && (code === "NOT_FOUND" || code === "INVALID_ARGUMENT");
}

/** The subject of an error document. */
export function resourceOf({ bare: { bucket, key } }: ObjectTarget): string {
  return `/${bucket}/${key}`;
}
