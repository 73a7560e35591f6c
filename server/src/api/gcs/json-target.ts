import { type BucketRef, CacheError, type ObjectRef, parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { decodeOnce } from "../../runtime/percent-decoding.js";

/** What a request of GCS's JSON API names. */
export type JsonTarget =
  | { readonly kind: "buckets" }
  | { readonly kind: "bucket"; readonly ref: BucketRef }
  | { readonly kind: "objects"; readonly ref: BucketRef }
  | { readonly kind: "object"; readonly ref: ObjectRef; readonly isDownload: boolean }
  /** A resource that is not served: access lists, notifications, folders and so on. */
  | { readonly kind: "other" };

const API = /^(\/download)?\/storage\/v1(\/.*)?$/s;

/** Returns whether a path belongs to the JSON API. */
export function isJsonPath(path: string): boolean {
  return API.test(path);
}

/** Parses the path of a request, without its query. Names are segments of the path, percent-encoded. Throws INVALID_ARGUMENT. */
export function parseJsonTarget(path: string): JsonTarget {
  const [, download, rest = ""] = API.exec(path) ?? [];
  const [, collection, bucket, objects, key, ...more] = rest.split("/");
  const isDownload = download !== undefined;
  if (collection !== "b" || more.length > 0) return { kind: "other" };
  if (bucket === undefined || bucket === "") return isDownload ? { kind: "other" } : { kind: "buckets" };
  const url = `gs://${decodeOnce(bucket)}`;
  if (objects === undefined || (objects === "" && key === undefined)) {
    return isDownload ? { kind: "other" } : { kind: "bucket", ref: bucketRef(url) };
  }
  if (objects !== "o") return { kind: "other" };
  if (key !== undefined && key !== "") {
    return { kind: "object", ref: parseObjectUrl(`${bucketRef(url).url}/${decodeOnce(key)}`), isDownload };
  }
  return isDownload ? { kind: "other" } : { kind: "objects", ref: bucketRef(url) };
}

function bucketRef(url: string): BucketRef {
  const { scheme, bucket, prefix } = parsePrefixUrl(url);
  if (prefix !== "") throw new CacheError("INVALID_ARGUMENT", "a bucket's name has no slash");
  return { url, scheme, bucket };
}
