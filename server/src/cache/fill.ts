import { blockLength, CacheError, type ObjectInfo, segmentCount } from "@frontcache/proto";
import type { OriginAnswer } from "../origin/origin.js";
import type { Reservation } from "../storage/block.js";
import type { FillContext, FillEvents, FillTarget } from "./fill-context.js";
import { FillDescription } from "./fill-description.js";
import type { FillMemory, Priority } from "./fill-memory.js";
import { MemorySegments } from "./memory-segments.js";
import { Part, type PartHost } from "./part.js";
import { PartQueue } from "./part-queue.js";
import { planParts } from "./plan-parts.js";
import type { SegmentBuffer } from "./segment-buffer.js";
import { SegmentWaiters } from "./segment-waiters.js";

/**
 * The filling of one block: which segments are on their way, which are in memory, who comes for them. All of it is of one
 * version: the one it was made for, or the one of the first answer.
 *
 * A segment's way: planned in a part -> memory claimed -> asked for -> bytes arrive (readable) -> complete -> written to its
 * block file -> memory given back; readers go on from the file. Where it can't be written it stays in memory until those
 * who entered for it have passed it, or until other demand needs the memory.
 */
export class Fill implements PartHost {
  readonly memory: FillMemory;
  readonly #description: FillDescription;
  readonly #queue = new PartQueue();
  readonly #running = new Set<Part>();
  /** Running parts that have neither an answer nor a failure, while no answer has come. */
  readonly #undecided = new Set<Part>();
  /** While no answer has come: what the failed part nearest to the block's beginning met. */
  #nearestFailure: { readonly part: Part; readonly failure: CacheError } | undefined;
  /** The part that brings a segment, from its planning until it has landed. */
  readonly #partOf = new Map<number, Part>();
  readonly #segments = new MemorySegments();
  readonly #waiters = new SegmentWaiters();
  /** Why a segment did not come, while those who had entered for it still come. */
  readonly #failures = new Map<number, CacheError>();
  #writes = 0;
  #discarded = false;
  #idle = false;
  readonly #stopPressure: () => void;

  constructor(
    private readonly context: FillContext,
    readonly target: FillTarget,
    private readonly events: FillEvents,
  ) {
    this.memory = context.memory;
    this.#description = new FillDescription(target, events);
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
    return this.#segments.get(segment) !== undefined || this.#partOf.has(segment);
  }

  /** Whether the segment is complete and could not be written. */
  isUnkept(segment: number): boolean {
    return this.#segments.isUnkept(segment);
  }

  /** Whether any segment is in memory or on its way. */
  get busy(): boolean {
    return this.#segments.size > 0 || this.#partOf.size > 0;
  }

  /** Plans what of `segments` (ascending) is neither here nor on its way. Returns whether that was anything. */
  want(segments: readonly number[], priority: Priority): boolean {
    const missing = segments.filter((segment) => !this.has(segment));
    for (const segment of missing) this.#failures.delete(segment);
    for (const part of this.#plan(missing, priority)) {
      this.#queue.add(part);
      for (const segment of part.indices) this.#partOf.set(segment, part);
    }
    if (priority === "demand") this.#promote(segments);
    this.#startParts();
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
    this.#failures.delete(segment);
    this.#abandon(segment);
    this.#checkIdle();
  }

  /** What it brings is not written any more: the block was evicted meanwhile. */
  discard(): void {
    this.#discarded = true;
  }

  /** The segment's memory, while it is filled and until it is on disk. */
  buffer(segment: number): SegmentBuffer | undefined {
    return this.#segments.get(segment);
  }

  /** Why the segment did not come, for those who had entered for it. */
  failure(segment: number): CacheError | undefined {
    return this.#failures.get(segment);
  }

  /** Resolves when the segment has more bytes or another place; rejects where its part fails or the signal is aborted. */
  progress(segment: number, signal: AbortSignal): Promise<void> {
    return this.#waiters.wait(segment, signal);
  }

  // What its parts need of it.

  fetch(first: number, count: number, signal: AbortSignal): Promise<OriginAnswer> {
    const { ref, blockOffset } = this.target;
    const { segmentBytes, blockBytes } = this.context.geometry;
    const start = first * segmentBytes;
    const end = Math.min(start + count * segmentBytes, this.info === undefined ? blockBytes : this.#blockLength);
    const range = { offset: blockOffset + start, length: end - start };
    const { version } = this.#description;
    return this.context.origin.fetch(ref, version === undefined ? range : { ...range, version }, signal);
  }

  accept(answer: OriginAnswer, askedAtMs: number): void {
    this.#description.accept(answer, askedAtMs);
  }

  monotonicMs(): number {
    return this.context.clock.monotonicMs();
  }

  reserve(bytes: number): Promise<Reservation | undefined> {
    return this.context.store.reserve(this.#id(), bytes);
  }

  segmentLength(segment: number): number {
    const { segmentBytes } = this.context.geometry;
    return Math.min(segmentBytes, this.#blockLength - segment * segmentBytes);
  }

  progressed(segment: number, buffer: SegmentBuffer): void {
    this.#segments.set(segment, buffer);
    this.#waiters.wake(segment);
  }

  // The parts' life.

  #id(): { url: string; version: string; offset: number } {
    return { url: this.target.ref.url, version: this.info!.version, offset: this.target.blockOffset };
  }

  /** When the version was last seen to be current by the clock that a later process has, too, milliseconds since 1970; 0: never. */
  get #seenAtWallMs(): number {
    const { clock } = this.context;
    return Math.max(0, clock.nowMs() - (clock.monotonicMs() - this.#description.seenAtMs));
  }

  /** Bytes of the block, once the object's size is known. */
  get #blockLength(): number {
    return blockLength(this.target.blockOffset, this.info!.objectSize, this.context.geometry);
  }

  #plan(missing: readonly number[], priority: Priority): Part[] {
    const { partBytes, geometry, memory } = this.context;
    const targetSegments = Math.max(1, Math.floor(partBytes / geometry.segmentBytes));
    const maxSegments = Math.min(memory.maxSegments, 2 * targetSegments);
    return planParts(missing, { targetSegments, maxSegments }).map((plan) => new Part(plan, priority));
  }

  #promote(segments: readonly number[]): void {
    for (const segment of segments) {
      const part = this.#partOf.get(segment);
      if (part !== undefined) this.#queue.promote(part);
    }
  }

  #startParts(): void {
    while (this.#running.size < this.context.parallelism) {
      const part = this.#queue.take();
      if (part === undefined) return;
      const beyond = this.info !== undefined && part.first >= segmentCount(this.#blockLength, this.context.geometry);
      if (beyond) this.#unplan(part);
      else void this.#runPart(part);
    }
  }

  async #runPart(part: Part): Promise<void> {
    this.#running.add(part);
    if (this.info === undefined) this.#undecided.add(part);
    let failure: CacheError | undefined;
    try {
      await part.run(this, this.context.signal);
    } catch (error) {
      failure = CacheError.from(error);
      if (this.info === undefined) this.#failUndescribed(part, failure);
    }
    this.#running.delete(part);
    this.#land(part, part.abandoned ? undefined : failure);
    this.#startParts();
    this.#checkIdle();
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
    if (failure.code !== "OUT_OF_RANGE") for (const queued of this.#queue.takeAll()) this.#land(queued, failure);
    if (this.#queue.size === 0) this.#description.fail(this.#nearestFailure!.failure);
  }

  /** The part is over: what came whole is written, what did not is failed. */
  #land(part: Part, failure: CacheError | undefined): void {
    const complete: number[] = [];
    for (const segment of part.indices) {
      this.#partOf.delete(segment);
      if (part.segments.get(segment)?.complete === true) complete.push(segment);
      else this.#fail(segment, failure);
    }
    void this.#keep(part, complete);
  }

  #fail(segment: number, failure: CacheError | undefined): void {
    this.#segments.release(segment);
    const beyond = this.info !== undefined && this.segmentLength(segment) <= 0;
    if (failure === undefined || beyond) {
      this.#waiters.wake(segment);
      return;
    }
    if (this.#segments.isWanted(segment)) this.#failures.set(segment, failure);
    this.#waiters.fail(segment, failure);
  }

  /** Writes complete segments; those who can't be kept stay in memory for the readers who entered for them. */
  async #keep(part: Part, segments: readonly number[]): Promise<void> {
    if (part.reservation === undefined) return;
    this.#writes++;
    const kept = await this.#write(segments, await part.reservation);
    this.#writes--;
    for (const segment of segments) {
      this.#segments.settle(segment, kept);
      this.#waiters.wake(segment);
    }
    if (this.memory.waiting > 0) this.#dropUnkept();
    this.#checkIdle();
  }

  async #write(segments: readonly number[], reservation: Reservation | undefined): Promise<boolean> {
    if (reservation === undefined) return false;
    try {
      if (segments.length === 0 || this.#discarded) return false;
      const filled = this.#segments.filled(segments);
      return await this.context.store.write(
        { id: this.#id(), info: this.info!, createdAtMs: this.#seenAtWallMs },
        filled,
        reservation,
      );
    } finally {
      reservation.release();
    }
  }

  #dropUnkept(): void {
    this.#segments.dropUnkept();
    this.#checkIdle();
  }

  /** A demand part that nobody wants any more and that has not been asked for is dropped. */
  #abandon(segment: number): void {
    const part = this.#partOf.get(segment);
    if (part === undefined || part.priority !== "demand" || part.indices.some((other) => this.#segments.isWanted(other))) return;
    if (this.#queue.remove(part)) this.#unplan(part);
    else part.abandon();
  }

  #unplan(part: Part): void {
    for (const segment of part.indices) {
      this.#partOf.delete(segment);
      this.#waiters.wake(segment);
    }
  }

  #checkIdle(): void {
    if (this.#idle || this.#running.size > 0 || this.#writes > 0 || this.#segments.size > 0 || this.#queue.size > 0) return;
    this.#idle = true;
    this.#stopPressure();
    this.events.idle();
  }
}
