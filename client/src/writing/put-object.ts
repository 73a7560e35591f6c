import { createHash, webcrypto } from "node:crypto";
import { CacheError, entityTagOf } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import { pathOf } from "../members/http/request-head.js";
import type { RunningCall } from "../members/running-call.js";
import { type CallOptions, checkWhole, unquoted } from "../options.js";
import { type Headers, MAX_PARTS, type Part, upload, type Written, within, written } from "./multipart.js";
import { openSource, type PutBody, type PutSource } from "./put-source.js";
import { type SendWith, send } from "./sending.js";

/** Options of `put`. */
export interface PutOptions extends CallOptions {
  readonly contentType?: string | undefined;
  readonly contentEncoding?: string | undefined;
  readonly contentDisposition?: string | undefined;
  readonly cacheControl?: string | undefined;
  /** The object's own metadata (`x-amz-meta-...`). Names are stored in lower case. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Write only if this version is the current one. Otherwise FAILED_PRECONDITION. */
  readonly ifVersion?: string | undefined;
  /** Write only if there is no such object. Otherwise FAILED_PRECONDITION. Default false. */
  readonly ifMissing?: boolean | undefined;
  /** Larger bodies are written in parts of this length. At least 5 MiB, the store's limit; default 8 MiB. An upload has at most 10,000. */
  readonly partBytes?: number | undefined;
  /** Parts that are sent at a time. Together they need `(parallelParts + 1) * partBytes` of memory. Default 4. */
  readonly parallelParts?: number | undefined;
  /** Called with the bytes that the store has taken so far. */
  readonly onProgress?: ((sentBytes: number) => void) | undefined;
}

export const PUT_OPTIONS: ReadonlySet<string> = new Set<keyof PutOptions>([
  "signal",
  "deadlineMs",
  "contentType",
  "contentEncoding",
  "contentDisposition",
  "cacheControl",
  "metadata",
  "ifVersion",
  "ifMissing",
  "partBytes",
  "parallelParts",
  "onProgress",
]);

const MIB = 2 ** 20;
const DEFAULT_PART_BYTES = 8 * MIB;
const MIN_PART_BYTES = 5 * MIB;
const MAX_PART_BYTES = 1024 * MIB;
const DEFAULT_PARALLEL_PARTS = 4;
const MAX_PARALLEL_PARTS = 64;

/** A write until its bytes are opened. */
interface Put {
  readonly url: string;
  readonly headers: Headers;
  readonly conditions: Headers;
  readonly partBytes: number;
  readonly parallelParts: number;
  readonly onPart: (part: Part) => void;
}

/** Writes an object, in parts if it is long. `deadlineMs`: of each request. */
export async function putObject(
  url: string,
  body: PutBody,
  options: PutOptions,
  using: SendWith,
  call: RunningCall,
  deadlineMs: number,
): Promise<Written> {
  const { parallelParts = DEFAULT_PARALLEL_PARTS, partBytes = DEFAULT_PART_BYTES, onProgress } = options;
  checkWhole("parallelParts", parallelParts, MAX_PARALLEL_PARTS);
  if (!Number.isInteger(partBytes) || partBytes < MIN_PART_BYTES || partBytes > MAX_PART_BYTES) {
    throw new CacheError("INVALID_ARGUMENT", `partBytes ${partBytes} is not a whole number from 5 MiB to 1 GiB`);
  }
  const [headers, conditions] = [descriptionOf(url, options), conditionsOf(url, options)];
  let sentBytes = 0;
  const onPart = ({ body: bytes }: Part): void => {
    sentBytes += bytes?.length ?? 0;
    onProgress?.(sentBytes);
  };
  const source = await openSource(url, body);
  try {
    return await putSource(source, { url, headers, conditions, partBytes, parallelParts, onPart }, using, call, deadlineMs);
  } finally {
    await source.close();
  }
}

async function putSource(source: PutSource, put: Put, using: SendWith, call: RunningCall, deadlineMs: number): Promise<Written> {
  const { url, headers, conditions, onPart } = put;
  const { size } = source;
  // Parts of a long file become longer, if there would be more than a store allows.
  const partBytes = Math.max(put.partBytes, Math.ceil((size ?? 0) / MAX_PARTS));
  const parts = source.parts(partBytes)[Symbol.asyncIterator]();
  const take = (): Promise<IteratorResult<Uint8Array, unknown>> => untilAborted(parts.next(), call.signal);
  const first = await take();
  const begun = first.done === true ? new Uint8Array(0) : first.value;
  const isWhole = begun.length < partBytes || begun.length === size;
  const second = isWhole ? undefined : await take();
  if (second !== undefined && second.done !== true) {
    const all = checkedParts([begun, second.value], parts);
    return await upload({ ...put, parts: all }, using, call, deadlineMs);
  }
  const part = await checkedPart(begun);
  const isRepeatable = Object.keys(conditions).length === 0;
  const all = { ...headers, ...conditions, ...part.headers };
  const request = { method: "PUT", subject: url, path: pathOf(url), headers: all, body: begun, isRepeatable } as const;
  const { head } = await within(call, deadlineMs, (own) => send(request, using, own));
  onPart(part);
  return written(url, head.header("etag"), head.header("x-amz-version-id"));
}

async function* checkedParts(begun: readonly Uint8Array[], rest: AsyncIterator<Uint8Array>): AsyncGenerator<Part, void> {
  for (const bytes of begun) yield checkedPart(bytes);
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield checkedPart(next.value);
}

/** Shorter bodies are hashed at once: a task of the thread pool costs more. */
const HASHED_AT_ONCE_BYTES = 64 << 10;

/** A part with its digest, which the member and the store verify. */
async function checkedPart(body: Uint8Array): Promise<Part> {
  const digest =
    body.length <= HASHED_AT_ONCE_BYTES
      ? createHash("sha256").update(body).digest()
      : Buffer.from(await webcrypto.subtle.digest("SHA-256", body as Uint8Array<ArrayBuffer>));
  return { headers: { "x-amz-content-sha256": digest.toString("hex") }, body };
}

/** The headers that describe the object. */
function descriptionOf(url: string, options: PutOptions): Headers {
  const { contentType, contentEncoding, contentDisposition, cacheControl, metadata = {} } = options;
  const headers: Record<string, string | undefined> = {
    "content-type": contentType ?? "application/octet-stream",
    "content-encoding": contentEncoding,
    "content-disposition": contentDisposition,
    "cache-control": cacheControl,
  };
  for (const [name, value] of Object.entries(metadata)) headers[`x-amz-meta-${name.toLowerCase()}`] = value;
  for (const [name, value] of Object.entries(headers)) {
    if (/^[a-z0-9!#$&'*+.^_`|~-]+$/.test(name) && (value === undefined || /^[\t\x20-\x7e]*$/.test(value))) continue;
    throw new CacheError(
      "INVALID_ARGUMENT",
      `${url}: ${JSON.stringify(name)} cannot be a header with this value: use printable ASCII`,
    );
  }
  return headers;
}

function conditionsOf(url: string, { ifVersion, ifMissing = false }: PutOptions): Headers {
  if (ifVersion !== undefined && ifMissing) {
    throw new CacheError("INVALID_ARGUMENT", `${url}: ifVersion and ifMissing exclude each other: give one of them`);
  }
  if (ifMissing) return { "if-none-match": "*" };
  return ifVersion === undefined ? {} : { "if-match": entityTagOf(unquoted(ifVersion)) };
}
