import { type BucketRef, CacheError, type ObjectRef, parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { decodeOnce } from "../../runtime/percent-decoding.js";

/** What a request of GCS's JSON API names. */
export type JsonTarget =
  | { readonly kind: "buckets" }
  | { readonly kind: "bucket"; readonly ref: BucketRef }
  | { readonly kind: "objects"; readonly ref: BucketRef }
  | { readonly kind: "object"; readonly ref: ObjectRef; readonly isDownload: boolean }
  /** Uploads to a bucket. */
  | { readonly kind: "uploads"; readonly ref: BucketRef }
  /** An object that is made of others. `source`: of one that the path names. */
  | { readonly kind: "compose"; readonly ref: ObjectRef }
  | { readonly kind: "copyTo" | "rewriteTo" | "moveTo"; readonly ref: ObjectRef; readonly source: ObjectRef }
  /** A resource that is not served: access lists, notifications, folders and so on. */
  | { readonly kind: "other" };

const API = /^(\/download|\/upload|\/resumable\/upload|\/batch)?\/storage\/v1(\/.*)?$/s;

/** Returns whether a path belongs to the JSON API. */
export function isJsonPath(path: string): boolean {
  return API.test(path);
}

/** Parses the path of a request, without its query. Names are segments of the path, percent-encoded. Throws INVALID_ARGUMENT. */
export function parseJsonTarget(path: string): JsonTarget {
  const [, service, rest = ""] = API.exec(path) ?? [];
  const [, collection, bucket, objects, key, ...more] = rest.split("/");
  if (collection !== "b") return { kind: "other" };
  if (service === "/upload" || service === "/resumable/upload") {
    const isBucket = bucket !== undefined && objects === "o" && key === undefined;
    return isBucket ? { kind: "uploads", ref: bucketRef(`gs://${decodeOnce(bucket)}`) } : { kind: "other" };
  }
  const isDownload = service === "/download";
  if (service !== undefined && !isDownload) return { kind: "other" };
  if (more.length > 0) return isDownload || objects !== "o" ? { kind: "other" } : composedTarget(bucket!, key!, more);
  if (bucket === undefined || bucket === "") return isDownload ? { kind: "other" } : { kind: "buckets" };
  const url = `gs://${decodeOnce(bucket)}`;
  if (objects === undefined || (objects === "" && key === undefined)) {
    return isDownload ? { kind: "other" } : { kind: "bucket", ref: bucketRef(url) };
  }
  if (objects !== "o") return { kind: "other" };
  if (key !== undefined && key !== "") return { kind: "object", ref: objectRef(bucket, key), isDownload };
  return isDownload ? { kind: "other" } : { kind: "objects", ref: bucketRef(url) };
}

/** The target of a path with segments after an object: what is made of this object, or what it is made of. */
function composedTarget(bucket: string, key: string, more: readonly string[]): JsonTarget {
  const [kind, collection, named, objects, destination] = more;
  if (more.length === 1 && kind === "compose") return { kind, ref: objectRef(bucket, key) };
  const isCopy = kind === "copyTo" || kind === "rewriteTo";
  if (isCopy && more.length === 5 && collection === "b" && objects === "o")
    return { kind, ref: objectRef(named!, destination!), source: objectRef(bucket, key) };
  if (kind === "moveTo" && more.length === 3 && collection === "o")
    return { kind, ref: objectRef(bucket, named!), source: objectRef(bucket, key) };
  return { kind: "other" };
}

function objectRef(bucket: string, key: string): ObjectRef {
  return parseObjectUrl(`${bucketRef(`gs://${decodeOnce(bucket)}`).url}/${decodeOnce(key)}`);
}

function bucketRef(url: string): BucketRef {
  const { scheme, bucket, prefix } = parsePrefixUrl(url);
  if (prefix !== "") throw new CacheError("INVALID_ARGUMENT", "a bucket's name has no slash");
  return { url, scheme, bucket };
}
