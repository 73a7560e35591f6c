import { type BucketRef, CacheError, type ObjectInfo, type ObjectRef, type PrefixRef, type Scheme } from "@frontcache/proto";
import type { Listing, ListPage, Origin, OriginAnswer, OriginRange, Patience } from "./origin.js";
import { checkName } from "./safe-name.js";

/** Which buckets an origin answers for. */
export interface OriginRoute {
  readonly scheme: Scheme;
  /** A bucket's name, a beginning with `*` behind it, or `*` for all. */
  readonly bucket: string;
  readonly origin: Origin;
}

/**
 * All origins as one: the first route that fits an object's scheme and bucket answers. What could be taken for something else
 * than the object, at the store or on the way to it, is refused here.
 */
export class Origins implements Origin {
  readonly #routes: readonly OriginRoute[];

  constructor(routes: readonly OriginRoute[]) {
    this.#routes = routes;
  }

  async fetch(ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginAnswer> {
    return this.#originOf(ref).fetch(ref, range, signal);
  }

  async stat(ref: ObjectRef, signal: AbortSignal, patience?: Patience): Promise<ObjectInfo> {
    return this.#originOf(ref).stat(ref, signal, patience);
  }

  async list(ref: PrefixRef, page: ListPage, signal: AbortSignal): Promise<Listing> {
    return this.#originOf(ref).list(ref, page, signal);
  }

  async statBucket(ref: BucketRef, signal: AbortSignal): Promise<void> {
    return this.#originOf(ref).statBucket(ref, signal);
  }

  close(): void {
    for (const origin of new Set(this.#routes.map((route) => route.origin))) origin.close();
  }

  #originOf(ref: BucketRef): Origin {
    checkName(ref);
    const route = this.#routes.find(({ scheme, bucket }) => scheme === ref.scheme && fits(bucket, ref.bucket));
    if (route !== undefined) return route.origin;
    throw new CacheError("PERMISSION_DENIED", `${ref.url}: no origin is configured for ${ref.scheme}://${ref.bucket}`);
  }
}

function fits(pattern: string, bucket: string): boolean {
  return pattern.endsWith("*") ? bucket.startsWith(pattern.slice(0, -1)) : bucket === pattern;
}
