import { CacheError } from "@frontcache/proto";
import type { BucketList, ListedBucket } from "../../origin/origin.js";
import type { Cache } from "../../routing/cache.js";
import type { Query } from "../../runtime/query.js";
import type { HttpContext } from "../http/http-context.js";
import { answerDocument, xmlDocument } from "./document-answer.js";
import { type BucketPage, bucketsXml } from "./listing-xml.js";
import type { ServiceTarget } from "./request-target.js";

/** S3's maximum. */
const MAX_BUCKETS = 10_000;

/** Answers ListBuckets. Never throws. */
export function answerBuckets(context: HttpContext, cache: Cache, { scheme, storeOf, query }: ServiceTarget): void {
  const { principal, signal } = context;
  const url = `${scheme}://`;
  answerDocument(context, { operation: "ListBuckets", url, resource: "/" }, async () => {
    const requested = parse(query);
    const ref = { url, scheme, bucket: "" };
    const project = context.request.headers["x-goog-project-id"];
    const question = {
      kind: "listBuckets",
      ref,
      principal,
      signal,
      project: typeof project === "string" ? project : undefined,
    } as const;
    const { buckets, owner } = await cache.ask(question);
    if (storeOf === undefined) return xmlDocument(bucketsXml(pageOf(buckets, requested), owner));
    // A bucket is listed once, as the one that requests reach by its name.
    const others = await cache.ask({ ...question, ref: { url: "gs://", scheme: "gs", bucket: "" } }).catch(noneIfDenied);
    const values = await cache.ask({ ...question, ref: { url: "cache://", scheme: "cache", bucket: "" } }).catch(noneIfMissing);
    const all = [
      ...buckets.filter(({ name }) => storeOf(name) === scheme),
      ...others.buckets.filter(({ name }) => storeOf(name) === "gs"),
      ...values.buckets.filter(({ name }) => storeOf(name) === "cache"),
    ];
    return xmlDocument(bucketsXml(pageOf(all.sort(byName), requested), owner));
  });
}

/** GCS's buckets are not listed if they may not be, and are readable all the same. */
function noneIfDenied(error: unknown): BucketList {
  if (CacheError.from(error).code !== "PERMISSION_DENIED") throw error;
  return { buckets: [] };
}

/** A member without buckets of values has no such store. */
function noneIfMissing(error: unknown): BucketList {
  const { code } = CacheError.from(error);
  if (code !== "PERMISSION_DENIED" && code !== "NOT_FOUND" && code !== "INVALID_ARGUMENT") throw error;
  return { buckets: [] };
}

function byName({ name: one }: ListedBucket, { name: other }: ListedBucket): number {
  return one < other ? -1 : 1;
}

interface BucketsRequest {
  readonly prefix: string | undefined;
  readonly region: string | undefined;
  readonly maxBuckets: number;
  /** Only names after this one. */
  readonly after: string;
}

function parse(query: Query): BucketsRequest {
  const maxBuckets = query.get("max-buckets") || String(MAX_BUCKETS);
  if (!/^\d{1,5}$/.test(maxBuckets) || Number(maxBuckets) < 1 || Number(maxBuckets) > MAX_BUCKETS) {
    throw new CacheError(
      "INVALID_ARGUMENT",
      `the value of max-buckets in the query is invalid: write a number from 1 to ${MAX_BUCKETS}`,
    );
  }
  return {
    prefix: query.get("prefix") || undefined,
    region: query.get("bucket-region") || undefined,
    maxBuckets: Number(maxBuckets),
    after: Buffer.from(query.get("continuation-token") ?? "", "base64url").toString(),
  };
}

/** `all` is sorted by name. */
function pageOf(all: readonly ListedBucket[], { prefix, region, maxBuckets, after }: BucketsRequest): BucketPage {
  const matching = all.filter(
    ({ name, region: own }) =>
      name > after && name.startsWith(prefix ?? "") && (region === undefined || own === undefined || own === region),
  );
  const buckets = matching.slice(0, maxBuckets);
  const isTruncated = buckets.length < matching.length;
  return {
    buckets,
    prefix,
    nextToken: isTruncated ? Buffer.from(buckets.at(-1)!.name).toString("base64url") : undefined,
  };
}
