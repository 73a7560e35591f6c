import type { CacheError, ObjectInfo } from "@frontcache/proto";
import type { Linked } from "@frontcache/proto/runtime";
import type { RequestBudget } from "../../origin/request-budget.js";
import type { Reservation } from "../../storage/block.js";
import { type FillContext, FillDescription, type FillTarget } from "./fill-description.js";
import type { Priority } from "./fill-memory.js";
import { FillParts } from "./fill-parts.js";
import { FillSegments } from "./fill-segments.js";
import type { Part } from "./part.js";

export interface FillEvents {
  /** The first answer has come: version and size are known. */
  described(info: ObjectInfo): void;
  /** Nothing runs, waits or is in memory any more. Called once; the fill is not used again. */
  idle(): void;
}

/**
 * The fill of one block, of one version: that of its target, or that of the first answer (FillDescription).
 *
 * A segment is planned in a part (FillParts), gets memory, is requested from the origin and arrives (Part), is readable while
 * it arrives (FillSegments), and is written to the block file here. Then its memory is freed and readers continue from the
 * file. If it cannot be written, it stays in memory until the readers that entered for it have left, or until other demand
 * needs the memory.
 */
export class Fill implements Linked<Fill> {
  previous?: Fill | undefined;
  next?: Fill | undefined;
  readonly target: FillTarget;
  readonly description: FillDescription;
  /** What readers look at and wait for. They enter here and leave by `leave`. */
  readonly segments = new FillSegments();
  readonly #context: FillContext;
  readonly #parts: FillParts;
  readonly #onIdle: () => void;
  /** Set while segments may be in memory that could not be written. */
  #stopPressure: (() => void) | undefined;
  /** Writes that run or wait for their room. */
  #writes = 0;
  #isDiscarded = false;
  #isIdle = false;

  constructor(context: FillContext, target: FillTarget, events: FillEvents) {
    this.target = target;
    this.#context = context;
    this.#onIdle = events.idle;
    this.description = new FillDescription(context, target, events.described);
    const { description, segments } = this;
    this.#parts = new FillParts({ context, description, segments }, (part, failure) => this.#partEnded(part, failure));
  }

  /** Whether some of the block is in memory or on its way. */
  get isBusy(): boolean {
    return this.segments.size > 0 || !this.#parts.isIdle;
  }

  /** Whether the segment is in memory or on its way. */
  has(segment: number): boolean {
    return this.segments.buffer(segment) !== undefined || this.#parts.has(segment);
  }

  /**
   * Requests those of `segments` (ascending) that are neither in memory nor on their way. Returns whether there were any. `budget`
   * counts the requests, unless parts are on their way: then theirs does.
   */
  request(segments: readonly number[], priority: Priority, budget?: RequestBudget): boolean {
    const missing: number[] = [];
    for (const segment of segments) {
      if (this.has(segment)) continue;
      this.segments.forgetFailure(segment);
      missing.push(segment);
    }
    if (missing.length > 0) this.#parts.plan(missing, priority, budget);
    if (priority === "demand") this.#parts.promote(segments);
    this.#parts.start();
    return missing.length > 0;
  }

  /** A reader that entered, and perhaps arrived, has passed the segment or will not come. */
  leave(segment: number, arrived: boolean): void {
    if (!this.segments.leave(segment, arrived)) return;
    this.#parts.abandon(segment);
    this.#checkIdle();
  }

  /** Writes nothing any more: the block was evicted meanwhile. Readers of this fill are still served. */
  discard(): void {
    this.#isDiscarded = true;
  }

  /** Writes the complete segments of a part, and fails those that did not come. */
  #partEnded(part: Part, failure: CacheError | undefined): void {
    const complete: number[] = [];
    for (let segment = part.first; segment < part.first + part.count; segment++) {
      if (part.isComplete(segment)) complete.push(segment);
      else if (failure === undefined || this.description.isBeyond(segment)) this.segments.drop(segment);
      else this.segments.fail(segment, failure);
    }
    if (part.reservation !== undefined) void this.#keep(complete, part.reservation);
    this.#checkIdle();
  }

  /** Writes complete segments. Those that cannot be kept stay in memory for the readers that entered for them. */
  async #keep(segments: readonly number[], reserving: NonNullable<Part["reservation"]>): Promise<void> {
    this.#writes++;
    const reservation = reserving instanceof Promise ? await reserving : reserving;
    const canWrite = reservation !== undefined && segments.length > 0 && !this.#isDiscarded;
    const kept = canWrite && (await this.#write(segments, reservation));
    reservation?.release();
    this.#writes--;
    for (const segment of segments) this.segments.settle(segment, kept);
    if (!kept) this.#stopPressure ??= this.#context.memory.onPressure(() => this.#dropUnkept());
    if (this.#context.memory.waiting > 0) this.segments.dropUnkept();
    this.#checkIdle();
  }

  /** Resolves to whether the segments are cached now. */
  async #write(segments: readonly number[], reservation: Reservation): Promise<boolean> {
    const { id, info, observedAtMs } = this.description;
    const { clock, store, records } = this.#context;
    // The file says when this version was last observed, by the clock that a later process has, too. 0: never.
    const createdAtMs = Math.max(0, clock.nowMs() - (clock.monotonicMs() - observedAtMs));
    // The object's headers may have been observed again since the first answer.
    const latest = records.infoOf(id.url, id.version) ?? info!;
    const kept = await store.write({ id, info: latest, createdAtMs }, this.segments.filled(segments), reservation);
    // Headers that were observed during the write found no block to describe.
    const newest = kept ? records.infoOf(id.url, id.version) : undefined;
    if (newest !== undefined && newest !== latest) store.describe(id.url, newest);
    return kept;
  }

  #dropUnkept(): void {
    this.segments.dropUnkept();
    this.#checkIdle();
  }

  #checkIdle(): void {
    if (this.#isIdle || this.#writes > 0 || this.segments.size > 0 || !this.#parts.isIdle) return;
    this.#isIdle = true;
    this.#stopPressure?.();
    this.#onIdle();
  }
}
