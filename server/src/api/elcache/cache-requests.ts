import { CacheError } from "@frontcache/proto";
import type { Query } from "../../runtime/query.js";
import { MAX_FLAGS, type ValueInfo, type ValueRead, type Values } from "../../values/values.js";
import type { HttpContext } from "../http/http-context.js";
import { closeBehindUnreadBody } from "../http/unread-body.js";
import type { Document } from "../s3/document-answer.js";
import { type ErrorResponse, REQUEST_ID_HEADER } from "../s3/error-response.js";
import { parseRange, type RequestedRange } from "../s3/range-header.js";
import { receivedBytes } from "../s3/writes/received-body.js";
import { sendValue, type ValueHead } from "../values/send-value.js";
import { answerRunning, bodySizeOf, empty, invalidRequest, wholeHeader } from "../values/value-site.js";
import type { ElCacheMetrics } from "./elcache-metrics.js";

/** Bytes of ElCache's chunks. Responses contain the number of them, although values are not stored in such chunks here. */
const CHUNK_BYTES = 4 << 20;

const METHODS = "GET, PUT, POST, DELETE, HEAD, OPTIONS";
const TIERS = ["x-elcache-no-memory", "x-elcache-no-disk", "x-elcache-no-cluster"];

/** The value that a request of `/cache/{key}` names. */
export interface CacheTarget {
  readonly url: string;
  readonly query: Query;
}

/** Answers a request of `/cache/{key}`, or returns the error to answer with. */
export function answerCache(
  context: HttpContext,
  values: Values,
  { url, query }: CacheTarget,
  metrics: ElCacheMetrics,
): ErrorResponse | undefined {
  const { request, response, principal, signal } = context;
  const about = { url, principal, signal };
  switch (request.method) {
    case "GET": {
      const begunMs = metrics.nowMs();
      const range = rangeOf(context, query);
      sendValue(context, values, { url, range }, (read, length) => {
        metrics.get.record(metrics.nowMs() - begunMs);
        return headOf(context, read, range === undefined ? undefined : length);
      });
      return undefined;
    }
    case "HEAD":
      answerRunning(context, { operation: "HEAD value", url }, async () => described(found(await values.head(about), url)));
      return undefined;
    case "PUT":
    case "POST":
      answerRunning(context, { operation: "PUT value", url }, () => put(context, values, url, metrics));
      return undefined;
    case "DELETE":
      answerRunning(context, { operation: "DELETE value", url }, async () => {
        if (!(await values.delete(about))) throw missing(url);
        return empty(204);
      });
      return undefined;
    case "OPTIONS":
      closeBehindUnreadBody(context);
      response.writeHead(200, ["Allow", METHODS, "Accept-Ranges", "bytes", "Content-Length", "0"]);
      response.end();
      return undefined;
    default:
      return invalidRequest(405, `${request.method} is not allowed for values: use ${METHODS}`, ["Allow", METHODS]);
  }
}

async function put(context: HttpContext, values: Values, url: string, metrics: ElCacheMetrics): Promise<Document> {
  const { request, upload, principal, signal } = context;
  const { headers } = request;
  const begunMs = metrics.nowMs();
  const ttlSeconds = timeToLiveOf(context);
  const flags = wholeHeader(context, "X-ElCache-Flags", MAX_FLAGS);
  const contentType = headers["content-type"];
  // As in ElCache. A single tier cannot be switched off here.
  if (TIERS.every((name) => headers[name] === "true")) {
    throw new CacheError("INTERNAL", `${url}: all tiers are switched off, so the value cannot be stored`);
  }
  const size = bodySizeOf(context);
  await values.put({ url, ttlSeconds, flags, contentType, size, principal, signal }, receivedBytes(upload!, context));
  metrics.put.record(metrics.nowMs() - begunMs);
  return empty(201);
}

/** Returns the time to live that a client asks for, seconds. 0: the value never expires. Undefined: that of the bucket. */
export function timeToLiveOf(context: HttpContext): number | undefined {
  return wholeHeader(context, "X-ElCache-TTL", Number.MAX_SAFE_INTEGER);
}

/** `?range=offset-length` counts before a Range header. Length 0: to the end. */
function rangeOf({ request }: HttpContext, query: Query): RequestedRange | undefined {
  const text = query.get("range");
  if (text === undefined) return parseRange(request.headers.range);
  const [, offset, length] = /^(\d{1,16})-(\d{1,16})$/.exec(text) ?? [];
  if (offset === undefined) throw new CacheError("INVALID_ARGUMENT", "the parameter range is not offset-length, as in 0-100");
  const [first, count] = [Number(offset), Number(length)];
  return { form: "from", first, last: count === 0 ? Number.POSITIVE_INFINITY : first + count - 1 };
}

/** `partBytes`: the length of a range; undefined: no range was asked for. */
function headOf({ requestId }: HttpContext, { info, offset }: ValueRead, partBytes: number | undefined): ValueHead {
  const headers = ["X-ElCache-Hit", "hit", ...headersOf(info), "Content-Length", String(partBytes ?? info.size)];
  headers.push(REQUEST_ID_HEADER, requestId);
  if (partBytes === undefined) return { status: 200, headers };
  headers.push("Content-Range", `bytes ${offset}-${offset + partBytes - 1}/${info.size}`);
  return { status: 206, headers };
}

function headersOf({ size, flags, contentType = "application/octet-stream" }: ValueInfo): string[] {
  const headers = ["X-ElCache-Size", String(size), "X-ElCache-Chunks", String(Math.ceil(size / CHUNK_BYTES))];
  if (flags !== 0) headers.push("X-ElCache-Flags", String(flags));
  headers.push("Content-Type", contentType, "Accept-Ranges", "bytes");
  return headers;
}

function described(info: ValueInfo): Document {
  return empty(200, [...headersOf(info), "Content-Length", String(info.size)]);
}

function found(info: ValueInfo | undefined, url: string): ValueInfo {
  if (info === undefined) throw missing(url);
  return info;
}

function missing(url: string): CacheError {
  return new CacheError("NOT_FOUND", `${url}: Key not found`);
}
