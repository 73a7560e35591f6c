import {
  CACHE_STATUS_HEADER,
  CacheError,
  entityTagOf,
  headerPairs,
  isChecksumHeader,
  LACKS_HEADER,
  type ObjectInfo,
  type ObjectRef,
} from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { ObjectRead } from "../../cache/object-read.js";
import type { Cache } from "../../routing/cache.js";
import type { HttpContext, SharedHeaders } from "../http/http-context.js";
import { headLines, statusLine } from "../http/plain-reply.js";
import type { Span } from "./range-header.js";

/** S3's type of an object without one. */
const UNKNOWN_TYPE = "binary/octet-stream";

/** Valid header values: visible Latin-1, spaces and tabs. Types also come from JSON, which allows anything. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]+$/;

/** Headers of an object. Their bytes in a head are made once: they are most of it. */
export class ObjectHeaders implements SharedHeaders {
  readonly pairs: readonly string[];
  #status = 0;
  #lead: Buffer | undefined;

  constructor(pairs: readonly string[]) {
    this.pairs = pairs;
  }

  leadOf(status: number): Buffer {
    if (this.#lead === undefined || status !== this.#status) {
      this.#status = status;
      this.#lead = Buffer.from(statusLine(status) + headLines(this.pairs), "latin1");
    }
    return this.#lead;
  }
}

/** The headers that all answers of an object share. */
export interface AnswerHeaders {
  /** All but checksums. */
  readonly all: ObjectHeaders;
  /** Of the whole object. S3 sends them if the client asks for them, and never with a part of the object. */
  readonly checksums: readonly string[];
  /** Both, for another member. */
  readonly forMembers: ObjectHeaders;
}

/** The headers of the objects that were served last: at most this many in a generation, and bytes of them. */
const MOST_MADE = 2_500;
const MOST_MADE_BYTES = 16 << 20;

/** Cached blocks bring the same info for every read of them. In two generations, as an order of use would cost more on each hit. */
let made = new Map<ObjectInfo, AnswerHeaders>();
let madeBefore = new Map<ObjectInfo, AnswerHeaders>();
let madeBytes = 0;

/** The headers of an object. Undefined if some are not known, and were not looked for. */
export function knownHeaders(info: ObjectInfo): AnswerHeaders | undefined {
  let known = made.get(info);
  if (known !== undefined) return known;
  known = madeBefore.get(info);
  if (known !== undefined) keepMade(info, known);
  if (known !== undefined || info.lacks === "metadata") return known;
  if (info.contentType === undefined || info.lastModifiedMs === undefined) return undefined;
  return makeHeaders(info, info);
}

/** The headers of `info` by a description of the same version. They are kept as known unless the description lacks some. */
export function makeHeaders(info: ObjectInfo, description: ObjectInfo): AnswerHeaders {
  const headers = objectHeaders({ ...info, ...description, version: info.version });
  if (description.lacks !== "metadata") keepMade(info, headers);
  return headers;
}

function keepMade(info: ObjectInfo, headers: AnswerHeaders): void {
  if (made.size >= MOST_MADE || madeBytes >= MOST_MADE_BYTES) [madeBefore, made, madeBytes] = [made, new Map(), 0];
  made.set(info, headers);
  madeBytes += info.headers?.length ?? 0;
}

/** The headers of an object by what `info` says and no more. */
function objectHeaders(info: ObjectInfo): AnswerHeaders {
  const { contentType = UNKNOWN_TYPE } = info;
  const type = HEADER_VALUE.test(contentType) ? contentType : UNKNOWN_TYPE;
  const pairs = [...validatorHeaders(info), "Accept-Ranges", "bytes", "Content-Type", type];
  const [checksums, forS3]: [string[], string[]] = [[], []];
  for (const [name, value] of headerPairs(info.headers ?? "")) {
    (isChecksumHeader(name) ? checksums : pairs).push(name, value);
    if (name.startsWith(GCS_METADATA)) forS3.push(S3_METADATA + name.slice(GCS_METADATA.length), value);
  }
  const own = new ObjectHeaders(pairs);
  const all = forS3.length === 0 ? own : new ObjectHeaders([...pairs, ...forS3]);
  return { all, checksums, forMembers: checksums.length === 0 ? own : new ObjectHeaders([...pairs, ...checksums]) };
}

/** User metadata of GCS, which clients of S3 read, as they write it, by the other name. */
const GCS_METADATA = "x-goog-meta-";
const S3_METADATA = "x-amz-meta-";

/** The headers of an object for another member, which takes a missing type for unknown. */
export function memberHeaders(info: ObjectInfo): ObjectHeaders {
  const known = knownHeaders(info);
  if (known !== undefined) return known.forMembers;
  const { pairs } = objectHeaders(info).forMembers;
  const lacks = info.lacks === "metadata" ? [LACKS_HEADER, info.lacks] : [];
  return new ObjectHeaders([...(info.contentType === undefined ? without(pairs, "Content-Type") : pairs), ...lacks]);
}

/** The headers of an answer without a body that says that the object is the same (RFC 9110, 15.4.5). May throw INTERNAL. */
export function notModifiedHeaders(info: ObjectInfo): string[] {
  const headers = validatorHeaders(info);
  for (const [name, value] of headerPairs(info.headers ?? "")) {
    if (name === "cache-control" || name === "expires") headers.push(name, value);
  }
  return headers;
}

function without(headers: readonly string[], name: string): readonly string[] {
  const at = headers.indexOf(name);
  return [...headers.slice(0, at), ...headers.slice(at + 2)];
}

/** The headers that distinguish versions of an object. May throw INTERNAL. */
function validatorHeaders({ version, lastModifiedMs }: ObjectInfo): string[] {
  if (!HEADER_VALUE.test(version))
    throw new CacheError("INTERNAL", `a header cannot contain the version ${JSON.stringify(version)}`);
  const headers = ["ETag", entityTagOf(version)];
  if (lastModifiedMs !== undefined) headers.push("Last-Modified", httpDateOf(lastModifiedMs));
  return headers;
}

/** The date that was written last: objects that were uploaded together are often read together. */
const dated = { second: Number.NaN, text: "" };

function httpDateOf(ms: number): string {
  const second = Math.floor(ms / 1_000);
  if (second !== dated.second) {
    dated.text = new Date(ms).toUTCString();
    dated.second = second;
  }
  return dated.text;
}

/** The headers with others, names and values in turn, in place of those of the same names. */
export function withOverrides(headers: ObjectHeaders, overrides: readonly string[]): ObjectHeaders {
  if (overrides.length === 0) return headers;
  const { pairs } = headers;
  const replaced = new Set(overrides.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase()));
  const kept = pairs.filter((_, at) => !replaced.has(pairs[at - (at % 2)]!.toLowerCase()));
  return new ObjectHeaders([...kept, ...overrides]);
}

/** The headers that an answer with these bytes of the object has of its own; `partial`: as a part of it (206). */
export function bodyHeaders({ start, end }: Span, objectSize: number, partial: boolean): string[] {
  const length = String(end - start);
  if (!partial) return ["Content-Length", length];
  return ["Content-Length", length, "Content-Range", `bytes ${start}-${end - 1}/${objectSize}`];
}

/** Names this cache to clients and to caches on the way. */
export const VIA = ["Via", "1.1 frontcache"] as const;

const STATUS_OF = { hit: "HIT", joined: "MISS", filled: "MISS", stale: "STALE" } as const;

/** Via, and how long the cache took until the head of the answer, milliseconds. */
export function pushTiming(tookMs: number, headers: string[]): void {
  headers.push(...VIA, "Server-Timing", `cache;dur=${Math.max(0, tookMs).toFixed(1)}`);
}

/** X-Cache and Age, names and values in turn: how this cache answered, or the one of the member that a read was forwarded to. */
export function pushCacheHeaders(origin: Pick<ObjectRead, "result" | "ageMs" | "forwarded">, headers: string[]): void {
  const { result, ageMs, forwarded } = origin;
  const status = result === "forwarded" ? forwarded?.status : STATUS_OF[result];
  if (status === undefined) return;
  headers.push(CACHE_STATUS_HEADER, status);
  // What has just been fetched has no age.
  if (status === "MISS") return;
  const ageSeconds = forwarded === undefined ? ageMs && Math.floor(ageMs / 1_000) : forwarded.ageSeconds;
  if (ageSeconds !== undefined) headers.push("Age", String(ageSeconds));
}

/** Longer than the origin takes, and the longest that a client waits for headers that it can do without. */
const DESCRIBE_TIMEOUT_MS = 1_000;

/** How long an object is served without some of its headers before they are asked for again. */
const DESCRIBE_AGAIN_MS = 5_000;

/** When the rest of an object's headers could not be had. Monotonic milliseconds. */
const undescribed = new WeakMap<ObjectInfo, number>();

/**
 * The headers of an object whose bytes came without some of them: from a block file, from another member, or from an origin that
 * does not send them with bytes. If they cannot be had soon, the known ones: the bytes matter more.
 */
export async function describedHeaders(
  cache: Pick<Cache, "ask">,
  ref: ObjectRef,
  info: ObjectInfo,
  context: Pick<HttpContext, "principal" | "signal" | "clock">,
): Promise<AnswerHeaders> {
  const sinceMs = context.clock.monotonicMs() - (undescribed.get(info) ?? Number.NEGATIVE_INFINITY);
  if (sinceMs < DESCRIBE_AGAIN_MS) return objectHeaders(info);
  const description = (await describe(cache, ref, info.version, context)) ?? { ...info, lacks: "metadata" };
  if (description.lacks === "metadata") undescribed.set(info, context.clock.monotonicMs());
  return makeHeaders(info, description);
}

/** Objects that have no checksums, or whose checksums could not be had. */
const withoutChecksums = new WeakSet<ObjectInfo>();

/** Whether the object may have checksums that are not known. */
export function lacksChecksums(info: ObjectInfo, { checksums }: AnswerHeaders): boolean {
  return checksums.length === 0 && info.lacks !== undefined && !withoutChecksums.has(info);
}

/** The headers of an object with its checksums, which the origin is asked for. The known headers if they cannot be had soon. */
export async function withChecksums(
  cache: Pick<Cache, "ask">,
  ref: ObjectRef,
  info: ObjectInfo,
  context: Pick<HttpContext, "principal" | "signal" | "clock">,
): Promise<AnswerHeaders> {
  const description = await describe(cache, ref, info.version, context, true);
  const headers = makeHeaders(info, description ?? info);
  if (headers.checksums.length === 0) withoutChecksums.add(info);
  return headers;
}

/** The record of the newest version, if it is this one. */
async function describe(
  cache: Pick<Cache, "ask">,
  ref: ObjectRef,
  version: string,
  { principal, signal, clock }: Pick<HttpContext, "principal" | "signal" | "clock">,
  checksums = false,
): Promise<ObjectInfo | undefined> {
  const limit = new LinkedAbort(signal);
  const cancel = clock.after(DESCRIBE_TIMEOUT_MS, () =>
    limit.abort(new CacheError("DEADLINE_EXCEEDED", `${ref.url}: no description yet`)),
  );
  try {
    return (await cache.ask({ kind: "stat", ref, version, checksums, principal, signal: limit.signal })).info;
  } catch {
    return undefined;
  } finally {
    limit.unlink();
    cancel();
  }
}
