import { abortError, CacheError } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { Landing, OriginAnswer, OriginBody, OriginRequest } from "../../origin/origin.js";
import type { RequestBudget } from "../../origin/request-budget.js";
import { CACHE_ITSELF } from "../../security/principal.js";
import type { Reservation } from "../../storage/block.js";
import type { FillContext, FillDescription } from "./fill-description.js";
import type { Claim, FillMemory, Priority } from "./fill-memory.js";
import { type FillSegments, SegmentBuffer } from "./fill-segments.js";

/** A contiguous run of a block's segments. */
export interface SegmentRun {
  /** Index of the first segment. */
  readonly first: number;
  readonly count: number;
}

/** What the parts of one fill share. */
export interface PartContext {
  readonly context: FillContext;
  readonly description: FillDescription;
  readonly segments: FillSegments;
}

/** Called when a part ends early for lack of memory, with the segments that it does not fetch. */
export type PartCut = (rest: SegmentRun) => void;

/**
 * A run of missing segments that one origin request fetches: waits for memory, sends the request, receives the bytes.
 *
 * The first part of an object of unknown size waits for the memory of one segment only, which most small objects need. If the answer
 * says that the object is larger, it takes more memory if there is some. Otherwise it ends after the first segment.
 */
export class Part implements Landing {
  readonly first: number;
  priority: Priority;
  /** Room on a volume for these segments. Undefined before the answer's head. */
  reservation: Reservation | Promise<Reservation | undefined> | undefined;
  /** No reader needed the part any more before its request was sent. */
  isAbandoned = false;
  #count: number;
  #claim: Claim | undefined;
  #isRequested = false;
  /** Aborts the wait for memory. */
  #waiting: LinkedAbort | undefined;
  /** The memory of its first segments, complete or not. Empty before the answer's head. */
  readonly #buffers: SegmentBuffer[] = [];
  /** The index of the buffer that receives bytes. */
  #at = 0;
  /** Whether it ends before the end of the answer. */
  #isCut = false;
  #body: OriginBody | undefined;
  /** What the readers of the fill wait for. Undefined before the answer's head. */
  #segments: FillSegments | undefined;

  constructor({ first, count }: SegmentRun, priority: Priority) {
    this.first = first;
    this.#count = count;
    this.priority = priority;
  }

  /** Its segments. It may lose the last ones while it runs (`PartCut`). */
  get count(): number {
    return this.#count;
  }

  /** Whether the segment is one of the part's. */
  has(segment: number): boolean {
    return segment >= this.first && segment < this.first + this.count;
  }

  /** Whether all bytes of a segment have arrived. */
  isComplete(segment: number): boolean {
    return this.#buffers[segment - this.first]?.complete === true;
  }

  /** Whether the origin has answered: its segments have memory. */
  get isAnswered(): boolean {
    return this.#buffers.length > 0;
  }

  /** Whether a reader will still come for one of its segments, or is at it. */
  isNeeded(segments: Pick<FillSegments, "isRequested">): boolean {
    for (let segment = this.first; segment < this.first + this.count; segment++) {
      if (segments.isRequested(segment)) return true;
    }
    return false;
  }

  /** A reader waits for the part now. */
  promote(): void {
    this.priority = "demand";
    this.#claim?.promote();
  }

  /** No reader needs the part any more: it leaves the queue for memory. A part whose request was sent continues. */
  abandon(): void {
    if (this.#isRequested) return;
    this.isAbandoned = true;
    this.#waiting?.abort(new CacheError("CANCELLED", "no reader needs these segments any more"));
  }

  /** Fetches the part. Rejects with a CacheError; some segments may be complete then. */
  async run(fill: PartContext, budget: RequestBudget, onCut: PartCut): Promise<void> {
    const { context, description, segments } = fill;
    if (context.signal.aborted) throw abortError(context.signal);
    const isUnknown = description.info === undefined && description.target.blockOffset === 0 && this.first === 0;
    const claimed = isUnknown ? 1 : this.#count;
    const buffers = context.memory.take(claimed, this.priority) ?? (await this.#claimMemory(claimed, context));
    this.#isRequested = true;
    let answer: OriginAnswer | undefined;
    try {
      const askedAtMs = context.clock.monotonicMs();
      const request = this.#request(fill, budget);
      const isOpen = description.sent();
      try {
        answer = await context.origin.fetch(request);
      } catch (error) {
        description.refused(CacheError.from(error), askedAtMs);
        throw error;
      } finally {
        if (isOpen) description.answered();
      }
      description.accept(answer, askedAtMs);
      if (buffers.length < this.#count) this.#fit(fill, buffers, onCut);
      this.#assignBuffers(fill, buffers);
      // The object may be much smaller than the part: other parts wait for the memory.
      giveAll(context.memory, buffers);
      this.#segments = segments;
      this.#body = answer.body;
      const landed = answer.body.land(this);
      if (landed !== undefined) await landed;
      if (this.#at < this.#buffers.length) throw new CacheError("INTERNAL", "the origin's answer is shorter than its range");
    } catch (error) {
      if (this.#isCut && this.#at === this.#buffers.length) return;
      answer?.body.destroy();
      throw error;
    } finally {
      giveAll(context.memory, buffers);
    }
  }

  // What the body of the answer calls.

  room(): Buffer {
    return this.#current.room;
  }

  landed(bytes: number): void {
    const buffer = this.#current;
    buffer.landed(bytes);
    this.#segments!.progressed(this.first + this.#at, buffer);
    if (!buffer.complete) return;
    this.#at++;
    if (this.#isCut && this.#at === this.#buffers.length) this.#body!.destroy();
  }

  get #current(): SegmentBuffer {
    const buffer = this.#buffers[this.#at];
    if (buffer === undefined) throw new CacheError("INTERNAL", "the origin's answer is longer than its range");
    return buffer;
  }

  /** The object's size is known now: takes the memory that is missing, or ends the part after the segments that have some. */
  #fit({ context, description }: PartContext, buffers: Buffer[], onCut: PartCut): void {
    let end = this.first + this.#count;
    while (description.isBeyond(end - 1)) end--;
    const lacking = end - this.first - buffers.length;
    if (lacking <= 0) return;
    const more = context.memory.take(lacking, this.priority);
    if (more !== undefined) {
      buffers.push(...more);
      return;
    }
    this.#isCut = true;
    this.#count = buffers.length;
    onCut({ first: this.first + this.#count, count: lacking });
  }

  async #claimMemory(count: number, { memory, signal }: FillContext): Promise<Buffer[]> {
    const waiting = new LinkedAbort(signal);
    this.#waiting = waiting;
    try {
      this.#claim = memory.claim(count, this.priority, waiting.signal);
      return await this.#claim.buffers;
    } finally {
      waiting.unlink();
    }
  }

  /** The request for as much of the part as the block is known to have. */
  #request({ context, description, segments }: PartContext, budget: RequestBudget): OriginRequest {
    const { geometry, signal } = context;
    const { version, blockBytes, target } = description;
    const start = this.first * geometry.segmentBytes;
    const end = Math.min(start + this.count * geometry.segmentBytes, blockBytes);
    return {
      ref: target.ref,
      offset: target.blockOffset + start,
      length: end - start,
      version,
      signal,
      principal: CACHE_ITSELF,
      budget,
      isNeeded: () => this.isNeeded(segments),
    };
  }

  /** Gives each segment a buffer and removes it from `buffers`. Buffers past the object's end stay there. */
  #assignBuffers({ context, description, segments }: PartContext, buffers: Buffer[]): void {
    const free = (buffer: Buffer): void => context.memory.give(buffer);
    let bytes = 0;
    for (let segment = this.first; segment < this.first + this.count; segment++) {
      const length = description.segmentLength(segment);
      if (length <= 0) break;
      const buffer = new SegmentBuffer(length, buffers.pop()!, free);
      this.#buffers.push(buffer);
      bytes += length;
      segments.progressed(segment, buffer);
    }
    this.reservation = context.store.reserve(description.id, bytes);
  }
}

/** Returns buffers that are not used, and empties their list. */
function giveAll(memory: Pick<FillMemory, "give">, buffers: Buffer[]): void {
  for (let spare = buffers.pop(); spare !== undefined; spare = buffers.pop()) memory.give(spare);
}
