import type { IncomingHttpHeaders } from "node:http";
import type { ObjectRef } from "@frontcache/proto";
import { NO_QUERY, type Query } from "../../runtime/query.js";
import { isSignedRequest } from "../../security/signatures/presigned.js";
import type { Request } from "../http/http-context.js";
import { type CacheDirectives, parseCacheControl } from "./cache-control.js";
import { type Conditions, parseConditions, requiredVersion } from "./conditions.js";
import { hasCustomerKey } from "./customer-key.js";
import { type ErrorResponse, rejection } from "./error-response.js";
import { parseRange, type RequestedRange } from "./range-header.js";
import type { ObjectTarget } from "./request-target.js";

/** A GET or HEAD of an object. */
export interface ObjectRequest {
  readonly target: ObjectTarget;
  readonly ref: ObjectRef;
  readonly isHead: boolean;
  /** It came in the form of frontcache's own clients and members. */
  readonly isPlain: boolean;
  readonly conditions: Conditions;
  readonly range: RequestedRange | undefined;
  /** The version that the client requires. */
  readonly requiredVersion: string | undefined;
  /** One part of an object that was uploaded in parts, from 1 on. */
  readonly partNumber: number | undefined;
  /** Headers in place of those of the object (`response-*`), names and values in turn. */
  readonly overrides: readonly string[];
  readonly wantsChecksums: boolean;
  readonly cacheControl: CacheDirectives;
  /** Why the origin answers it: the cache cannot. Undefined: the cache can. */
  readonly passes: "no-store" | "customer key" | "expected owner" | undefined;
  /** The client agrees to pay for a request to the origin. */
  readonly paysRequest: boolean;
  /** It fetches the object into the cache and gets no bytes. */
  readonly warms: boolean;
}

/** Request header by which clients of S3 ask for the checksums of an object. The only value is ENABLED. */
const CHECKSUM_MODE_HEADER = "x-amz-checksum-mode";
/** Request header of a GET or HEAD that only fetches the object into the cache. The only value that counts is `1`. */
const WARM_HEADER = "frontcache-warm";

const MAX_PART_NUMBER = 10_000;

/** Headers that S3 accepts with writes only. */
const ENCRYPTION_OF_WRITES = [
  "x-amz-server-side-encryption",
  "x-amz-server-side-encryption-aws-kms-key-id",
  "x-amz-server-side-encryption-context",
];

/** The headers that a query can replace. */
const OVERRIDES = {
  "response-cache-control": "Cache-Control",
  "response-content-disposition": "Content-Disposition",
  "response-content-encoding": "Content-Encoding",
  "response-content-language": "Content-Language",
  "response-content-type": "Content-Type",
  "response-expires": "Expires",
} as const;

const NO_OVERRIDES: readonly string[] = [];

/** Parses a request of frontcache's own form, or any other. Returns an error of S3 for a request that S3 rejects. */
export function parseObjectRequest(request: Request, target: ObjectTarget): ObjectRequest | ErrorResponse {
  const { method, repeated } = request;
  const conditions = repeated?.conditions ?? parseConditions(request.headers);
  if (repeated !== undefined) repeated.conditions = conditions;
  const parsed = {
    target,
    ref: target.ref,
    isHead: method === "HEAD",
    isPlain: request.isPlain === true,
    conditions,
    range: repeated === undefined ? parseRange(request.headers.range) : request.range,
    requiredVersion: requiredVersion(conditions),
    partNumber: undefined,
    overrides: NO_OVERRIDES,
    wantsChecksums: false,
    cacheControl: undefined,
    passes: undefined,
    paysRequest: false,
    warms: false,
  };
  // The fixed form has no query and none of the headers below.
  if (request.isPlain === true) return parsed;
  const { headers } = request;
  const { query } = target;
  const unsupported = ENCRYPTION_OF_WRITES.find((name) => headers[name] !== undefined);
  if (unsupported !== undefined)
    return rejection("InvalidRequest", `the header ${unsupported} is not supported for this operation`);
  const partNumber = query === NO_QUERY ? undefined : partNumberIn(query);
  if (typeof partNumber === "object") return partNumber;
  if (partNumber !== undefined && headers.range !== undefined) {
    return rejection("InvalidRequest", "Cannot specify both Range header and partNumber query parameter");
  }
  const overrides = query === NO_QUERY ? NO_OVERRIDES : overridesIn(query);
  if ("status" in overrides) return overrides;
  if (overrides.length > 0 && !isSignedRequest(headers.authorization, query)) {
    const message = "Request specific response headers cannot be used for anonymous GET requests.";
    return rejection("InvalidRequest", message);
  }
  // SDKs move headers into the query of presigned URLs.
  const header = (name: string) => headers[name] ?? (query === NO_QUERY ? undefined : query.get(name));
  const cacheControl = parseCacheControl(headers["cache-control"], headers.pragma);
  return {
    ...parsed,
    partNumber,
    overrides,
    wantsChecksums: header(CHECKSUM_MODE_HEADER) === "ENABLED",
    cacheControl,
    passes: whyPassed(headers, header, cacheControl),
    paysRequest: header("x-amz-request-payer") === "requester",
    warms: headers[WARM_HEADER] === "1",
  };
}

function whyPassed(
  headers: IncomingHttpHeaders,
  header: (name: string) => unknown,
  cacheControl: CacheDirectives,
): ObjectRequest["passes"] {
  // The bytes are nobody's but the key's owner's: they are never cached.
  if (hasCustomerKey(headers)) return "customer key";
  // Only the origin knows the owner of a bucket.
  if (header("x-amz-expected-bucket-owner") !== undefined) return "expected owner";
  return cacheControl?.isBypass === true ? "no-store" : undefined;
}

function partNumberIn(query: Query): number | undefined | ErrorResponse {
  if (!query.has("partNumber")) return undefined;
  const text = query.get("partNumber") ?? "";
  const partNumber = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (partNumber >= 1 && partNumber <= MAX_PART_NUMBER) return partNumber;
  return rejection("InvalidArgument", `Part number must be an integer between 1 and ${MAX_PART_NUMBER}, inclusive`);
}

/** Valid header values, as bytes of UTF-8 in Latin-1. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

function overridesIn(query: Query): readonly string[] | ErrorResponse {
  const overrides: string[] = [];
  for (const name of query.names()) {
    if (!name.startsWith("response-")) continue;
    if (!Object.hasOwn(OVERRIDES, name)) return rejection("InvalidArgument", `${name.slice(0, 100)} cannot be overridden`);
    const value = Buffer.from(query.get(name) ?? "").toString("latin1");
    if (!HEADER_VALUE.test(value)) return rejection("InvalidArgument", `the value of ${name} is not valid in a header`);
    if (value !== "") overrides.push(OVERRIDES[name as keyof typeof OVERRIDES], value);
  }
  return overrides;
}
