import { type BucketRef, CacheError, type PrefixRef } from "@frontcache/proto";
import type { ListPage } from "../../origin/origin.js";
import { decodeOnce } from "./request-target.js";

/** What a GET of a bucket asks for. */
export type BucketRequest =
  | ListRequest
  | { readonly kind: "location" }
  /** An operation of S3 that is not served. */
  | { readonly kind: "other"; readonly what: string };

/** A page of ListObjectsV2. */
export interface ListRequest {
  readonly kind: "list";
  readonly ref: PrefixRef;
  /** `maxKeys` may be 0, for which the store need not be asked. */
  readonly page: ListPage;
  /** Names are to be escaped in the answer. */
  readonly escaped: boolean;
}

/** S3's own bound; who asks for more gets so many. */
const MAX_KEYS = 1_000;

/** What S3 answers to a GET of a bucket with this in the query is no list of objects. */
const SUBRESOURCE =
  /^(accelerate|acl|analytics|cors|encryption|intelligent-tiering|inventory|lifecycle|logging|metadata[A-Za-z]*|metrics|notification|object-lock|ownershipControls|policy|policyStatus|publicAccessBlock|replication|requestPayment|session|tagging|uploads|versioning|versions|website)$/;

/** Reads a bucket's query. Of what is said twice the first counts, and what S3 doesn't know says nothing. Throws INVALID_ARGUMENT. */
export function parseBucketQuery(bucket: BucketRef, query: string): BucketRequest {
  const parameters = new Map<string, string>();
  for (const part of query.split("&")) {
    const [, name = "", value = ""] = /^([^=]*)=?(.*)$/s.exec(part)!;
    if (SUBRESOURCE.test(name)) return { kind: "other", what: name };
    if (!parameters.has(name)) parameters.set(name, value);
  }
  if (parameters.has("location")) return { kind: "location" };
  const type = parameters.get("list-type");
  if (type === undefined) return { kind: "other", what: "the first form of listing, which has no list-type=2," };
  if (type !== "2") throw wrong("list-type", "2");
  return listRequest(bucket, (name) => {
    const written = parameters.get(name);
    return written === undefined ? undefined : decodeOnce(written.replaceAll("+", " "), "query");
  });
}

function listRequest(bucket: BucketRef, parameter: (name: string) => string | undefined): ListRequest {
  const encoding = parameter("encoding-type") ?? "";
  if (encoding !== "" && encoding !== "url") throw wrong("encoding-type", "url");
  const maxKeys = parameter("max-keys") || String(MAX_KEYS);
  if (!/^\d{1,10}$/.test(maxKeys) || Number(maxKeys) >= 2 ** 31) throw wrong("max-keys", "a number from 0 to 1000");
  const token = parameter("continuation-token");
  if (token === "") throw wrong("continuation-token", "the NextContinuationToken of the page before");
  const startAfter = parameter("start-after") || undefined;
  const prefix = parameter("prefix") ?? "";
  return {
    kind: "list",
    ref: { ...bucket, url: `${bucket.scheme}://${bucket.bucket}/${prefix}`, prefix },
    page: {
      delimiter: parameter("delimiter") ?? "",
      maxKeys: Math.min(MAX_KEYS, Number(maxKeys)),
      ...(token !== undefined && { token }),
      ...(startAfter !== undefined && { startAfter }),
    },
    escaped: encoding === "url",
  };
}

function wrong(name: string, right: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", `the value of ${name} in the query is invalid: write ${right}, or omit it`);
}
