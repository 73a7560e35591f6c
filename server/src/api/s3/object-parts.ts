import { CacheError, entityTagOf, type ObjectInfo, type ObjectRef, versionOfStoreTag } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import type { RequestContext } from "../../origin/origin.js";
import type { Cache } from "../../routing/cache.js";
import type { Span } from "./range-header.js";

/** One part of an object that was uploaded in parts. */
export interface ObjectPart {
  readonly span: Span;
  /** Undefined: the object was uploaded in one piece. */
  readonly partsCount: number | undefined;
}

/** Parts remembered, about 300 bytes each. Transfer managers ask for each part of an object once. */
const REMEMBERED_PARTS = 10_000;

/** What origins have answered, by URL, version and number. The parts of a version never change. */
const remembered = new BoundedMap<string, ObjectPart>(REMEMBERED_PARTS);

/** S3's ETag of an object that was uploaded in one piece and is not encrypted by a key of KMS or of a customer. */
const MD5 = /^[0-9a-f]{32}$/;

/**
 * Returns where a part of this version lies. The record does not say it, so the origin is asked. Rejects with OUT_OF_RANGE and
 * InvalidPartNumber for a part that the object does not have, and with FAILED_PRECONDITION if the object has changed. Undefined: the
 * origin does not answer with parts.
 */
export async function partOf(
  cache: Pick<Cache, "ask">,
  ref: ObjectRef,
  info: ObjectInfo,
  partNumber: number,
  versionId: string | undefined,
  context: RequestContext,
): Promise<ObjectPart | undefined> {
  const { version, objectSize } = info;
  if (ref.scheme !== "s3" || MD5.test(version)) {
    if (partNumber > 1) throw noSuchPart(ref, partNumber);
    return { span: { start: 0, end: objectSize }, partsCount: undefined };
  }
  const id = `${ref.url}\n${versionId ?? ""}\n${version}\n${partNumber}`;
  const known = remembered.peek(id);
  if (known !== undefined) return known;
  const query: [string, string][] = [["partNumber", String(partNumber)]];
  if (versionId !== undefined) query.push(["versionId", versionId]);
  const headers = [["if-match", entityTagOf(version)]] as const;
  const { signal, principal } = context;
  const answer = await cache.ask({ kind: "pass", ref, method: "HEAD", query, headers, signal, principal });
  answer.body.destroy();
  const header = (name: string): string | undefined => answer.headers.find(([found]) => found === name)?.[1];
  if (answer.status === 416) throw noSuchPart(ref, partNumber);
  if (answer.status === 412) throw new CacheError("FAILED_PRECONDITION", `${ref.url}: the object has changed`);
  const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(header("content-range") ?? "") ?? [];
  const isPart = answer.status === 206 && Number(size) === objectSize && versionOfStoreTag(header("etag")) === version;
  const span = { start: Number(first), end: Number(last) + 1 };
  if (!isPart || !(span.start < span.end && span.end <= objectSize)) return undefined;
  const count = header("x-amz-mp-parts-count");
  const part = { span, partsCount: count !== undefined && /^\d{1,5}$/.test(count) ? Number(count) : undefined };
  remembered.set(id, part);
  return part;
}

function noSuchPart({ url }: ObjectRef, partNumber: number): CacheError {
  return new CacheError("OUT_OF_RANGE", `${url}: the object has no part ${partNumber}`, { s3Code: "InvalidPartNumber" });
}
