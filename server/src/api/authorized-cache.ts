import { type BucketRef, CacheError, type ObjectRef, SCHEME_PATTERN, type Scheme } from "@frontcache/proto";
import type { BucketList, BucketsQuestion, Listing, ListQuestion, PassQuestion } from "../origin/origin.js";
import type { AnswerTo, Cache, EvictQuestion, Question } from "../routing/cache.js";
import type { Authorization } from "../security/grants/authorization.js";
import type { Operation, Target } from "../security/grants/grants.js";
import type { Principal } from "../security/principal.js";
import type { WriteQuestion } from "../writes/write-through.js";
import { listRanges } from "./list-ranges.js";

/**
 * Denies what a principal may not do, before it reaches the cache, so that cached blocks are not served either. All listeners use it,
 * so it applies to every kind of request; reads that members forward are exempt from grants, not from the list of buckets.
 */
export function authorized(authorization: Authorization): (next: Cache) => Cache {
  if (authorization.isOpen) return (next) => next;
  const rule = new AccessRule(authorization);
  return (next) => ({
    open(request) {
      rule.checkObject(request.principal, "read", request.ref);
      return next.open(request);
    },
    async ask<Q extends Question>(question: Q) {
      if (question.kind === "listBuckets") return (await rule.listed(question, next)) as AnswerTo<Q>;
      if (question.kind === "list") return (await rule.list(question, next)) as AnswerTo<Q>;
      const answer = await next.ask(rule.permitted(question) as Q);
      if (question.kind === "evict") rule.evicted(question);
      if (question.kind === "write") rule.written(question);
      return answer;
    },
  });
}

class AccessRule {
  readonly #authorization: Authorization;

  constructor(authorization: Authorization) {
    this.#authorization = authorization;
  }

  checkObject(principal: Principal, operation: Operation, ref: ObjectRef): void {
    // This is the path of every read, so the target is passed as the reference that it is.
    this.#authorization.check(principal, operation, { bucket: ref, prefix: ref.key }, ref.url);
  }

  /** The buckets that the principal may know. If the origin refuses to list its buckets, those that the configuration names. */
  async listed(question: BucketsQuestion, next: Pick<Cache, "ask">): Promise<BucketList> {
    const { principal, ref } = question;
    const { scheme } = ref;
    this.#authorization.checkCaller(principal);
    try {
      const { buckets, ...list } = await next.ask(question);
      return {
        ...list,
        buckets: buckets.filter(({ name }) => this.#authorization.seesBucket(principal, { scheme, bucket: name })),
      };
    } catch (error) {
      const names = this.#authorization.namedBuckets(principal, scheme);
      if (CacheError.from(error).retryable || names.length === 0) throw error;
      return { buckets: names.map((name) => ({ name })) };
    }
  }

  /** The objects that the principal may list. Denied if none of the keys with the prefix may be listed. */
  async list(question: ListQuestion, next: Pick<Cache, "ask">): Promise<Listing> {
    const { principal, ref } = question;
    const target = { bucket: ref, prefix: ref.prefix };
    const ranges = this.#authorization.listable(principal, target);
    if (ranges.length === 0) this.#authorization.check(principal, "list", target, ref.url);
    if (ranges.length === 1 && ranges[0] === ref.prefix) return next.ask(question);
    return listRanges(question, ranges, next);
  }

  /** Returns the allowed part of a question. Touches of blocks that may not be read are omitted; other denied questions throw. */
  permitted(question: Exclude<Question, BucketsQuestion | ListQuestion>): Question {
    const { principal } = question;
    switch (question.kind) {
      case "stat":
        this.checkObject(principal, "read", question.ref);
        return question;
      case "statBucket":
        this.#authorization.checkBucket(principal, question.ref);
        return question;
      case "pass":
        this.#checkPassed(question);
        return question;
      case "write":
        for (const { operation, ref } of question.grants) this.#checkWrite(principal, operation, ref);
        return question;
      case "warmBlock":
        this.checkObject(principal, "warm", question.ref);
        return question;
      case "evict":
        this.#checkEviction(question);
        return question;
      case "warm":
        for (const { ref } of question.objects) this.checkObject(principal, "warm", ref);
        for (const ref of question.prefixes) {
          this.#authorization.check(principal, "warm", { bucket: ref, prefix: ref.prefix }, ref.url);
        }
        return question;
      case "touch": {
        const blocks = question.blocks.filter(({ url }) => this.#authorization.allows(principal, "read", targetOf(url)));
        return { ...question, blocks };
      }
    }
  }

  evicted({ principal, selector }: EvictQuestion): void {
    this.#authorization.done({ principal, operation: "evict", subject: selector.url ?? selector.prefix ?? "" });
  }

  written({ principal, grants }: WriteQuestion): void {
    for (const { operation, ref } of grants) {
      if (operation !== "read") this.#authorization.done({ principal, operation, subject: ref.url });
    }
  }

  #checkWrite(principal: Principal, operation: Operation, ref: ObjectRef | BucketRef): void {
    this.#authorization.check(principal, operation, { bucket: ref, prefix: "key" in ref ? ref.key : "" }, ref.url);
  }

  #checkEviction({ principal, selector }: EvictQuestion): void {
    const beginning = selector.url ?? selector.prefix ?? "";
    this.#authorization.check(principal, "evict", targetOf(beginning), beginning);
  }

  /** A passed request is about an object, the objects of a bucket, or the bucket's configuration. */
  #checkPassed({ principal, ref, query, collection }: PassQuestion): void {
    if ("key" in ref) {
      this.checkObject(principal, "read", ref);
      return;
    }
    const names = new Set(query.map(([name]) => name));
    const isListing = ref.scheme === "gs" ? collection !== undefined : LISTINGS.some((name) => names.has(name));
    if (isListing) {
      const prefix = query.find(([name]) => name === "prefix")?.[1] ?? "";
      this.#authorization.check(principal, "list", { bucket: ref, prefix }, `${bucketUrl(ref)}/${prefix}`);
    } else if (isOnlyAboutExistence(ref, names)) this.#authorization.checkBucket(principal, ref);
    else this.#authorization.check(principal, "admin", { bucket: ref, prefix: "" }, bucketUrl(ref));
  }
}

/** Sub-resources of S3's buckets that list objects. */
const LISTINGS = ["versions", "uploads", "list-type", "prefix"];

/** Parameters with which the answer says no more than that a bucket exists, where it is, and whether it has versions. */
const HARMLESS: Readonly<Record<Scheme, RegExp>> = {
  s3: /^(?:location|versioning|x-id)$/,
  gs: /^(?:alt|fields|prettyPrint|userProject|key|quotaUser)$/,
  cache: /^(?:location|versioning|x-id)$/,
};

function isOnlyAboutExistence({ scheme }: BucketRef, names: ReadonlySet<string>): boolean {
  return [...names].every((name) => HARMLESS[scheme].test(name));
}

function bucketUrl({ scheme, bucket }: BucketRef): string {
  return `${scheme}://${bucket}`;
}

const BEGINNING = new RegExp(`^(${SCHEME_PATTERN})://([^/]*)(?:(/)(.*))?$`, "s");

/** Returns the keys of a URL or of a beginning of URLs. Without a slash after the bucket: all buckets that begin so. */
function targetOf(beginning: string): Target {
  const [, scheme, bucket = "", slash, prefix = ""] = BEGINNING.exec(beginning) ?? [];
  return { bucket: { scheme: scheme as Scheme, bucket: slash === "/" ? bucket : `${bucket}*` }, prefix };
}
