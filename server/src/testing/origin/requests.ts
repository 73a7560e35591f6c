import { setMaxListeners } from "node:events";
import type { BucketRef, ObjectRef, PrefixRef } from "@frontcache/proto";
import type {
  BucketQuestion,
  ListPage,
  ListQuestion,
  OriginRequest,
  PassedAnswer,
  PassQuestion,
  StatQuestion,
} from "../../origin/origin.js";
import { bodyOf } from "../../origin/passed-body.js";
import { CACHE_ITSELF } from "../../security/principal.js";

/** Never aborted; shared by the requests of a test. */
export const live: AbortSignal = new AbortController().signal;
setMaxListeners(0, live);

/** Returns a request for a range, of the current version by default. */
export function rangeOf(
  ref: ObjectRef,
  range: { readonly offset: number; readonly length: number; readonly version?: string | undefined },
  signal = live,
): OriginRequest {
  return { ref, offset: range.offset, length: range.length, version: range.version, signal, principal: CACHE_ITSELF };
}

export function statOf(ref: ObjectRef, signal = live, hasFallback = false): StatQuestion {
  return { kind: "stat", ref, hasFallback, signal, principal: CACHE_ITSELF };
}

/** One page, by default without grouping and as large as possible. */
export function pageOf(ref: PrefixRef, page: Partial<ListPage> = {}, signal = live): ListQuestion {
  return { kind: "list", ref, page: { delimiter: "", maxKeys: 1_000, ...page }, signal, principal: CACHE_ITSELF };
}

export function bucketOf(ref: BucketRef, signal = live): BucketQuestion {
  return { kind: "statBucket", ref, signal, principal: CACHE_ITSELF };
}

/** A request to pass on: by default a GET without a query and without headers. */
export function passOf(ref: BucketRef | ObjectRef, what: Partial<PassQuestion> = {}, signal = live): PassQuestion {
  return { kind: "pass", ref, method: "GET", query: [], headers: [], signal, principal: CACHE_ITSELF, ...what };
}

/** A passed answer of status 200 with a text. */
export function textAnswer(text: string): PassedAnswer {
  const bytes = Buffer.from(text);
  return { status: 200, headers: [["content-type", "text/plain"]], length: bytes.length, body: bodyOf(bytes) };
}
