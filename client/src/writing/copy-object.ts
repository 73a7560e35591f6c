import { CacheError, entityTagOf, parseObjectUrl } from "@frontcache/proto";
import { pathOf } from "../members/http/request-head.js";
import { textOf } from "../members/http/xml-text.js";
import type { RunningCall } from "../members/running-call.js";
import type { CallOptions } from "../options.js";
import { type Headers, LONG_FACTOR, MAX_PARTS, upload, type Written, within, written } from "./multipart.js";
import { type SendWith, send } from "./sending.js";

/** Options of `copy`. */
export interface CopyOptions extends CallOptions {
  /** The version to copy. Default: the current one. */
  readonly version?: string | undefined;
}

export const COPY_OPTIONS: ReadonlySet<string> = new Set<keyof CopyOptions>(["signal", "deadlineMs", "version"]);

const MIB = 2 ** 20;
/** Larger objects are copied in parts, as stores require. */
const MAX_COPIED_BYTES = 5 * 1024 * MIB;
const COPIED_PART_BYTES = 512 * MIB;
const COPIED_PARTS_AT_A_TIME = 8;

/** The version of an object that is copied. */
export interface CopySource {
  readonly url: string;
  readonly version: string;
  readonly size: number;
  readonly headers: Headers;
}

/** Copies one version of an object within its store, with its headers. `deadlineMs`: of each request. */
export async function copyObject(
  from: CopySource,
  url: string,
  using: SendWith,
  call: RunningCall,
  deadlineMs: number,
): Promise<Written> {
  if (parseObjectUrl(from.url).scheme !== parseObjectUrl(url).scheme) {
    throw new CacheError(
      "INVALID_ARGUMENT",
      `${from.url} cannot be copied to ${url}, which is in another store: read and write it`,
    );
  }
  const source: Headers = {
    // Without the scheme.
    "x-amz-copy-source": pathOf(from.url).replace(/^\/[^/]*/, ""),
    "x-amz-copy-source-if-match": entityTagOf(from.version),
  };
  if (from.size <= MAX_COPIED_BYTES) {
    const request = { method: "PUT", subject: url, path: pathOf(url), headers: source, isRepeatable: true } as const;
    const { head, text } = await within(call, LONG_FACTOR * deadlineMs, (own) => send(request, using, own));
    return written(url, textOf(text, "ETag"), head.header("x-amz-version-id"));
  }
  const partBytes = Math.max(COPIED_PART_BYTES, Math.ceil(from.size / MAX_PARTS));
  const parts = Array.from({ length: Math.ceil(from.size / partBytes) }, (_, at) => {
    const last = Math.min(from.size, (at + 1) * partBytes) - 1;
    return { headers: { ...source, "x-amz-copy-source-range": `bytes=${at * partBytes}-${last}` } };
  });
  const copied = { url, headers: from.headers, conditions: {}, parts, parallelParts: COPIED_PARTS_AT_A_TIME, onPart: () => {} };
  return await upload(copied, using, call, LONG_FACTOR * deadlineMs);
}
