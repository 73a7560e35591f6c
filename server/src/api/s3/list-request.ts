import { type BucketRef, CacheError, type PrefixRef } from "@frontcache/proto";
import type { ListPage } from "../../origin/origin.js";
import type { Query } from "../../runtime/query.js";

/** What both forms of a listing have in common. */
interface AnyListRequest {
  readonly ref: PrefixRef;
  /** `maxKeys` may be 0, for which the store need not be asked. */
  readonly page: ListPage;
  /** Names are to be escaped in the answer. */
  readonly isEscaped: boolean;
}

/** A page of ListObjectsV2. */
export interface ListRequest extends AnyListRequest {
  /** The token as sent: an empty one asks for the first page. */
  readonly token: string | undefined;
}

/** A page of ListObjects, S3's first form. */
export interface FirstListRequest extends AnyListRequest {
  /** The name after which the page begins: a key, or a common prefix of the page before. */
  readonly marker: string;
}

/** S3's maximum. A client that asks for more gets this number. */
const MAX_KEYS = 1_000;

/** Parses the query of ListObjectsV2. Throws INVALID_ARGUMENT. */
export function parseListRequest(bucket: BucketRef, query: Query): ListRequest {
  if (query.get("list-type") !== "2") throw wrong("list-type", "2");
  const { page, ...request } = anyListRequest(bucket, query);
  const token = query.get("continuation-token");
  const startAfter = query.get("start-after") || undefined;
  return {
    ...request,
    token,
    page: {
      ...page,
      ...(token !== undefined && token !== "" && { token }),
      ...(startAfter !== undefined && { startAfter }),
      ...(query.get("fetch-owner") === "true" && { withOwners: true }),
    },
  };
}

/** Parses the query of ListObjects. Throws INVALID_ARGUMENT. */
export function parseFirstListRequest(bucket: BucketRef, query: Query): FirstListRequest {
  const { page, ...request } = anyListRequest(bucket, query);
  const marker = query.get("marker") ?? "";
  const startAfter = startAfterOf(marker, request.ref.prefix, page.delimiter);
  return { ...request, marker, page: { ...page, withOwners: true, ...(startAfter !== "" && { startAfter }) } };
}

function anyListRequest(bucket: BucketRef, query: Query): AnyListRequest {
  const encoding = query.get("encoding-type") ?? "";
  if (encoding !== "" && encoding !== "url") throw wrong("encoding-type", "url");
  const maxKeys = query.get("max-keys") || String(MAX_KEYS);
  if (!/^\d{1,10}$/.test(maxKeys) || Number(maxKeys) >= 2 ** 31) throw wrong("max-keys", "a number from 0 to 1000");
  const prefix = query.get("prefix") ?? "";
  return {
    ref: { ...bucket, url: `${bucket.scheme}://${bucket.bucket}/${prefix}`, prefix },
    page: {
      delimiter: query.get("delimiter") ?? "",
      maxKeys: Math.min(MAX_KEYS, Number(maxKeys)),
      ...(query.get("allow-unordered") === "true" && { isUnordered: true }),
    },
    isEscaped: encoding === "url",
  };
}

/** No key with the same beginning comes after it in byte order. */
const LAST_CHARACTER = "\u{10ffff}";

/**
 * The name after which the second form of a listing must begin to begin where the first one does. They differ if the marker is a
 * common prefix: the first form continues after all keys that begin with it, the second form at the first of them.
 */
function startAfterOf(marker: string, prefix: string, delimiter: string): string {
  return isCommonPrefix(marker, prefix, delimiter) ? marker + LAST_CHARACTER : marker;
}

/** Whether a listing with this prefix and delimiter has the name as a common prefix. */
export function isCommonPrefix(name: string, prefix: string, delimiter: string): boolean {
  if (delimiter === "" || !name.startsWith(prefix)) return false;
  const at = name.indexOf(delimiter, prefix.length);
  return at >= 0 && at === name.length - delimiter.length;
}

function wrong(name: string, right: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", `the value of ${name} in the query is invalid: write ${right}, or omit it`);
}
