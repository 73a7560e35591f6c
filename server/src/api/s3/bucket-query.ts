import { type BucketRef, CacheError, type PrefixRef } from "@frontcache/proto";
import type { ListPage } from "../../origin/origin.js";
import type { Query } from "./query.js";

/** A page of ListObjectsV2. */
export interface ListRequest {
  readonly ref: PrefixRef;
  /** `maxKeys` may be 0, for which the store need not be asked. */
  readonly page: ListPage;
  /** Names are to be escaped in the answer. */
  readonly escaped: boolean;
}

/** S3's own bound; who asks for more gets so many. */
const MAX_KEYS = 1_000;

/** Parses the query of ListObjectsV2. Throws INVALID_ARGUMENT. */
export function parseListQuery(bucket: BucketRef, query: Query): ListRequest {
  const parameter = (name: string) => query.get(name);
  if (parameter("list-type") !== "2") throw wrong("list-type", "2");
  const encoding = parameter("encoding-type") ?? "";
  if (encoding !== "" && encoding !== "url") throw wrong("encoding-type", "url");
  const maxKeys = parameter("max-keys") || String(MAX_KEYS);
  if (!/^\d{1,10}$/.test(maxKeys) || Number(maxKeys) >= 2 ** 31) throw wrong("max-keys", "a number from 0 to 1000");
  const token = parameter("continuation-token");
  if (token === "") throw wrong("continuation-token", "the NextContinuationToken of the page before");
  const startAfter = parameter("start-after") || undefined;
  const prefix = parameter("prefix") ?? "";
  return {
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
