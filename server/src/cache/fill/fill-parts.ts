import { CacheError } from "@frontcache/proto";
import type { FillContext } from "./fill-context.js";
import type { FillDescription } from "./fill-description.js";
import type { Priority } from "./fill-memory.js";
import { Part, type PartHost } from "./part.js";
import { PartQueue } from "./part-queue.js";
import { planParts } from "./plan-parts.js";

/** What one fill's parts need of it, and tell it. */
export interface FillPartsOptions {
  readonly context: Pick<FillContext, "geometry" | "memory" | "partBytes" | "parallelism" | "signal">;
  /** Failed here where no part got an answer. */
  readonly description: FillDescription;
  /** What the parts land in. */
  readonly host: PartHost;
  /** Whether anybody still comes for the segment. */
  isWanted(segment: number): boolean;
  /** The part has run, or will not; its segments are not on their way any more. Without a failure it has run whole, or was abandoned. */
  ended(part: Part, failure: CacheError | undefined): void;
  /** The part will not be asked for: nobody wants it, or it lies behind the object's end. */
  unplanned(part: Part): void;
  /** A part has run and ended, and those that could start in its place have started. */
  ran(): void;
}

/**
 * The parts of one fill, by which its missing segments come: planned, queued, running. A segment is on its way in one part at
 * a time; so many run at once as the fill may have, demand first.
 */
export class FillParts {
  readonly #queue = new PartQueue();
  readonly #running = new Set<Part>();
  /** Running parts that have neither an answer nor a failure, while no answer has come. */
  readonly #undecided = new Set<Part>();
  /** While no answer has come: what the failed part nearest to the block's beginning met. */
  #nearestFailure: { readonly part: Part; readonly failure: CacheError } | undefined;
  /** The part that brings a segment, from its planning until it has ended. */
  readonly #partOf = new Map<number, Part>();

  constructor(private readonly options: FillPartsOptions) {}

  /** Whether the segment is on its way. */
  has(segment: number): boolean {
    return this.#partOf.has(segment);
  }

  /** Segments on their way. */
  get segments(): number {
    return this.#partOf.size;
  }

  /** Whether nothing is queued and nothing runs. */
  get resting(): boolean {
    return this.#running.size === 0 && this.#queue.size === 0;
  }

  /** Queues parts for segments (ascending) that are not on their way. */
  plan(missing: readonly number[], priority: Priority): void {
    const { partBytes, geometry, memory } = this.options.context;
    const targetSegments = Math.max(1, Math.floor(partBytes / geometry.segmentBytes));
    const maxSegments = Math.min(memory.maxSegments, 2 * targetSegments);
    for (const plan of planParts(missing, { targetSegments, maxSegments })) {
      const part = new Part(plan, priority);
      this.#queue.add(part);
      for (const segment of part.indices) this.#partOf.set(segment, part);
    }
  }

  /** Readers wait for these segments now. */
  promote(segments: readonly number[]): void {
    for (const segment of segments) {
      const part = this.#partOf.get(segment);
      if (part !== undefined) this.#queue.promote(part);
    }
  }

  /** Starts what is queued, as far as parts may run beside each other. */
  start(): void {
    while (this.#running.size < this.options.context.parallelism) {
      const part = this.#queue.take();
      if (part === undefined) return;
      if (this.options.description.isBeyond(part.first)) this.#unplan(part);
      else void this.#run(part);
    }
  }

  /** Nobody comes for the segment any more. A demand part of which that holds as a whole is dropped, if it was not asked for yet. */
  abandon(segment: number): void {
    const part = this.#partOf.get(segment);
    if (part === undefined || part.priority !== "demand" || part.indices.some((other) => this.options.isWanted(other))) return;
    if (this.#queue.remove(part)) this.#unplan(part);
    else part.abandon();
  }

  async #run(part: Part): Promise<void> {
    const { host, context, description } = this.options;
    this.#running.add(part);
    if (description.info === undefined) this.#undecided.add(part);
    let failure: CacheError | undefined;
    try {
      await part.run(host, context.signal);
    } catch (error) {
      failure = CacheError.from(error);
      if (description.info === undefined) this.#failUndescribed(part, failure);
    }
    this.#running.delete(part);
    this.#end(part, part.abandoned ? undefined : failure);
    this.start();
    this.options.ran();
  }

  /**
   * A part failed before any answer came. Others may still describe the block: it may be that this one only lies behind the
   * object's end. The last one to fail fails the description, with what the part nearest to the block's beginning met.
   */
  #failUndescribed(part: Part, failure: CacheError): void {
    this.#undecided.delete(part);
    const nearest = this.#nearestFailure;
    const counts = nearest === undefined || nearest.part.abandoned || (!part.abandoned && part.first < nearest.part.first);
    if (counts) this.#nearestFailure = { part, failure };
    if (this.#undecided.size > 0) return;
    if (failure.code !== "OUT_OF_RANGE") for (const queued of this.#queue.takeAll()) this.#end(queued, failure);
    if (this.#queue.size === 0) this.options.description.fail(this.#nearestFailure!.failure);
  }

  #end(part: Part, failure: CacheError | undefined): void {
    this.#forget(part);
    this.options.ended(part, failure);
  }

  #unplan(part: Part): void {
    this.#forget(part);
    this.options.unplanned(part);
  }

  #forget(part: Part): void {
    for (const segment of part.indices) this.#partOf.delete(segment);
  }
}
