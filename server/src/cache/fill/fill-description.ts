import { blockLength, CacheError, type Geometry, type ObjectInfo, segmentLength } from "@frontcache/proto";
import type { OriginAnswer } from "../../origin/origin.js";
import type { BlockId } from "../../storage/block.js";
import type { FillEvents, FillTarget } from "./fill-context.js";

/**
 * Which version and size a fill is of, and so which block: what it was made for, or what its first answer says; every later one
 * must agree.
 */
export class FillDescription {
  /** Resolves with the first answer; rejects where no part got one. */
  readonly promise: Promise<ObjectInfo>;
  #resolve!: (info: ObjectInfo) => void;
  #reject!: (error: CacheError) => void;
  #info: ObjectInfo | undefined;
  #failed = false;
  #seenAtMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly geometry: Geometry,
    private readonly target: FillTarget,
    private readonly events: FillEvents,
  ) {
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

  /** Known once the first answer has come. */
  get info(): ObjectInfo | undefined {
    return this.#info;
  }

  /** The version that all answers must have; absent: the first answer decides. */
  get version(): string | undefined {
    return this.#info?.version ?? this.target.version;
  }

  /** The block's identity. The first answer must have come. */
  get id(): BlockId {
    return { url: this.target.ref.url, version: this.#info!.version, offset: this.target.blockOffset };
  }

  /** Bytes of the block; as many as a block can have, while the object's size is not known. */
  get blockBytes(): number {
    const { blockBytes } = this.geometry;
    return this.#info === undefined ? blockBytes : blockLength(this.target.blockOffset, this.#info.objectSize, this.geometry);
  }

  /** Bytes of a segment, as far as the block is known to reach; 0 for a segment behind the object's end. */
  segmentLength(segment: number): number {
    return segmentLength(segment, this.blockBytes, this.geometry);
  }

  /** Whether the segment is known to lie behind the object's end. */
  isBeyond(segment: number): boolean {
    return this.#info !== undefined && this.segmentLength(segment) === 0;
  }

  /** When the origin was last asked and said that this version is current, monotonic milliseconds; -Infinity: it was not. */
  get seenAtMs(): number {
    return this.#seenAtMs;
  }

  /** Throws FAILED_PRECONDITION for an answer of another version. */
  accept({ info, isFromMember }: Pick<OriginAnswer, "info" | "isFromMember">, askedAtMs: number): void {
    const isOther = info.version !== (this.version ?? info.version);
    if (isOther || (this.#info !== undefined && info.objectSize !== this.#info.objectSize)) {
      throw new CacheError("FAILED_PRECONDITION", `${this.target.ref.url}: changed while it was read, read it again`);
    }
    if (isFromMember !== true) {
      this.#seenAtMs = Math.max(this.#seenAtMs, askedAtMs);
      this.events.seen(info, askedAtMs);
    }
    if (this.#info !== undefined) return;
    this.#info = info;
    this.events.described(info);
    this.#resolve(info);
  }

  /** No part got an answer. */
  fail(error: CacheError): void {
    this.#failed = true;
    this.#reject(error);
  }
}
