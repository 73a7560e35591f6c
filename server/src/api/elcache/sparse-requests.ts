import { CacheError } from "@frontcache/proto";
import type { Query } from "../../runtime/query.js";
import { watched } from "../../values/body-tee.js";
import { type Completion, MAX_VALUE_BYTES, ValueConflict, type ValueRequest, type Values } from "../../values/values.js";
import type { HttpContext } from "../http/http-context.js";
import type { Document, ErrorChange } from "../s3/document-answer.js";
import type { ErrorResponse } from "../s3/error-response.js";
import { receivedBytes } from "../s3/writes/received-body.js";
import { answerRunning, bodySizeOf, empty, invalidRequest, jsonDocument, wholeHeader } from "../values/value-site.js";
import { timeToLiveOf } from "./cache-requests.js";

/** Ends the path of a request that finalizes an upload. */
export const FINALIZE = "/finalize";

const METHODS = "POST, PATCH, PUT, GET, DELETE";
const COMPLETION_HEADER = "X-ElCache-Completion";

/** The upload that a request of `/sparse/{key}` names. */
export interface SparseTarget {
  readonly url: string;
  readonly key: string;
  readonly query: Query;
  /** The path has a key and `FINALIZE` after it. */
  readonly isFinalize: boolean;
}

/** Answers a request of `/sparse/{key}`, or returns the error to answer with. */
export function answerSparse(context: HttpContext, values: Values, target: SparseTarget): ErrorResponse | undefined {
  const { url, key, isFinalize } = target;
  const { request, principal, signal } = context;
  const about = { url, principal, signal };
  const answer = (operation: string, make: () => Promise<Document>): void => {
    let completion: Completion | undefined;
    const noted = async (): Promise<Document> => {
      try {
        return await make();
      } catch (error) {
        if (error instanceof ValueConflict) completion = error.completion;
        throw error;
      }
    };
    const withCompletion: ErrorChange = (error) =>
      completion === undefined ? asBadRequest(error) : { ...error, headers: [COMPLETION_HEADER, `${percentOf(completion)}%`] };
    answerRunning(context, { operation, url }, noted, withCompletion);
  };
  switch (request.method) {
    case "POST":
      if (isFinalize) answer("finalize upload", () => finalize(context, values, about));
      else answer("begin upload", () => begin(context, values, about));
      return undefined;
    case "PATCH":
    case "PUT":
      answer("write range", () => writeRange(context, values, about, target.query));
      return undefined;
    case "GET":
      answer("describe upload", async () => {
        const completion = await values.completion(about);
        if (completion === undefined) throw missing(url);
        const percent = percentOf(completion);
        const { size: total_size, missing: gaps } = completion;
        return jsonDocument({ key, total_size, completion_percent: percent, complete: gaps.length === 0 });
      });
      return undefined;
    case "DELETE":
      answer("abort upload", async () => {
        await values.abort(about);
        return empty(204);
      });
      return undefined;
    default:
      return invalidRequest(405, `${request.method} is not allowed for uploads: use ${METHODS}`, ["Allow", METHODS]);
  }
}

async function begin(context: HttpContext, values: Values, about: ValueRequest): Promise<Document> {
  const size = wholeHeader(context, "X-ElCache-Size", MAX_VALUE_BYTES);
  if (size === undefined) throw new CacheError("INVALID_ARGUMENT", "the header X-ElCache-Size is required");
  if (size === 0) throw new CacheError("INVALID_ARGUMENT", "the header X-ElCache-Size must be greater than 0");
  const contentType = context.request.headers["content-type"];
  await values.begin({ ...about, size, ttlSeconds: timeToLiveOf(context), contentType, exclusive: false });
  return empty(201, ["X-ElCache-Size", String(size)]);
}

async function writeRange(context: HttpContext, values: Values, about: ValueRequest, query: Query): Promise<Document> {
  const offset = offsetOf(context, query);
  if (bodySizeOf(context) === 0) throw emptyBody();
  let received = 0;
  const onPiece = ({ length }: Uint8Array): void => {
    received += length;
  };
  const onEnd = (): void => {
    if (received === 0) throw emptyBody();
  };
  const completion = await values.writeRange(about, offset, watched(receivedBytes(context.upload!, context), onPiece, onEnd));
  return empty(202, [COMPLETION_HEADER, `${percentOf(completion)}%`]);
}

async function finalize(context: HttpContext, values: Values, about: ValueRequest): Promise<Document> {
  await values.finalize({ ...about, ttlSeconds: timeToLiveOf(context) });
  return empty(201);
}

/** Of `Content-Range: bytes start-end/total` only the start counts; `?offset=` counts without that header. */
function offsetOf({ request }: HttpContext, query: Query): number {
  const { "content-range": header } = request.headers;
  const text = header === undefined ? (query.get("offset") ?? "0") : /^bytes (\d+)-\d*(?:\/(?:\d+|\*))?$/.exec(header)?.[1];
  const offset = text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(offset)) return offset;
  const name =
    header === undefined ? "parameter offset is not a whole number" : "header Content-Range is not bytes start-end/total";
  throw new CacheError("INVALID_ARGUMENT", `the ${name}`);
}

/** Percent with at most two decimals, rounded down: 100 means that no byte is missing. */
function percentOf({ presentBytes, size }: Completion): number {
  return Math.floor((presentBytes / size) * 10_000) / 100;
}

/** ElCache answers ranges that are not within an upload by 400. */
function asBadRequest(error: ErrorResponse): ErrorResponse {
  return error.errorCode === "OUT_OF_RANGE" ? { ...error, status: 400 } : error;
}

function emptyBody(): CacheError {
  return new CacheError("INVALID_ARGUMENT", "Request body is empty");
}

function missing(url: string): CacheError {
  return new CacheError("NOT_FOUND", `${url}: Sparse entry not found`);
}
