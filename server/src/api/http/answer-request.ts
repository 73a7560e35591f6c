import { schemeOfPath } from "@frontcache/proto";
import type { Cache } from "../../routing/cache.js";
import { BucketAnswer } from "../s3/bucket-answer.js";
import { type ErrorResponse, errorResponseOf, notImplemented, sendError } from "../s3/error-response.js";
import { ObjectAnswer } from "../s3/object-answer.js";
import { parseTarget, type RequestTarget } from "../s3/request-target.js";
import type { HttpContext, Reply } from "./http-context.js";
import { answerProbe, isProbe, type Pages } from "./pages.js";
import { rejectUnauthenticated } from "./rejections.js";

/** Maximum target. Keys have up to 1,024 bytes, or three times as many escaped; presigned URLs add about 2 KiB. */
const MAX_TARGET_BYTES = 8 << 10;

const MALFORMED = { status: 400, code: "BadRequest", errorCode: "INVALID_ARGUMENT" } as const;

/** The current state of a listener. */
export interface Serving {
  /** Undefined while the member starts. */
  readonly cache: Cache | undefined;
  /** Empty: ready. */
  readonly notReadyReasons: readonly string[];
  readonly pages: Pages;
}

/** Answers one request of any kind. Never throws. */
export function answerRequest(context: HttpContext, serving: () => Serving): void {
  const error = answerOrReject(context, serving);
  if (error !== undefined) sendError(context, error, resourceOf(context.request.url ?? ""));
}

/** Returns `/bucket/key` or the path, as sent, without its query, which may contain signatures and tokens of presigned URLs. */
function resourceOf(url: string): string {
  const path = url.replace(/^https?:\/\/[^/?]*/i, "").split("?", 1)[0]!;
  const scheme = schemeOfPath(path);
  return scheme === undefined ? path : path.slice(scheme.length + 1) || "/";
}

function answerOrReject(context: HttpContext, serving: () => Serving): ErrorResponse | undefined {
  const { url = "", method, headers, httpVersion } = context.request;
  if (!context.authentication.accepts(headers.authorization)) {
    const error = rejectUnauthenticated(context, serving().pages);
    if (error !== undefined) {
      context.authenticationFailures.failed(error.message, { listener: "http", client: context.client.address });
      return error;
    }
  }
  if (headers.host === undefined && httpVersion === "1.1") return { ...MALFORMED, message: "HTTP/1.1 requires a Host header" };
  if (headers.expect !== undefined && !/^100-continue$/i.test(headers.expect)) {
    return {
      status: 417,
      code: "ExpectationFailed",
      errorCode: "INVALID_ARGUMENT",
      message: "only 100-continue can be expected",
    };
  }
  if (url.length > MAX_TARGET_BYTES) {
    const message = `the path is longer than ${MAX_TARGET_BYTES} bytes`;
    return { status: 414, code: "URITooLong", errorCode: "INVALID_ARGUMENT", message };
  }
  let target: RequestTarget;
  try {
    target = parseTarget(url);
  } catch (error) {
    return { ...errorResponseOf(error), code: "InvalidURI" };
  }
  const isRead = method === "GET" || method === "HEAD";
  if (target.kind === "path") {
    if (!isRead) return nothingHere();
    const { pages, notReadyReasons } = serving();
    const page = pages.get(target.path);
    if (page !== undefined) page(context.request, context.response);
    else if (isProbe(target.path)) answerProbe(context.response, target.path, notReadyReasons);
    else return nothingHere();
    return undefined;
  }
  const error = isRead ? notServed(target) : readOnly();
  if (error !== undefined || target.kind === "buckets") return error;
  const { cache } = serving();
  if (cache === undefined) return starting(context.response);
  if (target.kind === "bucket") new BucketAnswer(context, cache, target.ref, target.query).run();
  else new ObjectAnswer(context, cache, target.ref).run();
  return undefined;
}

/** Returns the error for an S3 operation that this cache does not support. */
function notServed(target: RequestTarget): ErrorResponse | undefined {
  if (target.kind === "buckets") return notImplemented("the list of buckets");
  return target.kind === "object" && target.subresource !== undefined ? notImplemented(target.subresource) : undefined;
}

function readOnly(): ErrorResponse {
  const message = "this is a cache for reading: write to the object store itself";
  return { status: 405, code: "MethodNotAllowed", errorCode: "INVALID_ARGUMENT", message, headers: ["Allow", "GET, HEAD"] };
}

function nothingHere(): ErrorResponse {
  const message = "nothing is served at this path: objects are at /s3/<bucket>/<key> and /gs/<bucket>/<key>";
  return { status: 404, code: "NoSuchResource", errorCode: "NOT_FOUND", message };
}

/** Closes the connection. By that, clients distinguish a member that does not serve yet from one whose origin is unreachable. */
function starting(response: Reply): ErrorResponse {
  response.setHeader("Connection", "close");
  const message = "this member is starting: ask another one, or try again";
  return { status: 503, code: "ServiceUnavailable", errorCode: "UNAVAILABLE", message };
}
