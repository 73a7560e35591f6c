import type { ObjectInfo } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import { HedgedRequest, type HedgedWork } from "./hedged-request.js";
import {
  type AnswerTo,
  type Origin,
  type OriginAnswer,
  type OriginRequest,
  type OriginWrapper,
  type StatQuestion,
  withSignal,
  wrap,
} from "./origin.js";
import type { Permit } from "./origin-limits.js";

/** The outcome of an extra request. */
export interface Hedge {
  readonly url: string;
  /** The extra request was sent after this time without an answer. */
  readonly afterMs: number;
  /** Whether the extra request's answer was used. */
  readonly won: boolean;
}

/** When requests are hedged, and how often. */
export interface HedgeOptions {
  /** Upper bound of extra requests per ordinary request: 0.05 allows one for every twenty. */
  readonly share: number;
  /** No request counts as late before this, however fast the others were. */
  readonly minDelayMs: number;
  /** Permission for an extra request; undefined if the origin's limits do not allow one now. */
  readonly acquireExtra: () => Pick<Permit, "release"> | undefined;
  /** Called after each extra request, for metrics and logs. */
  readonly onHedge: (hedge: Hedge) => void;
}

/**
 * Cuts an origin's tail latency: if an answer has not started by the 95th percentile of recent answers, the request is sent
 * again. The first answer is used, the other request is cancelled. Stands inside of limits, whose waiting time is not the
 * origin's. Only fetches and stats are hedged: no read waits for a listing.
 */
export function hedged(options: HedgeOptions, clock: Clock): OriginWrapper {
  return (next) => {
    const budget = new HedgeBudget(options.share);
    const shared = { clock, options, budget };
    // Their times are separate, because some stores answer them by separate services.
    const fetches: HedgedWork<OriginRequest, OriginAnswer> = {
      ...shared,
      times: new FirstByteTimes(),
      send: (request, signal) => next.fetch(withSignal(request, signal)),
      discard: ({ body }) => body.destroy(),
      hasBody: true,
    };
    const stats: HedgedWork<StatQuestion, ObjectInfo> = {
      ...shared,
      times: new FirstByteTimes(),
      send: (question, signal) => next.ask(withSignal(question, signal)),
      discard: () => {},
      hasBody: false,
    };
    const ask: Origin["ask"] = (question) => {
      if (question.kind !== "stat") return next.ask(question);
      // The compiler does not connect a question's kind to the type of its answer.
      return new HedgedRequest(stats, question).run() as Promise<AnswerTo<typeof question>>;
    };
    return wrap(next, { fetch: (request) => new HedgedRequest(fetches, request).run(), ask });
  };
}

/** Answers that count as recent: few enough to follow an origin that changes, enough for a steady 95th percentile. */
const WINDOW = 256;

/** With fewer answers the percentile is unknown: the slowest of 20 is their 95th percentile. */
const MIN_ANSWERS = 20;

/** Sorting the window takes 20 us, so it is sorted once per this many answers. */
const SORT_INTERVAL = 64;

/** How long an origin's recent answers took to start. */
export class FirstByteTimes {
  readonly #window = new Float64Array(WINDOW);
  #recorded = 0;
  #p95Ms: number | undefined;

  record(ms: number): void {
    this.#window[this.#recorded++ % WINDOW] = ms;
    const isDue = this.#p95Ms === undefined || this.#recorded % SORT_INTERVAL === 0;
    if (this.#recorded >= MIN_ANSWERS && isDue) this.#p95Ms = this.#percentile();
  }

  /** The 95th percentile in milliseconds; undefined while too few answers are known. */
  get p95Ms(): number | undefined {
    return this.#p95Ms;
  }

  #percentile(): number {
    const sorted = this.#window.slice(0, Math.min(this.#recorded, WINDOW)).sort();
    return sorted[Math.ceil(sorted.length * 0.95) - 1]!;
  }
}

/** Extra requests that can be saved up. */
const MAX_SAVED = 10;

/** Bounds the extra requests to a share of the ordinary ones. */
export class HedgeBudget {
  readonly #share: number;
  #left = 0;

  constructor(share: number) {
    this.#share = share;
  }

  /** An ordinary request was sent. */
  earn(): void {
    this.#left = Math.min(MAX_SAVED, this.#left + this.#share);
  }

  /** Takes permission for one extra request, if there is any. */
  spend(): boolean {
    // Twenty times 0.05 is slightly less than 1.
    if (this.#left < 1 - 1e-9) return false;
    this.#left -= 1;
    return true;
  }

  /** The origin throttles: it must not get more requests. */
  clear(): void {
    this.#left = 0;
  }
}
