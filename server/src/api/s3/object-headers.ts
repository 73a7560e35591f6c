import { CacheError, entityTagOf, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { Cache } from "../../routing/cache.js";
import type { HttpContext } from "../http/http-context.js";
import type { Span } from "./range-header.js";

/** S3's type of an object without one. */
const UNKNOWN_TYPE = "binary/octet-stream";

/** Valid header values: visible Latin-1, spaces and tabs. Types also come from JSON, which allows anything. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]+$/;

/** The headers that all answers of an object share. Held blocks bring the same info for every read of them. */
const made = new WeakMap<ObjectInfo, readonly string[]>();

/** The headers of an object, names and values in turn; undefined where type or date are missing and were not looked for. */
export function knownHeaders(info: ObjectInfo): readonly string[] | undefined {
  const known = made.get(info);
  if (known !== undefined || info.contentType === undefined || info.lastModifiedMs === undefined) return known;
  return makeHeaders(info, info);
}

/** Makes the headers of `info` and keeps them as known; `description`: all that can be had of the same version. */
export function makeHeaders(info: ObjectInfo, description: ObjectInfo): readonly string[] {
  const headers = objectHeaders({ ...description, version: info.version });
  made.set(info, headers);
  return headers;
}

/** The headers of an object by what `info` says and no more. */
export function objectHeaders(info: ObjectInfo): readonly string[] {
  const { contentType = UNKNOWN_TYPE } = info;
  const type = HEADER_VALUE.test(contentType) ? contentType : UNKNOWN_TYPE;
  return [...validatorHeaders(info), "Accept-Ranges", "bytes", "Content-Type", type];
}

/** The headers of an object for another member, which takes a missing type or date for unknown. */
export function memberHeaders(info: ObjectInfo): readonly string[] {
  return info.contentType === undefined ? [...validatorHeaders(info), "Accept-Ranges", "bytes"] : objectHeaders(info);
}

/** The headers that distinguish versions of an object, which a 304 has, too. May throw INTERNAL. */
export function validatorHeaders({ version, lastModifiedMs }: ObjectInfo): string[] {
  if (!HEADER_VALUE.test(version))
    throw new CacheError("INTERNAL", `a header cannot contain the version ${JSON.stringify(version)}`);
  const date = lastModifiedMs === undefined ? [] : ["Last-Modified", new Date(lastModifiedMs).toUTCString()];
  return ["ETag", entityTagOf(version), ...date];
}

/** The head of an answer with these bytes of the object; `partial`: as a part of it (206). */
export function bodyHeaders(object: readonly string[], { start, end }: Span, objectSize: number, partial: boolean): string[] {
  const headers = [...object, "Content-Length", String(end - start)];
  if (partial) headers.push("Content-Range", `bytes ${start}-${end - 1}/${objectSize}`);
  return headers;
}

/** Longer than the origin takes, and the longest that a client waits for headers that it can do without. */
const DESCRIBE_TIMEOUT_MS = 1_000;

/**
 * Type and date of an object whose bytes came without them, from another member or from an origin that names neither. They are
 * known for the newest version only. Undefined if they can't be had soon: the bytes matter more.
 */
export async function describeObject(
  cache: Pick<Cache, "ask">,
  ref: ObjectRef,
  version: string,
  { principal, signal, clock }: Pick<HttpContext, "principal" | "signal" | "clock">,
): Promise<ObjectInfo | undefined> {
  const limit = new LinkedAbort(signal);
  const cancel = clock.after(DESCRIBE_TIMEOUT_MS, () =>
    limit.abort(new CacheError("DEADLINE_EXCEEDED", `${ref.url}: no description yet`)),
  );
  try {
    return (await cache.ask({ kind: "stat", ref, version, principal, signal: limit.signal })).info;
  } catch {
    return undefined;
  } finally {
    limit.unlink();
    cancel();
  }
}
