import { CacheError } from "@frontcache/proto";
import { isAnswer, RequestBudget, requestBudget } from "../../origin/request-budget.js";
import type { Priority } from "./fill-memory.js";
import { Part, type PartContext, type SegmentRun } from "./part.js";

export interface PartPlanOptions {
  /** The smallest number of segments in a part, if that many are missing contiguously. */
  readonly targetSegments: number;
  /** The largest number of segments in a part: what the fill memory can give to it. */
  readonly maxSegments: number;
}

/**
 * Groups missing segments (ascending) into parts. A contiguous run of n segments becomes floor(n / target) parts of almost
 * equal size. So no part is below the target unless its run is: with a target of 4, 16 segments become 4 + 4 + 4 + 4 and 7
 * become 7.
 */
export function planParts(missing: readonly number[], options: PartPlanOptions): SegmentRun[] {
  const [first, count] = [missing[0]!, missing.length];
  // One run that makes one part, as of any small object.
  const isOnePart =
    count < 2 * options.targetSegments && count <= options.maxSegments && missing[count - 1] === first + count - 1;
  if (isOnePart && count > 0) return [{ first, count }];
  return contiguousRuns(missing).flatMap((run) => cutRun(run, options));
}

function contiguousRuns(segments: readonly number[]): SegmentRun[] {
  const runs: { first: number; count: number }[] = [];
  for (const segment of segments) {
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === segment) last.count++;
    else runs.push({ first: segment, count: 1 });
  }
  return runs;
}

function cutRun({ first, count }: SegmentRun, { targetSegments, maxSegments }: PartPlanOptions): SegmentRun[] {
  const parts = Math.max(1, Math.floor(count / targetSegments), Math.ceil(count / maxSegments));
  if (parts === 1) return [{ first, count }];
  const cuts = Array.from({ length: parts + 1 }, (_, i) => first + Math.floor((i * count) / parts));
  return Array.from({ length: parts }, (_, i) => ({ first: cuts[i]!, count: cuts[i + 1]! - cuts[i]! }));
}

/**
 * Called when a part has run, or will not run. Its segments are no longer on their way. Without a failure the part is complete,
 * or was not needed: no reader requested it any more, or it lies past the object's end.
 */
export type PartEnded = (part: Part, failure: CacheError | undefined) => void;

/**
 * The parts of one fill: planned, queued, running. A segment is on its way in at most one part. As many parts run concurrently
 * as the fill may have; demand comes before background.
 */
export class FillParts {
  readonly #fill: PartContext;
  readonly #onEnded: PartEnded;
  /** Parts whose request has not been sent, each priority in order. */
  readonly #queue: Record<Priority, Part[]> = { demand: [], background: [] };
  readonly #running: Part[] = [];
  /** Running parts without an answer or a failure, while no part has an answer. */
  #undecided = 0;
  /** While no part has an answer: the failure of the failed part that is nearest to the block's start. */
  #nearestFailure: { readonly part: Part; readonly failure: CacheError } | undefined;
  /** Of all parts from the first plan until none is queued or running. */
  #budget = new RequestBudget(0);

  constructor(fill: PartContext, onEnded: PartEnded) {
    this.#fill = fill;
    this.#onEnded = onEnded;
  }

  /** Whether the segment is on its way. */
  has(segment: number): boolean {
    return this.#partOf(segment) !== undefined;
  }

  /** Whether no part is queued or running. */
  get isIdle(): boolean {
    return this.#running.length === 0 && this.#queued === 0;
  }

  /**
   * Queues parts for segments (at least one, ascending) that are not on their way. If no part is queued or running, their requests take from
   * `budget`, or from a new one; else from the budget of the others.
   */
  plan(missing: readonly number[], priority: Priority, budget?: RequestBudget): void {
    const { partBytes, geometry, memory } = this.#fill.context;
    const { context, description } = this.#fill;
    if (this.isIdle) {
      this.#budget = budget ?? requestBudget(description.target);
      context.budgets.begin(description.target, this.#budget);
    }
    const targetSegments = Math.max(1, Math.floor(partBytes / geometry.segmentBytes));
    const maxSegments = Math.min(memory.maxSegments, 2 * targetSegments);
    for (const run of planParts(missing, { targetSegments, maxSegments })) {
      this.#queue[priority].push(new Part(run, priority));
    }
  }

  /** Readers wait for these segments now: their parts become demand, behind the demand that is queued. */
  promote(segments: readonly number[]): void {
    for (const segment of segments) {
      const part = this.#partOf(segment);
      if (part === undefined || part.priority === "demand") continue;
      const wasQueued = remove(this.#queue.background, part);
      part.promote();
      if (wasQueued) this.#queue.demand.push(part);
    }
  }

  /** Starts queued parts, as many as may run concurrently. */
  start(): void {
    while (this.#running.length < this.#fill.context.parallelism) {
      const part = this.#takeNext();
      if (part === undefined) return;
      if (this.#fill.description.isBeyond(part.first)) this.#end(part, undefined);
      else void this.#run(part);
    }
  }

  /** No reader needs the segment any more. Drops its part if that is demand, not requested yet, and not needed for other segments. */
  abandon(segment: number): void {
    const part = this.#partOf(segment);
    if (part === undefined || part.priority !== "demand") return;
    if (part.isNeeded(this.#fill.segments)) return;
    if (remove(this.#queue.demand, part)) this.#end(part, undefined);
    else part.abandon();
  }

  get #queued(): number {
    return this.#queue.demand.length + this.#queue.background.length;
  }

  /** The part that brings a segment, from its planning until its end. There are few. */
  #partOf(segment: number): Part | undefined {
    const { demand, background } = this.#queue;
    return partWith(this.#running, segment) ?? partWith(demand, segment) ?? partWith(background, segment);
  }

  #takeNext(): Part | undefined {
    return this.#queue.demand.shift() ?? this.#queue.background.shift();
  }

  async #run(part: Part): Promise<void> {
    const { description } = this.#fill;
    this.#running.push(part);
    if (description.info === undefined) this.#undecided++;
    let failure: CacheError | undefined;
    try {
      await part.run(this.#fill, this.#budget, (rest) => this.#queueRest(part, rest));
    } catch (error) {
      failure = CacheError.from(error);
      if (isFinal(failure) && part.isNeeded(this.#fill.segments)) this.#failBlock(failure);
      if (description.info === undefined) this.#failUndescribed(part, failure);
    }
    remove(this.#running, part);
    this.start();
    this.#end(part, part.isAbandoned ? undefined : failure);
  }

  /** Fetches by a part of their own the segments for which a running part has no memory. */
  #queueRest({ priority }: Part, rest: SegmentRun): void {
    this.#queue[priority].unshift(new Part(rest, priority));
    this.start();
  }

  /**
   * A part failed before any part got an answer. Other parts may still describe the block: this one may only lie past the
   * object's end. When the last part fails, the description fails with the error of the part nearest to the block's start.
   */
  #failUndescribed(part: Part, failure: CacheError): void {
    this.#undecided--;
    const nearest = this.#nearestFailure;
    const isNearer = nearest === undefined || nearest.part.isAbandoned || (!part.isAbandoned && part.first < nearest.part.first);
    if (isNearer) this.#nearestFailure = { part, failure };
    if (this.#undecided > 0) return;
    if (failure.code !== "OUT_OF_RANGE") this.#failQueued(failure);
    if (this.#queued === 0) this.#fill.description.fail(this.#nearestFailure!.failure);
  }

  /** The block has failed: no further request starts, and the parts that run do not repeat theirs. */
  #failBlock(failure: CacheError): void {
    // Reads without a version restart, with what is left of their budgets, if the object has another version now, or none.
    if (!isAnswer(failure)) this.#budget.close(failure);
    this.#failQueued(failure);
  }

  #failQueued(failure: CacheError): void {
    for (let queued = this.#takeNext(); queued !== undefined; queued = this.#takeNext()) this.#end(queued, failure);
  }

  #end(part: Part, failure: CacheError | undefined): void {
    if (this.isIdle) this.#fill.context.budgets.end(this.#fill.description.target, this.#budget);
    this.#onEnded(part, failure);
  }
}

function partWith(parts: readonly Part[], segment: number): Part | undefined {
  for (const part of parts) if (part.has(segment)) return part;
  return undefined;
}

/** Removes a part from a list. Returns whether the list had it. */
function remove(parts: Part[], part: Part): boolean {
  const at = parts.indexOf(part);
  if (at >= 0) parts.splice(at, 1);
  return at >= 0;
}

/** Whether the whole block has failed: the other parts would get the same answer, or the origin was asked as often as it may be. */
function isFinal({ code, retryable, isOriginTried }: CacheError): boolean {
  return retryable ? isOriginTried : code !== "CANCELLED" && code !== "OUT_OF_RANGE";
}
