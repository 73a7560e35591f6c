import { callStatus } from "../call-status.js";
import type { HttpContext } from "../http/http-context.js";
import { type ErrorResponse, errorDocument, errorResponseOf, REQUEST_ID_HEADER, sendError } from "./error-response.js";
import { LongAnswer } from "./long-answer.js";

/** A response that is complete before it is sent. */
export interface Document {
  /** Absent: 200. */
  readonly status?: number;
  /** Names and values in turn, without Content-Length. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

/** The subject of a request, for its error document and the log. */
export interface Subject {
  /** The operation's name. */
  readonly operation: string;
  readonly url: string;
  /** `/bucket/key`, as in S3's error documents. */
  readonly resource: string;
}

/** Changes the error of a request, for operations with codes of their own. */
export type ErrorChange = (error: ErrorResponse) => ErrorResponse;

/** If something is missing in an operation of a bucket, it is the bucket. */
export const aboutBucket: ErrorChange = (error) => (error.code === "NoSuchKey" ? { ...error, code: "NoSuchBucket" } : error);

/** A document in S3's XML. */
export function xmlDocument(xml: string, headers: readonly string[] = []): Document {
  return { headers: ["Content-Type", "application/xml", ...headers], body: Buffer.from(xml) };
}

/**
 * Sends a document as soon as it is made, or the error of making it. Never throws. `isLong`: making it may take minutes, so that the
 * response begins before it, with status 200 whatever the outcome is.
 */
export function answerDocument(
  context: HttpContext,
  subject: Subject,
  make: () => Promise<Document>,
  change: ErrorChange = (error) => error,
  isLong = false,
): void {
  const { request, requestId, response, upload, client, clock, log } = context;
  const isReceived = (): boolean => upload?.body.complete !== false;
  const long = isLong ? new LongAnswer({ response, requestId, clock, isReceived }) : undefined;
  let isOver = false;
  context.whenClosed(() => {
    isOver = true;
    long?.stop();
  });
  const send = ({ status = 200, headers, body }: Document): void => {
    if (isOver || long?.end(body) === true) return;
    const length = headers.includes("Content-Length") ? [] : ["Content-Length", String(body.length)];
    response.writeHead(status, [...headers, ...length, REQUEST_ID_HEADER, requestId]);
    if (request.method === "HEAD" || body.length === 0) response.end();
    else response.end(body);
  };
  const fail = (error: unknown): void => {
    if (isOver) return;
    const { operation, url, resource } = subject;
    const { details } = callStatus(error, operation, log, { url, requestId, client: client.address });
    const refusal = change({ ...errorResponseOf(error), message: details });
    if (long?.end(Buffer.from(errorDocument(refusal, resource, requestId))) === true) return;
    sendError(context, refusal, resource);
  };
  make().then(send).catch(fail);
}
