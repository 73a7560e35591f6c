import { type BucketRef, CacheError, type ObjectRef } from "@frontcache/proto";
import type { ObjectRead } from "../cache/object-read.js";
import { isDenial } from "../origin/as-recent-caller.js";
import { otherVersion } from "../origin/checked-answer.js";
import type { OriginAccesses } from "../security/origin-access.js";
import type { Principal } from "../security/principal.js";
import type { RecentCallers } from "../security/recent-callers.js";
import type { WriteQuestion } from "../writes/write-through.js";
import type { AnswerTo, Cache, ObjectStat, Question, ReadRequest, StatQuestion } from "./cache.js";
import type { Verdict, Verdicts } from "./verdicts.js";

export interface AsCallerOptions {
  /** Which principals have credentials of their own. */
  readonly accesses: OriginAccesses;
  readonly verdicts: Verdicts;
  readonly callers: RecentCallers;
  /** Called with what the origin denied. Absent: nobody keeps a record of it. */
  readonly onDenied?: ((principal: Principal, ref: ObjectRef, reason: string) => void) | undefined;
}

/** How often a request is repeated because the object changes between the origin's decision and the answer. */
const MAX_STARTS = 3;

/** Sub-resources of buckets and objects whose change may change who may read. */
const ACCESS_RULES: ReadonlySet<string> = new Set(["acl", "policy", "publicAccessBlock", "ownershipControls", "tagging"]);

/** An answer, or the absence of the object. */
type Outcome<Answer> = { readonly answer: Answer } | { readonly missing: CacheError };

/** An answer that was begun by a remembered decision. */
interface Begun<Answer> {
  readonly verdict: Verdict;
  readonly outcome: Promise<Outcome<Answer>>;
}

/** How the cache is asked, perhaps several times. */
interface Attempts<Answer> {
  /** Absent: nothing was begun. */
  readonly first?: Begun<Answer> | undefined;
  attempt(): Promise<Answer>;
  versionOf(answer: Answer): string;
  /** Frees what an answer uses that is not given to the client. */
  discard(answer: Answer): void;
}

/**
 * Lets the origin decide about principals that have origin credentials of their own. Each answer about an object is of a version that
 * the origin has shown to the principal, by a decision that is young enough (Verdicts). Everything that is asked of the origin
 * directly is signed with the principal's credentials, so it needs no decision. The member that a client asked decides; requests of
 * other members name the principal.
 */
export function asCaller(options: AsCallerOptions): (next: Cache) => Cache {
  return (next) => {
    const rule = new CallerRule(options, next);
    return {
      open: (request) => rule.open(request),
      ask: <Q extends Question>(question: Q) => rule.ask(question),
    };
  };
}

class CallerRule {
  readonly #options: AsCallerOptions;
  readonly #next: Cache;

  constructor(options: AsCallerOptions, next: Cache) {
    this.#options = options;
    this.#next = next;
  }

  open(request: ReadRequest): ObjectRead | Promise<ObjectRead> {
    const { principal, ref, onBehalfOf } = request;
    if (onBehalfOf !== undefined && principal.isMember) this.#options.callers.allowed(ref.url, onBehalfOf);
    if (this.#options.accesses.of(principal, ref) === undefined) return this.#next.open(request);
    const verdict = this.#options.verdicts.remembered(principal, ref);
    if (verdict === undefined || !mayAnswer(verdict, request.version)) return this.#open(request);
    const read = this.#openNow(request);
    if (!(read instanceof Promise) && read.info.version === verdict.version) return read;
    return this.#open(request, { verdict, outcome: outcomeOf(() => read, request) });
  }

  /** Opens a read; at once if possible. */
  #openNow(request: ReadRequest): ObjectRead | Promise<ObjectRead> {
    try {
      return this.#next.open(request);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async ask<Q extends Question>(question: Q): Promise<AnswerTo<Q>> {
    if (question.kind === "stat") return (await this.#stat(question)) as AnswerTo<Q>;
    if (question.kind === "write") return (await this.#write(question)) as AnswerTo<Q>;
    return this.#next.ask(question);
  }

  #open(request: ReadRequest, first?: Begun<ObjectRead>): Promise<ObjectRead> {
    return this.#decided(request, {
      first,
      attempt: async () => this.#next.open(request),
      versionOf: ({ info }) => info.version,
      discard: (read) => read.close(),
    });
  }

  async #stat(question: StatQuestion): Promise<ObjectStat> {
    const { principal, ref } = question;
    if (this.#options.accesses.of(principal, ref) === undefined) return this.#next.ask(question);
    return this.#decided(question, {
      attempt: () => this.#next.ask(question),
      versionOf: ({ info }) => info.version,
      discard: () => {},
    });
  }

  /**
   * A change of who may read makes earlier decisions void, before the origin can have taken it and when it has. An object that is written
   * again gets a new ACL, even if its version is the same.
   */
  async #write(question: WriteQuestion): Promise<AnswerTo<WriteQuestion>> {
    const { ref, query, grants, changes } = question;
    const isRule = grants.some(({ operation }) => operation === "admin") || query.some(([name]) => ACCESS_RULES.has(name));
    const subjects = isRule ? [bucketOf(ref)] : changes;
    const drop = (): void => {
      for (const each of subjects) this.#options.verdicts.dropAll(each);
    };
    drop();
    return this.#next.ask(question).finally(drop);
  }

  /**
   * Answers by a version that the origin has shown to the principal:
   * 1. The origin decides, or has decided a moment ago. It shows a version, or absence.
   * 2. The cache answers. If the answer is of the same version, it is the principal's.
   * 3. Otherwise the decision is too old, or the record is: the origin is asked again, and the home of the object, too.
   */
  async #decided<Answer>(
    { principal, ref, version, signal, ...request }: (ReadRequest | StatQuestion) & { readonly cachedOnly?: boolean },
    { first, attempt, versionOf, discard }: Attempts<Answer>,
  ): Promise<Answer> {
    const { verdicts } = this.#options;
    const requested = { version, cachedOnly: request.cachedOnly };
    let begun = first;
    for (let starts = 1; ; starts++) {
      const known = begun?.verdict ?? verdicts.remembered(principal, ref);
      const isKnown = known !== undefined && mayAnswer(known, version);
      const verdict = isKnown ? known : await this.#ask(principal, ref, signal);
      if (!mayAnswer(verdict, version)) {
        await this.#confirm(ref, principal, signal);
        throw verdict.version === undefined ? noSuchObject(ref) : otherVersion(ref, version!);
      }
      const outcome = await (begun?.outcome ?? outcomeOf(attempt, requested));
      begun = undefined;
      const found = "answer" in outcome ? versionOf(outcome.answer) : undefined;
      if (found === verdict.version) {
        if ("answer" in outcome) return outcome.answer;
        throw outcome.missing;
      }
      if ("answer" in outcome) discard(outcome.answer);
      verdicts.drop(principal, ref);
      if (starts === MAX_STARTS) throw new CacheError("UNAVAILABLE", `${ref.url}: the object changes, try again`);
      if (!isKnown) await this.#confirm(ref, principal, signal);
    }
  }

  async #ask(principal: Principal, ref: ObjectRef, signal: AbortSignal): Promise<Verdict> {
    try {
      return await this.#options.verdicts.ask(principal, ref, signal);
    } catch (error) {
      if (isDenial(error)) this.#options.onDenied?.(principal, ref, "the origin denies access");
      throw error;
    }
  }

  /** Has the home ask the origin: its record may be outdated. */
  async #confirm(ref: ObjectRef, principal: Principal, signal: AbortSignal): Promise<void> {
    try {
      await this.#next.ask({ kind: "stat", ref, version: undefined, confirmed: true, principal, signal });
    } catch (error) {
      if (CacheError.from(error).code !== "NOT_FOUND") throw error;
    }
  }
}

/** Whether an answer by a decision can be of the version that the client requires. */
function mayAnswer(verdict: Verdict, required: string | undefined): boolean {
  return required === undefined || verdict.version === required;
}

/** The answer, or that there is no such object. Rejects with all other errors. */
async function outcomeOf<Answer>(
  attempt: () => Answer | Promise<Answer>,
  { cachedOnly }: { readonly cachedOnly?: boolean | undefined },
): Promise<Outcome<Answer>> {
  try {
    return { answer: await attempt() };
  } catch (error) {
    const missing = CacheError.from(error);
    // A read of cached bytes alone says nothing about the object.
    if (missing.code !== "NOT_FOUND" || cachedOnly === true) throw missing;
    return { missing };
  }
}

function bucketOf({ scheme, bucket }: BucketRef): BucketRef {
  return { url: `${scheme}://${bucket}`, scheme, bucket };
}

function noSuchObject({ url }: ObjectRef): CacheError {
  return new CacheError("NOT_FOUND", `${url}: no such object`);
}
