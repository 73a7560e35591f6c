import { type BucketRef, CacheError, SCHEME_PATTERN, type Scheme } from "@frontcache/proto";
import { type BucketPattern, covers, literalNames } from "../config/bucket-pattern.js";
import type { BucketList, BucketsQuestion } from "../origin/origin.js";
import type { AnswerTo, Cache, Question } from "../routing/cache.js";

/**
 * Rejects every request for a bucket that is not allowed with PERMISSION_DENIED, before it reaches the cache, so that cached
 * blocks of the bucket are not served either. Both listeners use it, so it also applies to forwarded reads. `undefined` allows
 * all buckets.
 */
export function onlyAllowed(allowed: readonly BucketPattern[] | undefined): (next: Cache) => Cache {
  if (allowed === undefined) return (next) => next;
  const rule = new AllowRule(allowed);
  return (next) => ({
    open(request) {
      rule.check(request.ref);
      return next.open(request);
    },
    async ask<Q extends Question>(question: Q) {
      if (question.kind === "listBuckets") return (await rule.listed(question, next)) as AnswerTo<Q>;
      return next.ask(rule.permitted(question) as Q);
    },
  });
}

class AllowRule {
  readonly #allowed: readonly BucketPattern[];

  constructor(allowed: readonly BucketPattern[]) {
    this.#allowed = allowed;
  }

  /** Throws PERMISSION_DENIED if the bucket is not allowed. */
  check({ url, scheme, bucket }: BucketRef): void {
    this.#checkBuckets(url, { scheme, bucket });
  }

  /** The allowed buckets. If the origin refuses to list its buckets, those that are allowed by name. */
  async listed(question: BucketsQuestion, next: Pick<Cache, "ask">): Promise<BucketList> {
    const { scheme } = question.ref;
    try {
      const { buckets, ...list } = await next.ask(question);
      return { ...list, buckets: buckets.filter(({ name }) => this.#covers({ scheme, bucket: name })) };
    } catch (error) {
      const names = literalNames(this.#allowed, scheme);
      if (CacheError.from(error).retryable || names.length === 0) throw error;
      return { buckets: names.map((name) => ({ name })) };
    }
  }

  /** Returns the allowed part of a question. Touches of blocks of other buckets are omitted; other questions about them throw. */
  permitted(question: Exclude<Question, BucketsQuestion>): Question {
    switch (question.kind) {
      case "stat":
      case "list":
      case "statBucket":
      case "pass":
      case "warmBlock":
        this.check(question.ref);
        return question;
      case "evict": {
        const { url, prefix } = question.selector;
        this.#checkBuckets(url ?? prefix ?? "", bucketsOf(url ?? prefix ?? ""));
        return question;
      }
      case "warm":
        for (const { ref } of question.objects) this.check(ref);
        for (const ref of question.prefixes) this.check(ref);
        return question;
      case "touch":
        return { ...question, blocks: question.blocks.filter(({ url }) => this.#covers(bucketsOf(url))) };
    }
  }

  #covers(buckets: BucketPattern): boolean {
    return this.#allowed.some((pattern) => covers(pattern, buckets));
  }

  #checkBuckets(name: string, requested: BucketPattern): void {
    if (this.#covers(requested)) return;
    // An eviction's prefix is any text, and the message must fit into a response.
    const [subject, bucket] = [name, `${requested.scheme}://${requested.bucket}`].map(shortened);
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

/** Returns the buckets of a URL or of a prefix of URLs. Without a slash after the bucket: all buckets with this prefix. */
function bucketsOf(beginning: string): BucketPattern {
  const [, scheme, bucket, slash] = BUCKET_OF_URL.exec(beginning) ?? [];
  return { scheme: scheme as Scheme, bucket: slash === "/" ? bucket! : `${bucket}*` };
}
