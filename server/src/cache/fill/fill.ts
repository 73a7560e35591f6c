import type { CacheError, ObjectInfo } from "@frontcache/proto";
import type { OriginAnswer } from "../../origin/origin.js";
import { CACHE_ITSELF } from "../../security/principal.js";
import type { Reservation } from "../../storage/block.js";
import type { FillContext, FillEvents, FillTarget } from "./fill-context.js";
import { FillDescription } from "./fill-description.js";
import type { FillMemory, Priority } from "./fill-memory.js";
import { FillParts } from "./fill-parts.js";
import { FillSegments } from "./fill-segments.js";
import type { Part, PartHost } from "./part.js";
import type { SegmentBuffer } from "./segment-buffer.js";
import { SegmentKeeper } from "./segment-keeper.js";

/**
 * The filling of one block: which segments are on their way (`FillParts`), which are in memory and who comes for them
 * (`FillSegments`), and what is kept of them (`SegmentKeeper`). All of it is of one version: the one it was made for, or the
 * one of the first answer (`FillDescription`).
 *
 * A segment's way: planned in a part -> memory claimed -> asked for -> bytes arrive (readable) -> complete -> written to its
 * block file -> memory given back; readers go on from the file. Where it can't be written it stays in memory until those
 * who entered for it have passed it, or until other demand needs the memory.
 */
export class Fill implements PartHost {
  readonly memory: FillMemory;
  readonly #description: FillDescription;
  readonly #parts: FillParts;
  readonly #segments = new FillSegments();
  readonly #keeper: SegmentKeeper;
  #idle = false;
  readonly #stopPressure: () => void;

  constructor(
    private readonly context: FillContext,
    readonly target: FillTarget,
    private readonly events: FillEvents,
  ) {
    this.memory = context.memory;
    this.#description = new FillDescription(context.geometry, target, events);
    this.#keeper = new SegmentKeeper(context, this.#description);
    this.#parts = new FillParts({
      context,
      description: this.#description,
      host: this,
      isWanted: (segment) => this.#segments.isWanted(segment),
      ended: (part, failure) => this.#land(part, failure),
      unplanned: (part) => {
        for (const segment of part.indices) this.#segments.drop(segment);
      },
      ran: () => this.#checkIdle(),
    });
    this.#stopPressure = context.memory.onPressure(() => this.#dropUnkept());
  }

  /** Known once the first answer has come. */
  get info(): ObjectInfo | undefined {
    return this.#description.info;
  }

  /** Whether the first answer has come, or no part got one. */
  get isDescribed(): boolean {
    return this.#description.isSettled;
  }

  /** Resolves with the first answer; rejects where no part got one. */
  get description(): Promise<ObjectInfo> {
    return this.#description.promise;
  }

  /** Whether the segment is in memory or on its way. */
  has(segment: number): boolean {
    return this.#segments.buffer(segment) !== undefined || this.#parts.has(segment);
  }

  /** Whether the segment is complete and could not be written. */
  isUnkept(segment: number): boolean {
    return this.#segments.isUnkept(segment);
  }

  /** Whether any segment is in memory or on its way. */
  get busy(): boolean {
    return this.#segments.size > 0 || this.#parts.segments > 0;
  }

  /** Plans what of `segments` (ascending) is neither here nor on its way. Returns whether that was anything. */
  want(segments: readonly number[], priority: Priority): boolean {
    const missing = segments.filter((segment) => !this.has(segment));
    for (const segment of missing) this.#segments.forgetFailure(segment);
    this.#parts.plan(missing, priority);
    if (priority === "demand") this.#parts.promote(segments);
    this.#parts.start();
    return missing.length > 0;
  }

  /** A reader will come for these segments. Each must be left again. */
  enter(segments: readonly number[]): void {
    for (const segment of segments) this.#segments.enter(segment);
  }

  /** A reader that entered is at the segment now: from here to its `leave` the segment is not dropped under it. */
  arrive(segment: number): void {
    this.#segments.arrive(segment);
  }

  /** A reader that entered (and perhaps arrived) has passed the segment, or won't come. */
  leave(segment: number, arrived: boolean): void {
    if (!this.#segments.leave(segment, arrived)) return;
    this.#parts.abandon(segment);
    this.#checkIdle();
  }

  /** What it brings is not written any more: the block was evicted meanwhile. */
  discard(): void {
    this.#keeper.discard();
  }

  /** The segment's memory, while it is filled and until it is on disk. */
  buffer(segment: number): SegmentBuffer | undefined {
    return this.#segments.buffer(segment);
  }

  /** Why the segment did not come, for those who had entered for it. */
  failure(segment: number): CacheError | undefined {
    return this.#segments.failure(segment);
  }

  /** Resolves when the segment has more bytes or another place; rejects where its part fails or the signal is aborted. */
  progress(segment: number, signal: AbortSignal): Promise<void> {
    return this.#segments.progress(segment, signal);
  }

  // What its parts need of it.

  fetch(first: number, count: number, signal: AbortSignal): Promise<OriginAnswer> {
    const { ref, blockOffset } = this.target;
    const { segmentBytes } = this.context.geometry;
    const { version, blockBytes } = this.#description;
    const start = first * segmentBytes;
    const end = Math.min(start + count * segmentBytes, blockBytes);
    const [offset, length] = [blockOffset + start, end - start];
    return this.context.origin.fetch({ ref, offset, length, version, signal, principal: CACHE_ITSELF });
  }

  accept(answer: OriginAnswer, askedAtMs: number): void {
    this.#description.accept(answer, askedAtMs);
  }

  monotonicMs(): number {
    return this.context.clock.monotonicMs();
  }

  reserve(bytes: number): Promise<Reservation | undefined> {
    return this.#keeper.reserve(bytes);
  }

  segmentLength(segment: number): number {
    return this.#description.segmentLength(segment);
  }

  progressed(segment: number, buffer: SegmentBuffer): void {
    this.#segments.progressed(segment, buffer);
  }

  // What becomes of them.

  /** The part is over: what came whole is written, what did not is failed. */
  #land(part: Part, failure: CacheError | undefined): void {
    const complete: number[] = [];
    for (const segment of part.indices) {
      if (part.segments.get(segment)?.complete === true) complete.push(segment);
      else if (failure === undefined || this.#description.isBeyond(segment)) this.#segments.drop(segment);
      else this.#segments.fail(segment, failure);
    }
    if (part.reservation !== undefined) void this.#keep(complete, part.reservation);
  }

  /** Writes complete segments; those who can't be kept stay in memory for the readers who entered for them. */
  async #keep(segments: readonly number[], reservation: Promise<Reservation | undefined>): Promise<void> {
    const kept = await this.#keeper.keep(this.#segments.filled(segments), reservation);
    for (const segment of segments) this.#segments.settle(segment, kept);
    if (this.memory.waiting > 0) this.#dropUnkept();
    this.#checkIdle();
  }

  #dropUnkept(): void {
    this.#segments.dropUnkept();
    this.#checkIdle();
  }

  #checkIdle(): void {
    if (this.#idle || !this.#parts.resting || this.#keeper.writing || this.#segments.size > 0) return;
    this.#idle = true;
    this.#stopPressure();
    this.events.idle();
  }
}
