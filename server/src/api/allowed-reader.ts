import {
  type BlockId,
  type BucketRef,
  CacheError,
  type MemberList,
  type ObjectRef,
  type PrefixRef,
  SCHEME_PATTERN,
  type Scheme,
  type WarmProgress,
} from "@frontcache/proto";
import type { WarmedBlock, WarmRequest } from "../cache/block-warmer.js";
import type { ObjectRead } from "../cache/object-read.js";
import { type BucketPattern, covers } from "../config/bucket-pattern.js";
import type { Listing, ListPage } from "../origin/origin.js";
import type { ReadRequest } from "../routing/router.js";
import type { WarmingRequest } from "../routing/warming.js";
import type { Reader } from "./reader.js";

/** The reader itself where all buckets are allowed, else one that answers for the allowed ones alone. */
export function onlyAllowed(reader: Reader, allowed: readonly BucketPattern[] | undefined): Reader {
  return allowed === undefined ? reader : new AllowedReader(reader, allowed);
}

/**
 * Refuses whatever is about a bucket that is not allowed, by PERMISSION_DENIED, before anything behind it hears of it: what a
 * disk still holds of such a bucket is not served either. Both listeners ask it, and so do forwarded reads.
 */
class AllowedReader implements Reader {
  constructor(
    private readonly reader: Reader,
    private readonly allowed: readonly BucketPattern[],
  ) {}

  read(request: ReadRequest): ObjectRead | Promise<ObjectRead> {
    this.#check(request.ref);
    return this.reader.read(request);
  }

  async stat(ref: ObjectRef, version: string | undefined, signal: AbortSignal): ReturnType<Reader["stat"]> {
    this.#check(ref);
    return this.reader.stat(ref, version, signal);
  }

  async list(ref: PrefixRef, page: ListPage, signal: AbortSignal): Promise<Listing> {
    this.#check(ref);
    return this.reader.list(ref, page, signal);
  }

  async statBucket(ref: BucketRef, signal: AbortSignal): Promise<void> {
    this.#check(ref);
    return this.reader.statBucket(ref, signal);
  }

  async evict(selector: Parameters<Reader["evict"]>[0], signal: AbortSignal): ReturnType<Reader["evict"]> {
    const { url, prefix } = selector;
    this.#checkPattern(url ?? prefix ?? "", patternOf(url, prefix));
    return this.reader.evict(selector, signal);
  }

  async warm(request: WarmingRequest, tell: (progress: WarmProgress) => Promise<void>): Promise<void> {
    for (const { ref } of request.objects) this.#check(ref);
    for (const ref of request.prefixes) this.#check(ref);
    return this.reader.warm(request, tell);
  }

  async warmBlock(request: WarmRequest): Promise<WarmedBlock> {
    this.#check(request.ref);
    return this.reader.warmBlock(request);
  }

  /** Blocks of other buckets count as not held. */
  touch(blocks: readonly BlockId[]): number {
    const isAllowed = ({ url }: BlockId): boolean => this.allowed.some((pattern) => covers(pattern, patternOf(url, undefined)));
    return this.reader.touch(blocks.filter(isAllowed));
  }

  /** Tells nothing of an object but where its block belongs; members ask each other for it to see whether they answer. */
  ownerOf(ref: ObjectRef, offset: number): string {
    return this.reader.ownerOf(ref, offset);
  }

  watchMembers(listener: (list: MemberList) => void): () => void {
    return this.reader.watchMembers(listener);
  }

  #check({ url, scheme, bucket }: BucketRef): void {
    this.#checkPattern(url, { scheme, bucket });
  }

  #checkPattern(name: string, wanted: BucketPattern): void {
    if (this.allowed.some((pattern) => covers(pattern, wanted))) return;
    // An eviction's prefix is any text: what is said of it must fit into an answer.
    const [subject, bucket] = [name, `${wanted.scheme}://${wanted.bucket}`].map(shortened);
    throw new CacheError(
      "PERMISSION_DENIED",
      `${subject}: ${bucket} is not served here: ask for an allowed bucket (--allow-bucket)`,
    );
  }
}

/** Longer than the URL of any object whose bucket and key are ASCII. */
const MAX_NAME = 1_300;

function shortened(name: string): string {
  return name.length > MAX_NAME ? `${name.slice(0, MAX_NAME)}...`.toWellFormed() : name;
}

const BUCKET_OF_URL = new RegExp(`^(${SCHEME_PATTERN})://([^/]*)(/?)`);

/** The buckets that an eviction is about. A prefix without a key's slash means all buckets whose names begin like that. */
function patternOf(url: string | undefined, prefix: string | undefined): BucketPattern {
  const [, scheme, bucket, slash] = BUCKET_OF_URL.exec(url ?? prefix ?? "") ?? [];
  return { scheme: scheme as Scheme, bucket: slash === "/" ? bucket! : `${bucket}*` };
}
