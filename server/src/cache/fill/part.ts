import { abortError, CacheError } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { Landing, OriginAnswer, OriginRequest } from "../../origin/origin.js";
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

/** A run of missing segments that one origin request fetches: waits for memory, sends the request, receives the bytes. */
export class Part implements Landing {
  readonly first: number;
  readonly count: number;
  priority: Priority;
  /** Room on a volume for these segments. Undefined before the answer's head. */
  reservation: Reservation | Promise<Reservation | undefined> | undefined;
  /** No reader needed the part any more before its request was sent. */
  isAbandoned = false;
  #claim: Claim | undefined;
  #isRequested = false;
  /** Aborts the wait for memory. */
  #waiting: LinkedAbort | undefined;
  /** The memory of its first segments, complete or not. Empty before the answer's head. */
  readonly #buffers: SegmentBuffer[] = [];
  /** The index of the buffer that receives bytes. */
  #at = 0;
  /** What the readers of the fill wait for. Undefined before the answer's head. */
  #segments: FillSegments | undefined;

  constructor({ first, count }: SegmentRun, priority: Priority) {
    this.first = first;
    this.count = count;
    this.priority = priority;
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
  async run(fill: PartContext, budget: RequestBudget): Promise<void> {
    const { context, description, segments } = fill;
    if (context.signal.aborted) throw abortError(context.signal);
    const buffers = context.memory.take(this.count, this.priority) ?? (await this.#claimMemory(context));
    this.#isRequested = true;
    let answer: OriginAnswer | undefined;
    try {
      const askedAtMs = context.clock.monotonicMs();
      try {
        answer = await context.origin.fetch(this.#request(fill, budget));
      } catch (error) {
        description.refused(CacheError.from(error), askedAtMs);
        throw error;
      }
      description.accept(answer, askedAtMs);
      this.#assignBuffers(fill, buffers);
      // The object may be much smaller than the part: other parts wait for the memory.
      giveAll(context.memory, buffers);
      this.#segments = segments;
      await answer.body.land(this);
      if (this.#at < this.#buffers.length) throw new CacheError("INTERNAL", "the origin's answer is shorter than its range");
    } catch (error) {
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
    if (buffer.complete) this.#at++;
  }

  get #current(): SegmentBuffer {
    const buffer = this.#buffers[this.#at];
    if (buffer === undefined) throw new CacheError("INTERNAL", "the origin's answer is longer than its range");
    return buffer;
  }

  async #claimMemory({ memory, signal }: FillContext): Promise<Buffer[]> {
    const waiting = new LinkedAbort(signal);
    this.#waiting = waiting;
    try {
      this.#claim = memory.claim(this.count, this.priority, waiting.signal);
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
