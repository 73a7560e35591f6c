import { CacheError } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import type { OriginAnswer } from "../../origin/origin.js";
import type { Reservation } from "../../storage/block.js";
import type { Claim, FillMemory, Priority } from "./fill-memory.js";
import type { PartPlan } from "./plan-parts.js";
import { SegmentBuffer } from "./segment-buffer.js";

/** What a part needs of the fill that it belongs to. */
export interface PartHost {
  readonly memory: FillMemory;
  /** The origin's answer to a run of segments, as far as the block is known to reach. */
  fetch(first: number, count: number, signal: AbortSignal): Promise<OriginAnswer>;
  /** The answer to a question asked at `askedAtMs` (monotonic) begins: checks it against the fill's version, or gives the fill its version. */
  accept(answer: OriginAnswer, askedAtMs: number): void;
  monotonicMs(): number;
  /** Bytes that a segment has, once the object's size is known. */
  segmentLength(segment: number): number;
  /** Sets room on a volume aside for bytes that are about to come; undefined: they can't be kept. */
  reserve(bytes: number): Promise<Reservation | undefined>;
  /** The segment has a buffer now, or more bytes in it. */
  progressed(segment: number, buffer: SegmentBuffer): void;
}

/** A run of segments on its way from the origin: waits for memory, asks once, lands the bytes. */
export class Part {
  readonly first: number;
  readonly count: number;
  /** The landed segments, complete or not. */
  readonly segments = new Map<number, SegmentBuffer>();
  /** Room on a volume for them; undefined before the answer's head. */
  reservation: Promise<Reservation | undefined> | undefined;
  /** Nobody wanted it any more before it was asked for. */
  abandoned = false;
  #claim: Claim | undefined;
  #asked = false;
  readonly #waiting = new AbortController();

  constructor(
    plan: PartPlan,
    public priority: Priority,
  ) {
    this.first = plan.first;
    this.count = plan.count;
  }

  /** Indices of its segments, ascending. */
  get indices(): number[] {
    return Array.from({ length: this.count }, (_, i) => this.first + i);
  }

  /** A reader waits for it now. */
  promote(): void {
    this.priority = "demand";
    this.#claim?.promote();
  }

  /** Nobody wants it any more: gives its place in the queue for memory up. A part that has been asked for runs on. */
  abandon(): void {
    if (this.#asked) return;
    this.abandoned = true;
    this.#waiting.abort(new CacheError("CANCELLED", "nobody waits for it any more"));
  }

  /** Brings the part; rejects with a CacheError, after which `segments` holds what came whole and what did not. */
  async run(host: PartHost, signal: AbortSignal): Promise<void> {
    const buffers = await this.#memory(host, signal);
    this.#asked = true;
    try {
      const askedAtMs = host.monotonicMs();
      const answer = await host.fetch(this.first, this.count, signal);
      try {
        host.accept(answer, askedAtMs);
        this.#lay(host, buffers);
        await this.#land(host, answer);
      } finally {
        answer.body.destroy();
      }
    } finally {
      for (const spare of buffers) host.memory.give(spare);
    }
  }

  async #memory({ memory }: PartHost, signal: AbortSignal): Promise<Buffer[]> {
    const stop = whenAborted(signal, () => this.#waiting.abort(signal.reason));
    try {
      this.#claim = memory.claim(this.count, this.priority, this.#waiting.signal);
      return await this.#claim.buffers;
    } finally {
      stop();
    }
  }

  /** Gives each segment a buffer, taking them out of `buffers`; what the object is too short for stays there. */
  #lay(host: PartHost, buffers: Buffer[]): void {
    const give = (buffer: Buffer): void => host.memory.give(buffer);
    let bytes = 0;
    for (let segment = this.first; segment < this.first + this.count; segment++) {
      const length = host.segmentLength(segment);
      if (length <= 0) break;
      const buffer = new SegmentBuffer(length, buffers.pop()!, give);
      this.segments.set(segment, buffer);
      bytes += length;
      host.progressed(segment, buffer);
    }
    this.reservation = host.reserve(bytes);
  }

  /** Has the bytes written where they stay. */
  async #land(host: PartHost, { body }: OriginAnswer): Promise<void> {
    let segment = this.first;
    const current = (): SegmentBuffer => {
      const buffer = this.segments.get(segment);
      if (buffer === undefined) throw new CacheError("INTERNAL", "the origin's answer is longer than its range");
      return buffer;
    };
    const landed = (bytes: number): void => {
      const buffer = current();
      buffer.landed(bytes);
      host.progressed(segment, buffer);
      if (buffer.complete) segment++;
    };
    await body.land({ room: () => current().room, landed });
    if (this.segments.has(segment)) throw new CacheError("INTERNAL", "the origin's answer is shorter than its range");
  }
}
