import { CacheError } from "./errors.js";

export type Scheme = "s3" | "gs";

/** A bucket, or something in it. */
export interface BucketRef {
  /** What messages and logs call it. */
  readonly url: string;
  readonly scheme: Scheme;
  readonly bucket: string;
}

/** An object's parsed URL. `key` is verbatim: no escapes, no normalisation; as in S3, control characters are characters, too. */
export interface ObjectRef extends BucketRef {
  /** The URL that it was parsed from: `s3://bucket/key`. It is the object's name everywhere. */
  readonly url: string;
  readonly key: string;
}

/** The objects of a bucket whose keys begin with `prefix`, verbatim; all of them where it is empty. */
export interface PrefixRef extends BucketRef {
  readonly prefix: string;
}

/** S3 and GCS both end keys at 1,024 bytes of UTF-8. */
const MAX_KEY_BYTES = 1024;

/** S3's ETags and GCS's generations have a tenth of it. Versions get into headers, errors and block files. */
export const MAX_VERSION_LENGTH = 1_024;

/** What both stores allow in a bucket's name, old S3 buckets with capitals and underscores and GCS's 222 characters included. */
const BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]$/;

/** Parses `s3://bucket/key` or `gs://bucket/key`; anything after the bucket's slash is the key. Throws INVALID_ARGUMENT. */
export function parseObjectUrl(url: string): ObjectRef {
  const { scheme, bucket, key } = splitUrl(url);
  if (key === "") throw new CacheError("INVALID_ARGUMENT", `${quote(url)} names no object: write ${scheme}://bucket/key`);
  return { url, scheme, bucket, key };
}

/** Parses `s3://bucket`, `s3://bucket/` or `s3://bucket/prefix`, `gs://` likewise. Throws INVALID_ARGUMENT. */
export function parsePrefixUrl(url: string): PrefixRef {
  const { scheme, bucket, key } = splitUrl(url);
  return { url, scheme, bucket, prefix: key };
}

/** The mark of a weak tag, in front of its name. Without a name it would get into headers as the empty tag. */
const WEAK_MARK = "W/";

/** Throws FAILED_PRECONDITION for a version that no object has: too long for one, or without a name; undefined: the current one. */
export function checkVersion(url: string, version: string | undefined): void {
  if (version === WEAK_MARK) throw new CacheError("FAILED_PRECONDITION", `${url}: no version is a weak tag without a name`);
  if (version === undefined || version.length <= MAX_VERSION_LENGTH) return;
  throw new CacheError("FAILED_PRECONDITION", `${url}: no version is longer than ${MAX_VERSION_LENGTH} characters`);
}

function splitUrl(url: string): Omit<ObjectRef, "url"> {
  const { scheme, rest } = splitScheme(url);
  const slash = rest.indexOf("/");
  const bucket = slash < 0 ? rest : rest.slice(0, slash);
  const key = slash < 0 ? "" : rest.slice(slash + 1);
  if (!BUCKET.test(bucket)) {
    throw new CacheError("INVALID_ARGUMENT", `${quote(url)} has no valid bucket: write ${scheme}://bucket/key`);
  }
  if (!key.isWellFormed()) throw new CacheError("INVALID_ARGUMENT", `the key of ${quote(url)} is not valid Unicode`);
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) {
    throw new CacheError("INVALID_ARGUMENT", `the key of ${quote(url)} is longer than ${MAX_KEY_BYTES} bytes`);
  }
  return { scheme, bucket, key };
}

function splitScheme(url: string): { scheme: Scheme; rest: string } {
  if (url.startsWith("s3://")) return { scheme: "s3", rest: url.slice(5) };
  if (url.startsWith("gs://")) return { scheme: "gs", rest: url.slice(5) };
  throw new CacheError("INVALID_ARGUMENT", `${quote(url)} is not an object's URL: write s3://bucket/key or gs://bucket/key`);
}

/** A URL for an error message: on one line and of bounded length. */
function quote(url: string): string {
  return JSON.stringify(url.length > 200 ? `${url.slice(0, 200)}...` : url);
}
