import { CacheError } from "./errors.js";

/** The schemes of object stores. To support another store, add its scheme here and a folder in server/src/origin. */
export const ORIGIN_SCHEMES = ["s3", "gs"] as const;

/** The schemes of object URLs: those of stores, and `cache` for values, which have no origin. */
const SCHEMES = [...ORIGIN_SCHEMES, "cache"] as const;

export type Scheme = (typeof SCHEMES)[number];

/** Matches any scheme, for use in a regular expression. */
export const SCHEME_PATTERN = SCHEMES.join("|");

/** Returns the accepted forms of objects' URLs for messages and help texts: `s3://bucket/key or gs://bucket/key`. */
export function urlForms(rest: string): string {
  return ORIGIN_SCHEMES.map((scheme) => `${scheme}://${rest}`).join(" or ");
}

const MARKS = SCHEMES.map((scheme) => ({ scheme, mark: `${scheme}://` }));

/** Splits a URL into its scheme and the text after `://`. Returns undefined for any other text. */
export function splitScheme(url: string): { readonly scheme: Scheme; readonly rest: string } | undefined {
  for (const { scheme, mark } of MARKS) if (url.startsWith(mark)) return { scheme, rest: url.slice(mark.length) };
  return undefined;
}

/** Returns the scheme at the start of an HTTP request's path: `/s3`, `/s3/...`, `/gs` or `/gs/...`. */
export function schemeOfPath(path: string): Scheme | undefined {
  for (const scheme of SCHEMES) {
    const isAlone = path.length === scheme.length + 1;
    if (path[0] === "/" && path.startsWith(scheme, 1) && (isAlone || path[scheme.length + 1] === "/")) return scheme;
  }
  return undefined;
}

/** A bucket, or an object or prefix in it. */
export interface BucketRef {
  /** The URL for messages and logs. */
  readonly url: string;
  readonly scheme: Scheme;
  readonly bucket: string;
}

/** An object's parsed URL. `key` is verbatim: without escapes and not normalised. As in S3, it may contain control characters. */
export interface ObjectRef extends BucketRef {
  /** The URL that it was parsed from, `s3://bucket/key`: the object's name everywhere. */
  readonly url: string;
  readonly key: string;
}

/** The objects of a bucket whose keys begin with `prefix`, verbatim. An empty prefix means all objects. */
export interface PrefixRef extends BucketRef {
  readonly prefix: string;
}

/** The limits of S3 and GCS, and of ElCache for values, in bytes of UTF-8. */
const MAX_KEY_BYTES = { s3: 1024, gs: 1024, cache: 8192 } as const satisfies Record<Scheme, number>;

/**
 * Maximum characters of a version, because versions are part of headers, errors and block files. ETags have about a tenth of it.
 */
export const MAX_VERSION_LENGTH = 1_024;

/** Bucket names of both stores, including old S3 buckets with capitals and underscores, and GCS names of 222 characters. */
const BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]$/;

/** A bucket of another tenant of Ceph, `tenant:bucket`. The tenant without a name is the default one. */
const TENANT = /^[A-Za-z0-9_]{0,64}:/;

/**
 * Parses `s3://bucket/key`, `gs://bucket/key` or `cache://bucket/key`; anything after the bucket's slash is the key. Throws
 * INVALID_ARGUMENT.
 */
export function parseObjectUrl(url: string): ObjectRef {
  const { scheme, bucket, key } = splitUrl(url);
  if (key === "") throw new CacheError("INVALID_ARGUMENT", `${quote(url)} names no object: write ${scheme}://bucket/key`);
  return { url, scheme, bucket, key };
}

/** Parses `s3://bucket`, `s3://bucket/` or `s3://bucket/prefix`, `gs://` and `cache://` likewise. Throws INVALID_ARGUMENT. */
export function parsePrefixUrl(url: string): PrefixRef {
  const { scheme, bucket, key } = splitUrl(url);
  return { url, scheme, bucket, prefix: key };
}

/**
 * Checks a prefix of object URLs, for example of an eviction. It must contain a scheme, so that an empty argument does not select
 * all objects. Returns the prefix, or throws INVALID_ARGUMENT.
 */
export function checkUrlBeginning(text: string): string {
  if (typeof text === "string" && splitScheme(text) !== undefined) return text;
  throw new CacheError("INVALID_ARGUMENT", `${quote(text)} begins no object's URL: write ${urlForms("bucket/prefix")}`);
}

/** Marks a weak tag. On its own it is not a version, because it would be an empty tag in headers. */
const WEAK_MARK = "W/";

/**
 * Throws FAILED_PRECONDITION for a version that no object can have: too long, or `W/` alone. Undefined is the current version.
 */
export function checkVersion(url: string, version: string | undefined): void {
  if (version === WEAK_MARK) throw new CacheError("FAILED_PRECONDITION", `${url}: a weak tag without a name is not a version`);
  if (version === undefined || version.length <= MAX_VERSION_LENGTH) return;
  throw new CacheError("FAILED_PRECONDITION", `${url}: a version is at most ${MAX_VERSION_LENGTH} characters long`);
}

function splitUrl(url: string): Omit<ObjectRef, "url"> {
  // Callers in JavaScript pass anything.
  if (typeof url !== "string") notAnObject(url);
  const { scheme, rest } = splitScheme(url) ?? notAnObject(url);
  const slash = rest.indexOf("/");
  const bucket = slash < 0 ? rest : rest.slice(0, slash);
  const key = slash < 0 ? "" : rest.slice(slash + 1);
  if (!BUCKET.test(scheme === "s3" ? bucket.replace(TENANT, "") : bucket)) {
    throw new CacheError("INVALID_ARGUMENT", `${quote(url)} has no valid bucket: write ${scheme}://bucket/key`, {
      s3Code: "InvalidBucketName",
    });
  }
  if (!key.isWellFormed()) throw new CacheError("INVALID_ARGUMENT", `the key of ${quote(url)} is not valid Unicode`);
  const mostBytes = MAX_KEY_BYTES[scheme];
  if (Buffer.byteLength(key) > mostBytes) {
    throw new CacheError("INVALID_ARGUMENT", `the key of ${quote(url)} is longer than ${mostBytes} bytes`, {
      s3Code: "KeyTooLongError",
    });
  }
  return { scheme, bucket, key };
}

function notAnObject(url: string): never {
  throw new CacheError("INVALID_ARGUMENT", `${quote(url)} is not an object's URL: write ${urlForms("bucket/key")}`);
}

/** Formats a URL for an error message: on one line and of bounded length. */
function quote(url: unknown): string {
  if (typeof url !== "string") return `${JSON.stringify(url)}`.slice(0, 200);
  return JSON.stringify(url.length > 200 ? `${url.slice(0, 200)}...` : url);
}
