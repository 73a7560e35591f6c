import { isUtf8 } from "node:buffer";
import { type BucketRef, CacheError, type ObjectRef, parseObjectUrl, parsePrefixUrl, schemeOfPath } from "@frontcache/proto";

/** What a request's target names. */
export type RequestTarget =
  | { readonly kind: "object"; readonly ref: ObjectRef; readonly subresource: string | undefined }
  /** A bucket, with its query as it was sent. */
  | { readonly kind: "bucket"; readonly ref: BucketRef; readonly query: string }
  /** All buckets. */
  | { readonly kind: "buckets" }
  /** None of the above: a path without its query. */
  | { readonly kind: "path"; readonly path: string };

/** What S3 answers to a GET of an object with this in the query is not the object. `response-*` would change its headers. */
const SUBRESOURCE =
  /^(acl|attributes|legal-hold|object-lock|partNumber|restore|retention|select|tagging|torrent|uploadId|uploads|response-.*)$/;

/** The form of an S3 version's id; `null` is one, too. */
const VERSION_ID = /^[A-Za-z0-9._-]{1,1024}$/;

/** A key with this ending is ambiguous: the URL of a version of another object looks the same. */
const LIKE_A_VERSION = /\?versionId=[A-Za-z0-9._-]+$/;

/**
 * Reads `/s3/<bucket>/<key>` or `/gs/<bucket>/<key>`. The key is decoded once and never normalised: `..`, `//` and `+` are
 * names like others. Of the query only `versionId` counts, which becomes a part of the object's name as its URL has it.
 * Throws INVALID_ARGUMENT.
 */
export function parseTarget(target: string): RequestTarget {
  const origin = target.startsWith("/") ? "" : (/^https?:\/\/[^/?]*/i.exec(target)?.[0] ?? "");
  const mark = target.indexOf("?", origin.length);
  const path = target.slice(origin.length, mark < 0 ? target.length : mark);
  const scheme = schemeOfPath(path);
  if (scheme === undefined) return { kind: "path", path };
  const bucketAt = scheme.length + 2;
  if (path.length <= bucketAt) return { kind: "buckets" };
  const slash = path.indexOf("/", bucketAt);
  if (slash < 0 || slash === path.length - 1) {
    const { url, bucket } = parsePrefixUrl(`${scheme}://${path.slice(bucketAt, slash < 0 ? path.length : slash)}`);
    return { kind: "bucket", ref: { url, scheme, bucket }, query: mark < 0 ? "" : target.slice(mark + 1) };
  }
  const named = `${scheme}://${path.slice(bucketAt, slash)}/${decodeOnce(path.slice(slash + 1))}`;
  const { subresource, versionId }: ObjectQuery = mark < 0 ? {} : readQuery(target.slice(mark + 1));
  if (scheme === "s3" && versionId !== undefined) {
    return { kind: "object", ref: parseObjectUrl(`${named}?versionId=${versionId}`), subresource };
  }
  if (scheme === "s3" && LIKE_A_VERSION.test(named)) throw likeAVersion();
  return { kind: "object", ref: parseObjectUrl(named), subresource };
}

/** What an object's query says that counts. */
interface ObjectQuery {
  subresource?: string;
  versionId?: string;
}

function readQuery(query: string): ObjectQuery {
  const found: ObjectQuery = {};
  for (const part of query.split("&")) {
    const equals = part.indexOf("=");
    const name = equals < 0 ? part : part.slice(0, equals);
    if (SUBRESOURCE.test(name)) found.subresource ??= name;
    if (name !== "versionId") continue;
    const value = decodeOnce(part.slice(name.length + 1));
    if (!VERSION_ID.test(value))
      throw new CacheError("INVALID_ARGUMENT", "the versionId is invalid: omit it, or write one that S3 returned");
    found.versionId = value;
  }
  return found;
}

/** Percent-decoding, of UTF-8 alone; throws INVALID_ARGUMENT. Node gives a target's bytes as Latin-1. */
export function decodeOnce(text: string, where = "path"): string {
  if (!/[%\x80-\xff]/.test(text)) return text;
  const bytes = Buffer.from(
    text.replace(/%(..?)?/g, (written, digits: string | undefined) => {
      if (!/^[0-9A-Fa-f]{2}$/.test(digits ?? "")) throw malformed(where, `${written} is no escape`);
      return String.fromCharCode(Number.parseInt(digits!, 16));
    }),
    "latin1",
  );
  if (!isUtf8(bytes)) throw malformed(where, "it is not UTF-8");
  return bytes.toString("utf8");
}

function likeAVersion(): CacheError {
  return new CacheError(
    "INVALID_ARGUMENT",
    "a key that ends like ?versionId=... can't be read here: ask the object store itself",
  );
}

function malformed(where: string, why: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", `the ${where} can't be decoded, ${why}: percent-encode the key's UTF-8 bytes`);
}
