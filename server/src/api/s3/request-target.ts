import {
  type BucketRef,
  CacheError,
  type ObjectRef,
  parseObjectUrl,
  parsePrefixUrl,
  type Scheme,
  schemeOfPath,
} from "@frontcache/proto";
import { bucketOfHost } from "../../runtime/bucket-of-host.js";
import { decodeOnce } from "../../runtime/percent-decoding.js";
import { NO_QUERY, Query } from "../../runtime/query.js";

/** What the target of a request names. */
export type RequestTarget = S3Target | { readonly scope: "path"; readonly path: string };

/** A target of the S3 API. */
export type S3Target = ServiceTarget | BucketTarget | ObjectTarget;

/** All buckets of a scheme. */
export interface ServiceTarget {
  readonly scope: "service";
  readonly scheme: Scheme;
  /** Buckets of other schemes are listed, too. Absent: no. */
  readonly storeOf?: StoreOfBucket | undefined;
  readonly query: Query;
}

/** Returns the scheme of the bucket with a name at the S3 endpoint. */
export type StoreOfBucket = (bucket: string) => Scheme;

export interface BucketTarget {
  readonly scope: "bucket";
  readonly ref: BucketRef;
  readonly query: Query;
}

export interface ObjectTarget {
  readonly scope: "object";
  /** With `?versionId=...` or `?generation=...` at the end of URL and key if the query names a version: an object of its own. */
  readonly ref: ObjectRef;
  /** The object without a version. */
  readonly bare: ObjectRef;
  readonly versionId: string | undefined;
  /** The key looks like that of a version: only the origin can answer. Absent: no. */
  readonly isAmbiguous?: true;
  readonly query: Query;
}

/** Where a listener expects the bucket. */
export type Addressing =
  /** Under the schemes of object URLs: `/s3/<bucket>/<key>`, `/gs/<bucket>/<key>`. Other paths are pages. */
  | {
      readonly form: "prefixed";
      /** Absent: all buckets under `/s3` are S3's. */
      readonly storeOf?: StoreOfBucket | undefined;
    }
  /** At the root, as S3 does: `/<bucket>/<key>`, or `/<key>` with the host `<bucket>.<domain>`, in lower case. */
  | {
      readonly form: "root";
      readonly domains: readonly string[];
      /** Absent: all buckets are S3's. */
      readonly storeOf?: StoreOfBucket | undefined;
    };

export const PREFIXED: Addressing = { form: "prefixed" };

/**
 * How a query names a version, and how its id looks; the first parameter is part of the URL of the version. A key with such an ending is
 * ambiguous: the URL of a version of another object looks the same.
 */
const VERSIONS: Readonly<
  Record<Scheme, { readonly parameters: readonly string[]; readonly form: RegExp; readonly ending: RegExp }>
> = {
  // `null` is an id, too.
  s3: { parameters: ["versionId"], form: /^[A-Za-z0-9._-]{1,1024}$/, ending: /\?versionId=[A-Za-z0-9._-]+$/ },
  gs: { parameters: ["generation", "versionId"], form: /^\d{1,20}$/, ending: /\?generation=\d{1,20}$/ },
  // Values have one version at a time.
  cache: { parameters: [], form: /(?!)/, ending: /(?!)/ },
};

/** A host of a URL, as a name, an IPv4 address or an IPv6 literal, with an optional port. */
const HOST = /^(?:\[[0-9A-Fa-f:.]{2,45}(?:%25[\w.-]{1,32})?\]|[\w.-]{1,255})(?::\d{0,5})?$/;

/** Returns whether a Host header has a valid form. An empty one is valid: it names no host. */
export function isHost(host: string): boolean {
  return host === "" || HOST.test(host);
}

/**
 * Parses a target: an absolute path, or a URL, whose authority replaces the Host header. The key is decoded once and never normalised:
 * `..` and `//` are part of it. A bare `+` is a space in keys of S3, as S3 reads it, and a plus in keys of GCS. Throws INVALID_ARGUMENT.
 */
export function parseTarget(target: string, host: string | undefined, addressing: Addressing): RequestTarget {
  const absolute = target.startsWith("/") ? undefined : /^https?:\/\/([^/?]*)/i.exec(target);
  const from = absolute?.[0].length ?? 0;
  const mark = target.indexOf("?", from);
  const path = target.slice(from, mark < 0 ? target.length : mark);
  const scheme = addressing.form === "root" ? "s3" : schemeOfPath(path);
  // A URL may have no path. `*` and host:port, which other methods have, name nothing.
  if (scheme === undefined || (path === "" ? absolute === null : path[0] !== "/")) return { scope: "path", path };
  const query = mark < 0 ? NO_QUERY : new Query(target.slice(mark + 1));
  if (addressing.form === "prefixed") {
    const named = namesIn(path, scheme.length + 2);
    if (named === undefined) return { scope: "service", scheme, query };
    const store = scheme === "s3" ? addressing.storeOf?.(bucketName(named.bucket)) : undefined;
    return targetOf(store ?? scheme, named, query);
  }
  const { domains, storeOf } = addressing;
  const bucket = bucketOfHost(absolute?.[1] ?? host ?? "", domains);
  const named = bucket === undefined ? namesIn(path, 1) : { bucket, key: path.slice(1) };
  if (named === undefined) return { scope: "service", scheme, storeOf, query };
  const store = storeOf?.(bucketName(named.bucket)) ?? scheme;
  // All keys of this listener are read as S3 reads them.
  return targetOf(store, store !== "gs" ? named : { ...named, key: named.key.replaceAll("+", " ") }, query);
}

/** Maximum remembered targets of a listener: at most 4 MB. */
const MAX_REMEMBERED = 1_024;
/** Longer targets are not remembered. */
const MAX_REMEMBERED_LENGTH = 512;
/** The query of a target that other requests hardly have: any but the name of the operation, which SDKs add to each GET. */
const OWN_QUERY = /\?(?!x-id=GetObject$)/;

/**
 * Parses the targets of a listener's requests and remembers the last ones: hot objects are requested many times a second. Besides the
 * parsing, lookups by an object's URL cost less if it is the same string each time, because its hash is known.
 */
export class TargetParser {
  readonly addressing: Addressing;
  /** Targets without a query, or with one that many requests share, by their text. */
  #remembered = new Map<string, RequestTarget>();

  constructor(addressing: Addressing) {
    this.addressing = addressing;
  }

  /** As `parseTarget`. */
  parse(target: string, host: string | undefined): RequestTarget {
    const known = this.#remembered.get(target);
    if (known !== undefined) return known;
    const parsed = parseTarget(target, host, this.addressing);
    // On virtual hosts, the host names the bucket.
    const isWhole = this.addressing.form === "prefixed" || this.addressing.domains.length === 0;
    if (isWhole && parsed.scope === "object" && target.length <= MAX_REMEMBERED_LENGTH && !OWN_QUERY.test(target)) {
      if (this.#remembered.size === MAX_REMEMBERED) this.#remembered = new Map();
      this.#remembered.set(target, parsed);
    }
    return parsed;
  }
}

/** What a path names, percent-encoded. No key: the bucket itself. */
interface Names {
  readonly bucket: string;
  readonly key: string;
}

/** The bucket, and the key, that a path names from `start` on. Undefined: neither. */
function namesIn(path: string, start: number): Names | undefined {
  if (path.length <= start) return undefined;
  const slash = path.indexOf("/", start);
  return slash < 0 ? { bucket: path.slice(start), key: "" } : { bucket: path.slice(start, slash), key: path.slice(slash + 1) };
}

function targetOf(scheme: Scheme, { bucket, key }: Names, query: Query): S3Target {
  return key === "" ? bucketTarget(scheme, bucket, query) : objectTarget(scheme, bucket, key, query);
}

/** The only character of a bucket's name that clients escape is the colon after a tenant of Ceph. */
function bucketName(text: string): string {
  return text.includes("%") ? text.replace(/%3a/i, ":") : text;
}

function bucketTarget(scheme: Scheme, name: string, query: Query): BucketTarget {
  const { url, bucket } = parsePrefixUrl(`${scheme}://${bucketName(name)}`);
  return { scope: "bucket", ref: { url, scheme, bucket }, query };
}

/** The target of an object. `path` is the percent-encoded key. Throws INVALID_ARGUMENT. */
export function objectTarget(scheme: Scheme, bucket: string, path: string, query: Query): ObjectTarget {
  const named = `${scheme}://${bucketName(bucket)}/${decodeOnce(scheme !== "gs" ? path.replaceAll("+", " ") : path)}`;
  const bare = parseObjectUrl(named);
  const version = VERSIONS[scheme];
  const id =
    query === NO_QUERY ? undefined : version.parameters.map((name) => query.get(name)).find((value) => value !== undefined);
  if (id !== undefined) {
    if (!version.form.test(id))
      throw new CacheError("INVALID_ARGUMENT", "Invalid version id specified", { s3Code: "InvalidArgument" });
    return { scope: "object", ref: parseObjectUrl(`${named}?${version.parameters[0]}=${id}`), bare, versionId: id, query };
  }
  if (!version.ending.test(named)) return { scope: "object", ref: bare, bare, versionId: undefined, query };
  if (scheme === "s3") return { scope: "object", ref: bare, bare, versionId: undefined, query, isAmbiguous: true };
  throw new CacheError(
    "INVALID_ARGUMENT",
    "a key that ends like ?generation=... cannot be read here: read it from the object store",
  );
}
