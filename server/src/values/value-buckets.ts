import { CacheError } from "@frontcache/proto";
import { checkDescription, parseValueUrl, type ValueDescription, type ValueRequest } from "./values.js";

/** A bucket of values. */
export interface ValueBucket {
  readonly name: string;
  /** How long values live by default, seconds; 0: for ever. */
  readonly ttlSeconds: number;
  /** Its values are not evicted: a write is refused if one of the members that keep the value has no space. Absent: no. */
  readonly isPinned?: boolean | undefined;
}

/** The bucket of parts of multipart uploads that are not completed. Clients do not see it. */
export const MULTIPART_BUCKET = "frontcache-multipart";
const MULTIPART_TTL_SECONDS = 86_400;

/** The buckets that values may be in. */
export class ValueBuckets {
  readonly #buckets: ReadonlyMap<string, ValueBucket>;

  constructor(declared: readonly ValueBucket[]) {
    const multipart: ValueBucket = { name: MULTIPART_BUCKET, ttlSeconds: MULTIPART_TTL_SECONDS };
    this.#buckets = new Map([...declared, multipart].map((bucket) => [bucket.name, bucket]));
  }

  /** Returns the bucket of a value. Throws INVALID_ARGUMENT for what is no value's URL, NOT_FOUND if the bucket is not declared. */
  of(url: string): ValueBucket {
    const { bucket } = parseValueUrl(url);
    const declared = this.#buckets.get(bucket);
    if (declared !== undefined) return declared;
    const message = `cache://${bucket}: no such bucket: declare it by --cache-bucket`;
    throw new CacheError("NOT_FOUND", message, { s3Code: "NoSuchBucket" });
  }

  /** Returns the bucket of a value to write. Throws INVALID_ARGUMENT, too, if its description is invalid. */
  forWrite(request: ValueRequest & ValueDescription): ValueBucket {
    const bucket = this.of(request.url);
    checkDescription(request.url, request);
    request.signal.throwIfAborted();
    return bucket;
  }
}
