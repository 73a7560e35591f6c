import { CacheError } from "@frontcache/proto";
import { NO_QUERY, Query } from "../../runtime/query.js";
import type { Values } from "../../values/values.js";
import { authenticateRequest } from "../http/authenticate-request.js";
import type { ErrorForm, HttpContext } from "../http/http-context.js";
import { answerProbe, isProbe } from "../http/pages.js";
import type { Serving, Site } from "../http/site.js";
import { closeBehindUnreadBody } from "../http/unread-body.js";
import { malformedHead, starting } from "../s3/answer-request.js";
import { answerDocument, type Document, type ErrorChange } from "../s3/document-answer.js";
import { type ErrorResponse, errorResponseOf, sendError } from "../s3/error-response.js";

/** The longest target: a key of 8 KiB whose bytes are all escaped, and a query. */
const MAX_TARGET_BYTES = 26 << 10;
const MAX_HEAD_BYTES = 40 << 10;

/** The target of a request, split. */
export interface ValueTarget {
  /** As sent, still escaped. */
  readonly path: string;
  readonly query: Query;
}

/** An HTTP interface to values, or to what else a site serves. */
export interface ValueInterface<Served = Values> {
  /** Undefined: S3's. */
  readonly errorForm: ErrorForm | undefined;
  /** As `Site.parsePlain`. */
  readonly parsePlain: Site["parsePlain"];
  /** Answers without authentication, or returns false. */
  answerPublic?(context: HttpContext, path: string, serving: Serving<Served>): boolean;
  /** Answers an authenticated request, or returns or throws the error to answer with. */
  answer(context: HttpContext, target: ValueTarget, served: Served, serving: Serving<Served>): ErrorResponse | undefined;
}

/** A site that serves values by an interface, and the probes of Kubernetes. */
export function valueSite<Served = Values>(served: ValueInterface<Served>): Site<Served> {
  return {
    maxHeadBytes: MAX_HEAD_BYTES,
    parsePlain: served.parsePlain,
    answer: (context, serving) => answer(context, served, serving),
  };
}

function answer<Served>(context: HttpContext, served: ValueInterface<Served>, serving: () => Serving<Served>): void {
  if (served.errorForm !== undefined) context.errorForm = served.errorForm;
  const url = (context.request.url ?? "").replace(/^https?:\/\/[^/?]*/i, "");
  const mark = url.indexOf("?");
  const path = mark < 0 ? url : url.slice(0, mark);
  const refuse = (error: ErrorResponse | undefined): void => {
    if (error === undefined) return;
    closeBehindUnreadBody(context);
    sendError(context, error, path);
  };
  const proceed = (): void => {
    try {
      const query = mark < 0 ? NO_QUERY : new Query(url.slice(mark + 1));
      const state = serving();
      refuse(
        state.served === undefined ? starting(context.response) : served.answer(context, { path, query }, state.served, state),
      );
    } catch (error) {
      refuse(errorResponseOf(error));
    }
  };
  const malformed = malformedHead(context, MAX_TARGET_BYTES);
  const current = serving();
  if (malformed !== undefined) refuse(malformed);
  else if (isProbe(path)) answerProbe(context.response, path, current.notReadyReasons);
  else if (served.answerPublic?.(context, path, current) !== true) authenticateRequest(context, current, proceed, refuse);
}

/** Answers with a document, as one of the running requests of the client. Never throws. */
export function answerRunning(
  context: HttpContext,
  { operation, url }: { readonly operation: string; readonly url: string },
  make: () => Promise<Document>,
  change?: ErrorChange,
): void {
  const { client } = context;
  const run = async (): Promise<Document> => {
    const busy = client.beginRead();
    try {
      if (busy !== undefined) throw busy;
      return await make();
    } finally {
      if (busy === undefined) client.endRead();
      closeBehindUnreadBody(context);
    }
  };
  const withStatus: ErrorChange = (error) => {
    const changed = change?.(error) ?? error;
    return changed.code === "RequestTimeout" ? { ...changed, status: 408 } : changed;
  };
  answerDocument(context, { operation, url, resource: url }, run, withStatus);
}

/** A response without a body. */
export function empty(status: number, headers: readonly string[] = []): Document {
  return { status, headers, body: Buffer.alloc(0) };
}

/** A response in JSON, spaced as the systems do whose clients search its text. */
export function jsonDocument(value: unknown, status = 200): Document {
  return { status, headers: ["Content-Type", "application/json"], body: Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`) };
}

/** An error of a request that is invalid whatever the values are. */
export function invalidRequest(status: 400 | 404 | 405, message: string, headers: readonly string[] = []): ErrorResponse {
  const errorCode = status === 404 ? "NOT_FOUND" : "INVALID_ARGUMENT";
  return { status, code: status === 405 ? "MethodNotAllowed" : "InvalidArgument", errorCode, message, headers };
}

/** Returns a header that is a whole number from 0 to `most`; undefined: it is missing. Throws INVALID_ARGUMENT. */
export function wholeHeader(context: HttpContext, name: string, most: number): number | undefined {
  const text = context.request.headers[name.toLowerCase()];
  if (text === undefined || text === "") return undefined;
  const value = typeof text === "string" && /^\d{1,20}$/.test(text) ? Number(text) : Number.NaN;
  if (value <= most) return value;
  throw new CacheError("INVALID_ARGUMENT", `the header ${name} is not a whole number from 0 to ${most}`);
}

/** The length of the request's body, if the client says it. */
export function bodySizeOf({ request }: HttpContext): number | undefined {
  const { "content-length": length, "transfer-encoding": encoding } = request.headers;
  if (encoding !== undefined) return undefined;
  return length === undefined ? 0 : Number(length);
}
