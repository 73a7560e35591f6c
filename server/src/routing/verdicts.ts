import { type BucketRef, CacheError, type ObjectRef } from "@frontcache/proto";
import { BoundedMap, untilAborted } from "@frontcache/proto/runtime";
import { isDenial } from "../origin/as-recent-caller.js";
import type { Origin } from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import type { Principal } from "../security/principal.js";
import type { RecentCallers } from "../security/recent-callers.js";

/** Decisions that are remembered: about 200 bytes each. */
const MAX_VERDICTS = 100_000;
/** Buckets and objects whose decisions were dropped. If there are more, all decisions are. */
const MAX_DROPPED = 100_000;

/** The origin allowed a principal to read an object. */
export interface Verdict {
  /** The version that the origin showed. Undefined: it said that there is no such object. */
  readonly version: string | undefined;
  /** When the request was sent, monotonic milliseconds. */
  readonly askedAtMs: number;
}

export interface VerdictsOptions {
  /** The origin itself: what another member has cached decides nothing. */
  readonly origin: Pick<Origin, "fetch" | "ask">;
  readonly callers: RecentCallers;
  readonly clock: Pick<Clock, "monotonicMs">;
  /** How old a decision may be. 0: each request asks. */
  readonly ttlMs: number;
  /** Aborted when the member closes. */
  readonly signal: AbortSignal;
}

/** How often a decision was at hand, or how the origin decided. */
export interface VerdictCounts {
  remembered: number;
  allowed: number;
  denied: number;
  failed: number;
}

/**
 * The origin's decisions about principals that have credentials of their own. A decision is asked for by a GET of one byte with these
 * credentials, which needs the same permissions as any GET. It dates from when its request was sent.
 */
export class Verdicts {
  readonly counts: VerdictCounts = { remembered: 0, allowed: 0, denied: 0, failed: 0 };
  readonly #options: VerdictsOptions;
  readonly #known = new BoundedMap<string, Verdict>(MAX_VERDICTS);
  readonly #asking = new Map<string, { readonly askedAtMs: number; readonly answer: Promise<Verdict> }>();
  /** Decisions about these buckets and objects count only if they were asked for later, by URL. Monotonic milliseconds. */
  readonly #droppedAtMs = new BoundedMap<string, number>(MAX_DROPPED, () => {
    this.#allDroppedAtMs = this.#options.clock.monotonicMs();
  });
  #allDroppedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: VerdictsOptions) {
    this.#options = options;
  }

  /** The last decision about a principal and an object, if it is not too old. Undefined: the origin must be asked. */
  remembered(principal: Principal, ref: ObjectRef): Verdict | undefined {
    const verdict = this.#known.get(keyOf(principal, ref));
    if (verdict === undefined || !this.#counts(verdict, ref)) return undefined;
    this.counts.remembered++;
    this.#options.callers.allowed(ref.url, principal.name);
    return verdict;
  }

  /**
   * Asks the origin, or shares the answer to a question that is young enough. Rejects with PERMISSION_DENIED if the origin denies
   * access, and with the origin's error if it cannot be asked: then nobody may read.
   */
  async ask(principal: Principal, ref: ObjectRef, signal: AbortSignal): Promise<Verdict> {
    const key = keyOf(principal, ref);
    const running = this.#asking.get(key);
    if (running !== undefined && this.#counts(running, ref)) return untilAborted(running.answer, signal);
    const askedAtMs = this.#options.clock.monotonicMs();
    const question = { askedAtMs, answer: this.#askOrigin(principal, ref, askedAtMs) };
    this.#asking.set(key, question);
    const end = (): void => {
      if (this.#asking.get(key) === question) this.#asking.delete(key);
    };
    question.answer.then(end, end);
    return untilAborted(question.answer, signal);
  }

  /** Forgets the decision about a principal and an object: the next request asks. */
  drop(principal: Principal, ref: ObjectRef): void {
    this.#known.delete(keyOf(principal, ref));
  }

  /** Forgets all decisions about an object, or about the objects of a bucket, because the rules of access may have changed. */
  dropAll(ref: ObjectRef | BucketRef): void {
    this.#droppedAtMs.set("key" in ref ? ref.url : bucketUrl(ref), this.#options.clock.monotonicMs());
  }

  #counts({ askedAtMs }: Pick<Verdict, "askedAtMs">, ref: ObjectRef): boolean {
    if (this.#droppedAtMs.size > 0) {
      const droppedAtMs = Math.max(
        this.#droppedAtMs.get(bucketUrl(ref)) ?? this.#allDroppedAtMs,
        this.#droppedAtMs.get(ref.url) ?? this.#allDroppedAtMs,
      );
      if (askedAtMs <= droppedAtMs) return false;
    }
    return this.#options.clock.monotonicMs() - askedAtMs < this.#options.ttlMs;
  }

  async #askOrigin(principal: Principal, ref: ObjectRef, askedAtMs: number): Promise<Verdict> {
    const { callers } = this.#options;
    const key = keyOf(principal, ref);
    try {
      const verdict = { version: await this.#versionShown(principal, ref), askedAtMs };
      if ((this.#known.peek(key)?.askedAtMs ?? Number.NEGATIVE_INFINITY) < askedAtMs) this.#known.set(key, verdict);
      callers.allowed(ref.url, principal.name);
      this.counts.allowed++;
      return verdict;
    } catch (error) {
      const failure = CacheError.from(error);
      if (!isDenial(failure)) {
        this.counts.failed++;
        throw failure;
      }
      this.counts.denied++;
      this.#known.delete(key);
      callers.denied(ref.url, principal.name);
      throw failure;
    }
  }

  /** The version of the object that the origin shows to the principal; undefined if it says that the object is missing. */
  async #versionShown(principal: Principal, ref: ObjectRef): Promise<string | undefined> {
    const { origin, signal } = this.#options;
    const request = { ref, principal: principal.identity ?? principal, signal };
    try {
      const { info, body } = await origin.fetch({ ...request, offset: 0, length: 1, version: undefined });
      // Its only byte frees the connection for others.
      const room = Buffer.alloc(1);
      await body.land({ room: () => room, landed: () => {} });
      return info.version;
    } catch (error) {
      const { code } = CacheError.from(error);
      if (code === "NOT_FOUND") return undefined;
      if (code !== "OUT_OF_RANGE") throw error;
    }
    // An empty object has no byte. Its headers need the same permissions.
    return (await origin.ask({ ...request, kind: "stat", hasFallback: false })).version;
  }
}

function bucketUrl({ scheme, bucket }: BucketRef): string {
  return `${scheme}://${bucket}`;
}

/** Neither names nor URLs contain a line break. */
function keyOf({ name }: Principal, { url }: ObjectRef): string {
  return `${name}\n${url}`;
}
