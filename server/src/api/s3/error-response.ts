import {
  CacheError,
  ERROR_HEADER,
  type ErrorCode,
  type ErrorKind,
  errorTable,
  type S3Code,
  s3Codes,
  TRIED_HEADER,
} from "@frontcache/proto";
import type { HttpContext, Reply } from "../http/http-context.js";
import { boundedXml, textXml, XML_HEADER } from "./xml.js";

/** An error as S3 answers it. */
export interface ErrorResponse {
  readonly status: number;
  /** One of S3's error codes, by which its clients decide what to do. */
  readonly code: string;
  /** The same in frontcache's closed list, for its own clients and members. */
  readonly errorCode: ErrorCode;
  /** One line for people. */
  readonly message: string;
  /** The origin must not be asked again. Absent: no. */
  readonly isOriginTried?: boolean;
  /** Further elements of the document, names and values in turn. */
  readonly elements?: readonly string[];
  /** Further headers, names and values in turn. */
  readonly headers?: readonly string[];
}

/** Never throws: whatever was thrown as an error response. */
export function errorResponseOf(error: unknown): ErrorResponse {
  const { code, message, isOriginTried, s3Code } = CacheError.from(error);
  const { http, s3, s3Http = http }: ErrorKind = errorTable[code];
  if (s3Code !== undefined) return { status: s3Codes[s3Code], code: s3Code, errorCode: code, message, isOriginTried };
  return { status: s3Http, code: s3, errorCode: code, message, isOriginTried };
}

/** The error of a request that S3 rejects whatever the object is. */
export function rejection(s3Code: S3Code, message: string): ErrorResponse {
  return { status: s3Codes[s3Code], code: s3Code, errorCode: "INVALID_ARGUMENT", message };
}

/** For operations of S3 that are not served; `what` begins the message. */
export function notImplemented(what: string): ErrorResponse {
  const message = `${what} is not served, only objects and their listing: ask the object store itself`;
  return { status: 501, code: "NotImplemented", errorCode: "INVALID_ARGUMENT", message };
}

/** The response header with the request's id. */
export const REQUEST_ID_HEADER = "x-amz-request-id";

/** Bytes of each text in an error document: the longest key and its bucket fit in, and both texts into the 8 KiB that clients read. */
const MAX_TEXT_BYTES = 3_900;

/** S3's error document, below 8 KiB. `resource` is what the request was about, as `/bucket/key` or a path. */
export function errorDocument({ code, message, elements = [] }: ErrorResponse, resource: string, requestId: string): string {
  let further = "";
  for (let at = 0; at < elements.length; at += 2) further += `<${elements[at]}>${textXml(elements[at + 1]!)}</${elements[at]}>`;
  return (
    `${XML_HEADER}<Error><Code>${code}</Code><Message>${boundedXml(message, MAX_TEXT_BYTES)}</Message>${further}` +
    `<Resource>${boundedXml(resource, MAX_TEXT_BYTES)}</Resource><RequestId>${requestId}</RequestId></Error>`
  );
}

const CACHED_ONLY_MISS = ["Content-Length", "0", ERROR_HEADER, "NOT_FOUND"];

/** Answers a cached-only read of bytes that are not cached. Members ask before every fill, so that the answer must be cheap. */
export function answerCachedOnlyMiss(response: Reply): void {
  response.writeHead(404, CACHED_ONLY_MISS);
  response.end();
}

type Answered = Pick<HttpContext, "response" | "requestId" | "errorForm">;

/** Answers with an error; a HEAD gets the same head without the body. The answer must not have begun. */
export function sendError({ response, requestId, errorForm }: Answered, refusal: ErrorResponse, resource: string): void {
  const error = errorForm?.change?.(refusal) ?? refusal;
  const body = Buffer.from(errorForm?.write(error) ?? errorDocument(error, resource, requestId));
  response.writeHead(error.status, [
    "Content-Type",
    errorForm?.contentType ?? "application/xml",
    "Content-Length",
    String(body.length),
    REQUEST_ID_HEADER,
    requestId,
    ERROR_HEADER,
    error.errorCode,
    ...(error.isOriginTried === true ? [TRIED_HEADER, "1"] : []),
    ...(error.headers ?? []),
  ]);
  response.end(body);
}
