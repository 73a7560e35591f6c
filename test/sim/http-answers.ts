import { CacheError, ERROR_HEADER, type ErrorCode, matchesWeakly, parseEntityTags } from "@frontcache/proto";
import { parseRange, type Span, spanOf } from "@frontcache/server/testing";
import type { AskedRead, ReadModel } from "./read-model.js";
import type { HttpAnswer, HttpHead, HttpRequest } from "./simulated-http.js";
import type { PutVersion, VersionHistory } from "./version-history.js";

/** A request to the S3 endpoint, as the model sees it: without a range yet, which depends on the object's size. */
export type AskedByHttp = Omit<AskedRead, "offset" | "length">;

/** The version that a request requires: the one ETag of its If-Match. */
export function versionRequired({ headers }: HttpRequest): string | undefined {
  const match = headers["if-match"];
  return match === undefined ? undefined : unquoted(match);
}

/** The version that an answer names; undefined: none. */
export function versionOf({ headers }: HttpHead): string | undefined {
  return headers.etag === undefined ? undefined : unquoted(headers.etag);
}

/** Holds an answer of the S3 endpoint against what HTTP and the object's history say. `left`: the client disconnected. */
export function judgeHttp(
  { model, history }: { readonly model: ReadModel; readonly history: VersionHistory },
  request: HttpRequest,
  asked: AskedByHttp,
  { head, bytes, complete }: HttpAnswer,
  left: boolean,
): void {
  const unranged = { ...asked, offset: 0, length: Number.POSITIVE_INFINITY };
  if (head === undefined) {
    if (!left) model.broken.push(`${asked.url}: the connection was closed without an answer`);
    return;
  }
  const { status, headers } = head;
  if (status >= 400) {
    const code = headers[ERROR_HEADER] as ErrorCode;
    const { offset } = rangeOf(request, undefined);
    model.judge({ ...unranged, offset }, outcomeOf(new CacheError(code, `HTTP ${status}: ${bytes.toString()}`)));
    return;
  }
  const version = versionOf(head);
  const put = version === undefined ? undefined : history.version(asked.url, version);
  if (version === undefined || put === undefined) {
    model.broken.push(`${asked.url}: HTTP ${status} with ETag ${version}`);
    return;
  }
  const isRecord = request.method === "HEAD" || status === 304;
  model.judgeRecord(unranged, { version, contentType: isRecord ? headers["content-type"] : undefined });
  const fault = faultOf(request, head, version, put);
  if (fault !== undefined) model.broken.push(`${asked.url}: HTTP ${status} of ${version} (${put.size} bytes): ${fault}`);
  if (isRecord) {
    model.served++;
    return;
  }
  const { offset, length } = rangeOf(request, put);
  const read = { ...asked, offset, length };
  const outcome = { bytes, version, length: Number(headers["content-length"]) };
  model.judge(read, left || !complete ? { ...outcome, left: true } : outcome);
  if (!left && !complete) model.judgeBroken(read, version);
}

function outcomeOf(error: CacheError) {
  return { bytes: Buffer.alloc(0), version: undefined, length: undefined, error };
}

/** What is wrong with the head of a good answer. */
function faultOf(request: HttpRequest, { status, headers }: HttpHead, version: string, put: PutVersion): string | undefined {
  const noneMatch = request.headers["if-none-match"];
  const isUnmodified = noneMatch !== undefined && matchesWeakly(parseEntityTags(noneMatch), version);
  if (isUnmodified !== (status === 304)) return `not what If-None-Match ${noneMatch} makes of it`;
  if (status === 304) return undefined;
  const span = spanOfRequest(request, put);
  if (span === undefined) return "the range has none of its bytes";
  const isPartial = isRanged(request, put);
  if ((status === 206) !== isPartial)
    return isPartial ? "the whole object instead of a range" : "a range instead of the whole object";
  if (Number(headers["content-length"]) !== span.end - span.start) return `Content-Length ${headers["content-length"]}`;
  const range = headers["content-range"];
  if (isPartial && range !== `bytes ${span.start}-${span.end - 1}/${put.size}`) return `Content-Range ${range}`;
  return undefined;
}

/** Whether the Range header counts for this version. */
function isRanged({ headers }: HttpRequest, { version }: PutVersion): boolean {
  const ifRange = headers["if-range"];
  return headers.range !== undefined && (ifRange === undefined || unquoted(ifRange) === version);
}

function spanOfRequest(request: HttpRequest, put: PutVersion): Span | undefined {
  return isRanged(request, put) ? spanOf(parseRange(request.headers.range)!, put.size) : { start: 0, end: put.size };
}

/** The bytes that are asked for; of a suffix whose object is not known: none before its end. */
function rangeOf(request: HttpRequest, put: PutVersion | undefined): { offset: number; length: number } {
  if (put !== undefined) {
    const span = spanOfRequest(request, put);
    return span === undefined ? { offset: put.size, length: 0 } : { offset: span.start, length: span.end - span.start };
  }
  const range = parseRange(request.headers.range);
  return { offset: range?.form === "from" ? range.first : 0, length: Number.POSITIVE_INFINITY };
}

function unquoted(tag: string): string {
  return tag.replaceAll('"', "");
}
