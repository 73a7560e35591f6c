import { blockLength, CacheError, type Geometry, type ObjectInfo, type ObjectRef, segmentLength } from "@frontcache/proto";
import type { Origin, OriginAnswer } from "../../origin/origin.js";
import type { Clock } from "../../runtime/clock.js";
import type { BlockId } from "../../storage/block.js";
import type { BlockStore } from "../../storage/block-store.js";
import { absence, type ObjectRecords } from "../object-records.js";
import type { FillMemory } from "./fill-memory.js";
import type { RecentBudgets } from "./recent-budgets.js";

/** What all fills of a member share. */
export interface FillContext {
  readonly geometry: Geometry;
  readonly origin: Pick<Origin, "fetch">;
  readonly store: Pick<BlockStore, "reserve" | "write" | "describe">;
  readonly records: Pick<ObjectRecords, "observe" | "reject" | "infoOf">;
  readonly memory: FillMemory;
  readonly budgets: RecentBudgets;
  /** The smallest size of a part, if that much is missing contiguously. */
  readonly partBytes: number;
  /** Parts of one block that are fetched concurrently. */
  readonly parallelism: number;
  readonly clock: Clock;
  /** Aborted when the member closes. */
  readonly signal: AbortSignal;
}

/** The block that one fill brings. */
export interface FillTarget {
  readonly ref: ObjectRef;
  /** The block's first byte in the object. */
  readonly blockOffset: number;
  /** Undefined: the first answer decides. */
  readonly version: string | undefined;
}

/**
 * The version and size that a fill is of: those of its target, or those of the first answer. Every later answer must agree.
 * What an answer says about the object's current version goes to ObjectRecords, dated by when its request was sent.
 */
export class FillDescription {
  readonly target: FillTarget;
  /** Resolves with the first answer. Rejects if no part got one. */
  readonly promise: Promise<ObjectInfo>;
  readonly #context: Pick<FillContext, "geometry" | "records">;
  readonly #onDescribed: (info: ObjectInfo) => void;
  #resolve!: (info: ObjectInfo) => void;
  #reject!: (error: CacheError) => void;
  #info: ObjectInfo | undefined;
  #failed = false;
  /** Requests without a version that are not answered. */
  #unanswered = 0;
  #answered: Promise<void> | undefined;
  #onAnswered: (() => void) | undefined;
  #observedAtMs = Number.NEGATIVE_INFINITY;

  /** `onDescribed` is called with the first answer, before `promise` resolves. */
  constructor(context: Pick<FillContext, "geometry" | "records">, target: FillTarget, onDescribed: (info: ObjectInfo) => void) {
    this.#context = context;
    this.target = target;
    this.#onDescribed = onDescribed;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.promise.catch(() => {});
  }

  /** Whether `promise` is settled. */
  get isSettled(): boolean {
    return this.#info !== undefined || this.#failed;
  }

  /** Undefined before the first answer. */
  get info(): ObjectInfo | undefined {
    return this.#info;
  }

  /** The version that all answers must have. Undefined: the first answer decides. */
  get version(): string | undefined {
    return this.#info?.version ?? this.target.version;
  }

  /** The block's identity. Only after the first answer. */
  get id(): BlockId {
    return { url: this.target.ref.url, version: this.#info!.version, offset: this.target.blockOffset };
  }

  /** Bytes of the block. The largest size of a block while the object's size is unknown. */
  get blockBytes(): number {
    const { geometry } = this.#context;
    return this.#info === undefined ? geometry.blockBytes : blockLength(this.target.blockOffset, this.#info.objectSize, geometry);
  }

  /** Bytes of a segment. 0 for a segment past the object's end. */
  segmentLength(segment: number): number {
    return segmentLength(segment, this.blockBytes, this.#context.geometry);
  }

  /** Whether the segment is known to lie past the object's end. */
  isBeyond(segment: number): boolean {
    return this.#info !== undefined && this.segmentLength(segment) === 0;
  }

  /** When the last request was sent that the origin answered with this version. Monotonic milliseconds; -Infinity: never. */
  get observedAtMs(): number {
    return this.#observedAtMs;
  }

  /** A request is sent. Returns whether any version may answer it: then `answered` is called before `accept`, or when it has failed. */
  sent(): boolean {
    const isOpen = this.version === undefined;
    if (isOpen) this.#unanswered++;
    return isOpen;
  }

  answered(): void {
    if (--this.#unanswered > 0) return;
    this.#onAnswered?.();
    this.#answered = this.#onAnswered = undefined;
  }

  /** Resolves when all requests are answered that any version may answer. Undefined: there are none. */
  get answers(): Promise<void> | undefined {
    if (this.#unanswered === 0) return undefined;
    this.#answered ??= new Promise((resolve) => {
      this.#onAnswered = resolve;
    });
    return this.#answered;
  }

  /** Takes note of the answer to a request that was sent at `askedAtMs` (monotonic). Throws FAILED_PRECONDITION if its version differs. */
  accept({ info, isFromMember }: Pick<OriginAnswer, "info" | "isFromMember">, askedAtMs: number): void {
    const { url } = this.target.ref;
    const { version } = this;
    const isOther = version !== undefined && info.version !== version;
    if (isOther || (this.#info !== undefined && info.objectSize !== this.#info.objectSize)) {
      this.#context.records.reject(url, version!);
      throw new CacheError("FAILED_PRECONDITION", `${url}: the object changed while it was read, read it again`);
    }
    if (isFromMember !== true) {
      this.#observedAtMs = Math.max(this.#observedAtMs, askedAtMs);
      this.#context.records.observe(url, { info, askedAtMs });
    }
    if (this.#info !== undefined) return;
    this.#info = this.#context.records.infoOf(url, info.version) ?? info;
    this.#onDescribed(this.#info);
    this.#resolve(this.#info);
  }

  /** Takes note of the error that answered a request sent at `askedAtMs` (monotonic), as far as it says what is current. */
  refused(error: CacheError, askedAtMs: number): void {
    const { version } = this;
    const { code } = error;
    if (code === "NOT_FOUND") this.#context.records.observe(this.target.ref.url, absence(error, askedAtMs));
    else if (code === "FAILED_PRECONDITION" && version !== undefined) {
      this.#context.records.reject(this.target.ref.url, version);
    }
  }

  /** No part got an answer. */
  fail(error: CacheError): void {
    this.#failed = true;
    this.#reject(error);
  }
}
