import type { Cache } from "../../routing/cache.js";
import { BucketAnswer } from "./bucket-answer.js";
import type { Exchange } from "./exchange.js";
import { answerProbe, isProbe } from "./health.js";
import { ObjectAnswer } from "./object-answer.js";
import type { Pages } from "./page.js";
import { notImplemented, type Refusal, refusalOf, refuse } from "./refusal.js";
import type { Reply } from "./reply.js";
import { parseTarget, type RequestTarget } from "./request-target.js";
import { refuseUnauthenticated } from "./unauthenticated.js";

/** Keys have 1,024 bytes, thrice as many escaped; presigned URLs bring about 2 KiB along. */
const MAX_TARGET_BYTES = 8 << 10;

const MALFORMED = { status: 400, code: "BadRequest", errorCode: "INVALID_ARGUMENT" } as const;

/** What stands behind the listener when a request comes. */
export interface Behind {
  /** Undefined while the member starts. */
  readonly cache: Cache | undefined;
  /** Empty: ready. */
  readonly notReadyReasons: readonly string[];
  readonly pages: Pages;
}

/** Answers one request, whatever it is. Never throws. */
export function answerRequest(exchange: Exchange, behind: () => Behind): void {
  const refusal = answerOrRefuse(exchange, behind);
  if (refusal !== undefined) refuse(exchange.response, refusal, exchange.request.url ?? "");
}

function answerOrRefuse(exchange: Exchange, behind: () => Behind): Refusal | undefined {
  const { url = "", method, headers, httpVersion } = exchange.request;
  if (!exchange.authentication.accepts(headers.authorization)) {
    const refusal = refuseUnauthenticated(exchange, behind().pages);
    if (refusal !== undefined) return refusal;
  }
  if (headers.host === undefined && httpVersion === "1.1") return { ...MALFORMED, message: "HTTP/1.1 wants a Host header" };
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
    return { ...refusalOf(error), code: "InvalidURI" };
  }
  const isRead = method === "GET" || method === "HEAD";
  if (target.kind === "path") {
    if (!isRead) return nothingHere();
    const { pages, notReadyReasons } = behind();
    const page = pages.get(target.path);
    if (page !== undefined) page(exchange.request, exchange.response);
    else if (isProbe(target.path)) answerProbe(exchange.response, target.path, notReadyReasons);
    else return nothingHere();
    return undefined;
  }
  const refusal = isRead ? notServed(target) : readOnly();
  if (refusal !== undefined || target.kind === "buckets") return refusal;
  const { cache } = behind();
  if (cache === undefined) return starting(exchange.response);
  if (target.kind === "bucket") new BucketAnswer(exchange, cache, target.ref, target.query).run();
  else new ObjectAnswer(exchange, cache, target.ref).run();
  return undefined;
}

/** What S3 has, and a cache of objects has not. */
function notServed(target: RequestTarget): Refusal | undefined {
  if (target.kind === "buckets") return notImplemented("the list of buckets");
  return target.kind === "object" && target.subresource !== undefined ? notImplemented(target.subresource) : undefined;
}

function readOnly(): Refusal {
  const message = "this is a cache for reading: write to the object store itself";
  return { status: 405, code: "MethodNotAllowed", errorCode: "INVALID_ARGUMENT", message, headers: ["Allow", "GET, HEAD"] };
}

function nothingHere(): Refusal {
  const message = "nothing is here: objects are at /s3/<bucket>/<key> and /gs/<bucket>/<key>";
  return { status: 404, code: "NoSuchResource", errorCode: "NOT_FOUND", message };
}

/** The connection ends with it, by which clients tell a member that does not serve from one whose origin is unreachable. */
function starting(response: Reply): Refusal {
  response.setHeader("Connection", "close");
  const message = "this member is starting: ask another one, or try again";
  return { status: 503, code: "ServiceUnavailable", errorCode: "UNAVAILABLE", message };
}
