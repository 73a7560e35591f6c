import { createHash, randomUUID } from "node:crypto";
import type { SpanSet } from "./span-set.js";
import { type StampedSpan, StampedSpans } from "./stamped-spans.js";
import type { ByteSpan } from "./values.js";

/** Ranges that others have missed, at most; beyond, only their extent is known. */
const MOST_ALONE = 1_000;
const MOST_DIGEST = 2n ** 64n - 1n;

/** A write that is being received. */
export interface RunningWrite {
  readonly start: number;
  readonly stamp: string;
  /** Ranges of writes that ended meanwhile, and those that were there before if a later write has been faster. */
  readonly beside: ByteSpan[];
}

/**
 * The writes of an upload that a member has taken. Members compare them when the upload is finalized: with equal digests they have the same
 * bytes. Otherwise `alone` says which ranges others have missed.
 */
export class UploadWrites {
  /** Writes of which the member has all bytes. */
  count = 0;
  readonly #present: SpanSet;
  readonly #running = new Set<RunningWrite>();
  #alone = new StampedSpans();
  #newest = "";
  #digest = 0n;

  /** `present`: the ranges that are written. */
  constructor(present: SpanSet) {
    this.#present = present;
  }

  get digest(): string {
    return this.#digest.toString(16);
  }

  /** Ranges that other members have missed. An empty stamp: of several writes. */
  get alone(): readonly StampedSpan[] {
    return this.#alone.all;
  }

  begin(start: number, stamp: string): RunningWrite {
    const write: RunningWrite = { start, stamp, beside: stamp < this.#newest ? this.#present.present() : [] };
    this.#running.add(write);
    return write;
  }

  /** A write has ended. `isWhole`: all of its bytes are here. */
  end(write: RunningWrite, end: number, isWhole: boolean): void {
    const { start, stamp, beside } = write;
    this.#running.delete(write);
    if (end === start) return;
    for (const other of this.#running) other.beside.push({ start, end });
    if (isWhole) this.count++;
    // A write may come in several pieces to one member, and in one to another.
    this.#digest = (this.#digest + hashOf(stamp) * BigInt(end - start)) & MOST_DIGEST;
    // Two writes of the same bytes may come to another member in the other order, and of a broken write another member may have more.
    const isAmbiguous = !isWhole || beside.some((other) => other.start < end && start < other.end);
    if (isAmbiguous) this.#digest ^= hashOf(randomUUID());
    if (stamp > this.#newest) this.#newest = stamp;
  }

  /** Takes note that other members have missed a write. */
  missed(range: StampedSpan): void {
    this.#alone.add(range);
    const { all } = this.#alone;
    if (all.length <= MOST_ALONE) return;
    this.#alone = new StampedSpans();
    this.#alone.add({ start: all[0]!.start, end: all.at(-1)!.end, stamp: "" });
  }
}

function hashOf(text: string): bigint {
  return createHash("sha256").update(text).digest().readBigUInt64BE();
}
