import { type BucketRef, CacheError, schemeOfPath } from "@frontcache/proto";
import type { Cache } from "../../routing/cache.js";
import { mayBePresigned } from "../../security/signatures/presigned.js";
import { answerJson } from "../gcs/json-answer.js";
import { isJsonPath } from "../gcs/json-target.js";
import { authenticateRequest } from "../http/authenticate-request.js";
import type { HttpContext, Reply, Request } from "../http/http-context.js";
import { answerProbe, isProbe } from "../http/pages.js";
import { deniedPage } from "../http/rejections.js";
import type { Serving } from "../http/site.js";
import { answerOperation } from "./answer-operation.js";
import { addCorsHeaders, answerPreflight, type Cors, corsQuestionOf } from "./cors.js";
import type { CorsQuestion, CorsRule } from "./cors-rules.js";
import { type ErrorResponse, errorResponseOf, sendError } from "./error-response.js";
import { answerObject } from "./object-answer.js";
import { type Operation, recognize } from "./operations.js";
import {
  type Addressing,
  isHost,
  type ObjectTarget,
  type RequestTarget,
  type S3Target,
  type TargetParser,
} from "./request-target.js";

/** Maximum target. Keys have up to 1,024 bytes, or three times as many escaped; presigned URLs add about 2 KiB. */
const MAX_TARGET_BYTES = 8 << 10;

/** Answers one request of any kind. Never throws. */
export function answerRequest(context: HttpContext, targets: TargetParser, cors: Cors, serving: () => Serving): void {
  const target = context.request.repeated?.target;
  if (target !== undefined) {
    answerAgain(context, target, targets.addressing, serving);
    return;
  }
  const question = corsQuestionOf(context);
  if (question === undefined) answerOwn(context, targets, cors, serving);
  else answerForeignPage(context, targets, cors, question, serving);
}

/** Answers a request that differs in nothing but its range from one that was answered before. */
function answerAgain(context: HttpContext, target: ObjectTarget, addressing: Addressing, serving: () => Serving): void {
  const refuse = (error: ErrorResponse): void => sendError(context, error, resourceOf(context.request.url ?? "", addressing));
  const proceed = (): void => {
    const { served } = serving();
    if (served === undefined) refuse(starting(context.response));
    else answerObject(context, served, target);
  };
  authenticateRequest(context, serving(), proceed, refuse);
}

/** Authenticates a request, of a page or not, and answers it. */
function answerOwn(context: HttpContext, targets: TargetParser, cors: Cors, serving: () => Serving): void {
  const refuse = (error: ErrorResponse): void =>
    sendError(context, error, resourceOf(context.request.url ?? "", targets.addressing));
  const proceed = (): void => {
    const error = answerOrReject(context, targets, cors, serving());
    if (error !== undefined) refuse(error);
  };
  authenticateRequest(context, serving(), proceed, refuse);
}

/** Answers a request of a page of another origin: a preflight, or any other request with headers for the page. */
function answerForeignPage(
  context: HttpContext,
  targets: TargetParser,
  cors: Cors,
  question: CorsQuestion | ErrorResponse,
  serving: () => Serving,
): void {
  const { request, response } = context;
  const reject = (error: ErrorResponse | undefined): void => {
    if (error !== undefined) sendError(context, error, resourceOf(request.url ?? "", targets.addressing));
  };
  if ("status" in question) {
    reject(question);
    return;
  }
  const isPreflight = request.method === "OPTIONS";
  const proceed = (rules: readonly CorsRule[]): void => {
    if (isPreflight) reject(answerPreflight(context, rules, question));
    else {
      addCorsHeaders(response, rules, question);
      answerOwn(context, targets, cors, serving);
    }
  };
  const bucket = bucketOf(context, targets);
  const { served: cache } = serving();
  // Without a bucket there are no rules.
  const rules =
    bucket === undefined || cache === undefined ? [] : cors.rulesOf(bucket, cache, context, signerOf(context, question));
  if (rules instanceof Promise) void rules.then((known) => context.signal.aborted || proceed(known));
  else proceed(rules);
}

/**
 * The name of the principal that presigned the URL of a page's request. A preflight has the signature of the request that it announces,
 * and none of its headers. Undefined: nobody did, or it cannot be verified, which the answer to the request itself says.
 */
function signerOf({ request, authentication }: HttpContext, { method }: CorsQuestion): string | undefined {
  const { url = "", headers } = request;
  if (!mayBePresigned(url)) return undefined;
  try {
    const found = authentication.authenticate(request.method === "OPTIONS" ? { method, url, headers: hostOf(headers) } : request);
    if (found instanceof Promise) {
      found.catch(() => {});
      return undefined;
    }
    return found.method === "signature" ? found.name : undefined;
  } catch {
    return undefined;
  }
}

function hostOf({ host }: Request["headers"]): Request["headers"] {
  return host === undefined ? {} : { host };
}

/** The bucket that a request names. Undefined: it names none, or is malformed, which its answer says. */
function bucketOf(context: HttpContext, targets: TargetParser): BucketRef | undefined {
  if (malformedHead(context) !== undefined) return undefined;
  const { url = "", headers } = context.request;
  try {
    const target = targets.parse(url, headers.host);
    return target.scope === "bucket" || target.scope === "object" ? target.ref : undefined;
  } catch {
    return undefined;
  }
}

/** Returns `/bucket/key` or the path, as sent, without its query, which may contain signatures and tokens of presigned URLs. */
function resourceOf(url: string, { form }: Addressing): string {
  const path = url.replace(/^https?:\/\/[^/?]*/i, "").split("?", 1)[0]!;
  const scheme = form === "root" ? undefined : schemeOfPath(path);
  return scheme === undefined ? path : path.slice(scheme.length + 1) || "/";
}

function answerOrReject(context: HttpContext, targets: TargetParser, cors: Cors, serving: Serving): ErrorResponse | undefined {
  const { url = "", method = "", headers } = context.request;
  const malformed = malformedHead(context);
  if (malformed !== undefined) return malformed;
  let target: RequestTarget;
  try {
    target = targets.parse(url, headers.host);
  } catch (error) {
    const { s3Code = "InvalidURI" } = CacheError.from(error);
    return { ...errorResponseOf(error), code: s3Code };
  }
  if (target.scope === "path" && isJsonPath(target.path)) return answerGcs(context, url, serving.served);
  if (target.scope === "path") return answerPage(context, target.path, serving);
  if (method !== "GET" && method !== "HEAD" && context.upload === undefined) return readOnly();
  return answerS3(context, target, cors, serving.served);
}

/** The error of a request that no target can answer. */
export function malformedHead({ request }: HttpContext, maxTargetBytes = MAX_TARGET_BYTES): ErrorResponse | undefined {
  const { url = "", headers, httpVersion, rawHeaders } = request;
  const { host } = headers;
  if (host === undefined ? httpVersion === "1.1" : !isHost(host) || (rawHeaders !== undefined && hasTwoHosts(rawHeaders))) {
    return invalid("InvalidHostHeader", "a request has one Host header, of the form host or host:port");
  }
  if (url.length <= maxTargetBytes) return undefined;
  return { ...invalid("URITooLong", `the path is longer than ${maxTargetBytes} bytes`), status: 414 };
}

/** Node ignores all but the first one. `rawHeaders` alternates names and values. */
function hasTwoHosts(rawHeaders: readonly string[]): boolean {
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    if (name.length === 4 && name.toLowerCase() === "host") hosts++;
  }
  return hosts > 1;
}

function answerPage(context: HttpContext, path: string, serving: Serving): ErrorResponse | undefined {
  const { request, response } = context;
  const { pages, notReadyReasons, authorization } = serving;
  if (request.method !== "GET" && request.method !== "HEAD") return nothingHere();
  const page = pages.get(path);
  if (page !== undefined) {
    try {
      authorization.checkCluster(context.principal, "status");
    } catch (error) {
      return deniedPage(context, CacheError.from(error));
    }
    page(request, response);
  } else if (isProbe(path)) answerProbe(response, path, notReadyReasons);
  else return nothingHere();
  return undefined;
}

function answerS3(context: HttpContext, target: S3Target, cors: Cors, cache: Cache | undefined): ErrorResponse | undefined {
  const { method = "" } = context.request;
  const recognized = recognize(method, target.scope, target.query);
  switch (recognized.kind) {
    case "unknown":
      return {
        status: 501,
        code: "NotImplemented",
        errorCode: "INVALID_ARGUMENT",
        message: `the sub-resource ${recognized.subresource} is not known: ask the object store itself`,
      };
    case "conflict":
      return invalid("InvalidArgument", `Conflicting query string parameters: ${recognized.subresources.join(", ")}`);
    case "method":
      return notAllowed(`${method} is not allowed against this resource`, recognized.allowed);
    case "operation":
      if (cache === undefined) return starting(context.response);
      remember(context.request, target);
      return answerOperation(
        context,
        changesCors(recognized.operation) ? cors.watch(cache) : cache,
        recognized.operation,
        target,
      );
  }
}

function changesCors(operation: Operation): boolean {
  return operation === "PutBucketCors" || operation === "DeleteBucketCors";
}

/** The query of a plain request selects no sub-resource: of an object it is a GetObject or a HeadObject, as those that repeat it. */
function remember({ repeated }: Request, target: S3Target): void {
  if (repeated !== undefined && target.scope === "object") repeated.target = target;
}

/** GCS's own clients put these paths after the address that they are given. */
function answerGcs(context: HttpContext, url: string, cache: Cache | undefined): ErrorResponse | undefined {
  if (cache === undefined) return starting(context.response);
  answerJson(context, cache, url.replace(/^https?:\/\/[^/?]*/i, ""));
  return undefined;
}

function invalid(code: string, message: string): ErrorResponse {
  return { status: 400, code, errorCode: "INVALID_ARGUMENT", message };
}

function readOnly(): ErrorResponse {
  return notAllowed("this is a cache for reading: write to the object store itself", ["GET", "HEAD"]);
}

function notAllowed(message: string, allowed: readonly string[]): ErrorResponse {
  return { ...invalid("MethodNotAllowed", message), status: 405, headers: ["Allow", allowed.join(", ")] };
}

function nothingHere(): ErrorResponse {
  const message = "nothing is served at this path: objects are at /s3/<bucket>/<key> and /gs/<bucket>/<key>";
  return { status: 404, code: "NoSuchResource", errorCode: "NOT_FOUND", message };
}

/** Closes the connection. By that, clients distinguish a member that does not serve yet from one whose origin is unreachable. */
export function starting(response: Reply): ErrorResponse {
  response.setHeader("Connection", "close");
  const message = "this member is starting: ask another one, or try again";
  return { status: 503, code: "ServiceUnavailable", errorCode: "UNAVAILABLE", message };
}
