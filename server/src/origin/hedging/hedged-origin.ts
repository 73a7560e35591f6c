import type { BucketRef, ObjectInfo, ObjectRef, PrefixRef } from "@frontcache/proto";
import type { Clock } from "../../runtime/clock.js";
import type { Permit } from "../limits/origin-limits.js";
import type { Listing, ListPage, Origin, OriginAnswer, OriginRange } from "../origin.js";
import { FirstByteTimes } from "./first-byte-times.js";
import { HedgeBudget } from "./hedge-budget.js";
import { HedgedRequest } from "./hedged-request.js";

/** An extra request, when it is decided which of the two answered first. */
export interface Hedge {
  readonly url: string;
  /** After so long without an answer the extra request was sent. */
  readonly afterMs: number;
  /** Whether the extra request's answer was the one used. */
  readonly won: boolean;
}

/** When requests are hedged, and how often. */
export interface HedgeOptions {
  /** Extra requests per ordinary one, at most: 0.05. */
  readonly share: number;
  /** Sooner than this no request counts as late, however fast the others were. */
  readonly minDelayMs: number;
  /** Leave for an extra request where the origin's limits give it at once; undefined where they don't. */
  readonly admitExtra: () => Pick<Permit, "release"> | undefined;
  /** Told after each extra request, for metrics and logs. */
  readonly onHedge: (hedge: Hedge) => void;
}

/**
 * Cuts an origin's tail: a request whose answer has not begun when 95 % of the recent ones had is sent a second time. The
 * first answer is used, the other request is cut. Stands inside of what limits requests, so that a wait for leave doesn't
 * count as the origin's. Listings, which no read waits for, are sent once.
 */
export class HedgedOrigin implements Origin {
  readonly #origin: Origin;
  readonly #options: HedgeOptions;
  readonly #clock: Clock;
  readonly #budget: HedgeBudget;
  /** Apart, because for some stores they are two services. */
  readonly #times = { fetch: new FirstByteTimes(), stat: new FirstByteTimes() };

  constructor(origin: Origin, options: HedgeOptions, clock: Clock) {
    this.#origin = origin;
    this.#options = options;
    this.#clock = clock;
    this.#budget = new HedgeBudget(options.share);
  }

  fetch(ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginAnswer> {
    return this.#ask("fetch", ref, signal, {
      ask: (own) => this.#origin.fetch(ref, range, own),
      drop: ({ body }) => body.destroy(),
      outlives: true,
    });
  }

  stat(ref: ObjectRef, signal: AbortSignal): Promise<ObjectInfo> {
    return this.#ask("stat", ref, signal, { ask: (own) => this.#origin.stat(ref, own), drop: () => {}, outlives: false });
  }

  list(ref: PrefixRef, page: ListPage, signal: AbortSignal): Promise<Listing> {
    return this.#origin.list(ref, page, signal);
  }

  statBucket(ref: BucketRef, signal: AbortSignal): Promise<void> {
    return this.#origin.statBucket(ref, signal);
  }

  close(): void {
    this.#origin.close();
  }

  #ask<Answer>(
    kind: "fetch" | "stat",
    { url }: ObjectRef,
    signal: AbortSignal,
    work: { ask(signal: AbortSignal): Promise<Answer>; drop(answer: Answer): void; outlives: boolean },
  ): Promise<Answer> {
    const { minDelayMs, admitExtra, onHedge } = this.#options;
    const [times, budget] = [this.#times[kind], this.#budget];
    const p95Ms = times.p95Ms;
    budget.earn();
    return new HedgedRequest({
      ...work,
      signal,
      clock: this.#clock,
      delayMs: p95Ms === undefined ? undefined : Math.max(minDelayMs, p95Ms),
      admitExtra: () => {
        const permit = admitExtra();
        if (permit === undefined || budget.spend()) return permit;
        permit.release();
        return undefined;
      },
      onAnswer: (ms) => times.record(ms),
      onThrottled: () => budget.forfeit(),
      onHedge: (hedge) => onHedge({ url, ...hedge }),
    }).run();
  }
}
