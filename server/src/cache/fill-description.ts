import { CacheError, type ObjectInfo } from "@frontcache/proto";
import type { OriginAnswer } from "../origin/origin.js";
import type { FillEvents, FillTarget } from "./fill-context.js";

/** Which version and size a fill is of: what it was made for, or what its first answer says; every later one must agree. */
export class FillDescription {
  /** Resolves with the first answer; rejects where no part got one. */
  readonly promise: Promise<ObjectInfo>;
  #resolve!: (info: ObjectInfo) => void;
  #reject!: (error: CacheError) => void;
  #info: ObjectInfo | undefined;
  #failed = false;
  #seenAtMs = Number.NEGATIVE_INFINITY;

  constructor(
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

  /** When the origin was last asked and said that this version is current, monotonic milliseconds; -Infinity: it was not. */
  get seenAtMs(): number {
    return this.#seenAtMs;
  }

  /** Throws FAILED_PRECONDITION for an answer of another version. */
  accept({ info, isHearsay }: OriginAnswer, askedAtMs: number): void {
    const isOther = info.version !== (this.version ?? info.version);
    if (isOther || (this.#info !== undefined && info.objectSize !== this.#info.objectSize)) {
      throw new CacheError("FAILED_PRECONDITION", `${this.target.ref.url}: changed while it was read, read it again`);
    }
    if (isHearsay !== true) {
      this.#seenAtMs = Math.max(this.#seenAtMs, askedAtMs);
      this.events.seen(info, askedAtMs);
    }
    if (this.#info !== undefined) return;
    this.#info = info;
    this.events.described(info);
    this.#resolve(info);
  }

  fail(error: CacheError): void {
    this.#failed = true;
    this.#reject(error);
  }
}
