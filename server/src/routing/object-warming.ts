import { CacheError, type ObjectRef, type WarmProgress } from "@frontcache/proto";
import { forEachConcurrent } from "@frontcache/proto/runtime";
import type { WarmedBlock } from "../cache/block-warmer.js";

/** An object to warm. */
export interface WarmObject {
  readonly ref: ObjectRef;
  /** Absent: the current one. */
  readonly version?: string | undefined;
  /** Of that version, if a listing has named it. */
  readonly objectSize?: number;
}

/** What warming objects needs. */
export interface WarmWith {
  readonly blockBytes: number;
  /** Blocks of one object that wait at a time. */
  readonly parallelism: number;
  /** Warms one block when its turn has come. */
  block(object: WarmObject, blockOffset: number): Promise<WarmedBlock>;
  /** Reports how far an object is; awaited, so that who reads slowly slows the warming down. */
  report(progress: WarmProgress): Promise<void>;
  readonly signal: AbortSignal;
}

/** The warming of one object. Its first block names its version and size. The other blocks are of that version. */
export class ObjectWarming {
  readonly #object: WarmObject;
  readonly #using: WarmWith;

  #info: Pick<WarmedBlock, "version" | "objectSize"> | undefined;
  #doneBlocks = 0;
  #cachedBytes = 0;
  #fetchedBytes = 0;

  constructor(object: WarmObject, using: WarmWith) {
    this.#object = object;
    this.#using = using;
  }

  /** Resolves when the object is warm, or its failure was reported: the first failure ends it. Rejects only if the signal is aborted. */
  async run(): Promise<void> {
    let failure = await this.#warm(this.#object);
    if (failure?.code === "FAILED_PRECONDITION" && this.#object.objectSize !== undefined) {
      // It was overwritten since it was listed.
      this.#info = undefined;
      this.#doneBlocks = this.#cachedBytes = this.#fetchedBytes = 0;
      failure = await this.#warm({ ref: this.#object.ref });
    }
    this.#using.signal.throwIfAborted();
    await this.#using.report({
      ...this.#progress(),
      error: failure?.message ?? "",
      errorCode: failure?.code ?? "",
      ended: true,
    });
  }

  /** Resolves with the failure, if there was one. */
  async #warm(object: WarmObject): Promise<CacheError | undefined> {
    const { ref, version, objectSize } = object;
    let failure: CacheError | undefined;
    // What is under way when a block fails comes to its end, and counts.
    const block = (of: WarmObject, offset: number): Promise<void> =>
      this.#block(of, offset).catch((error: unknown) => {
        failure ??= CacheError.from(error);
      });
    if (version !== undefined && objectSize !== undefined) this.#info = { version, objectSize };
    else await block(object, 0);
    if (this.#info === undefined || failure !== undefined) return failure;
    const pinned = { ref, ...this.#info };
    await forEachConcurrent(
      this.#offsets(() => failure !== undefined),
      this.#using.parallelism,
      (offset) => block(pinned, offset),
    );
    return failure;
  }

  /** Where the blocks begin that are not warm yet, until one has failed. */
  *#offsets(failed: () => boolean): Generator<number> {
    const { blockBytes } = this.#using;
    const { objectSize } = this.#info!;
    for (let offset = this.#doneBlocks * blockBytes; offset < objectSize && !failed(); offset += blockBytes) yield offset;
  }

  async #block(object: WarmObject, offset: number): Promise<void> {
    const { signal } = this.#using;
    signal.throwIfAborted();
    const { version, objectSize, cachedBytes, fetchedBytes } = await this.#using.block(object, offset);
    this.#info ??= { version, objectSize };
    if (objectSize > 0) this.#doneBlocks++;
    this.#cachedBytes += cachedBytes;
    this.#fetchedBytes += fetchedBytes;
    await this.#using.report(this.#progress());
  }

  #progress(): WarmProgress {
    const { version, objectSize } = this.#info ?? { version: "", objectSize: 0 };
    return {
      key: this.#object.ref.url,
      version,
      doneBytes: this.#cachedBytes + this.#fetchedBytes,
      cachedBytes: this.#cachedBytes,
      totalBytes: objectSize,
      doneBlocks: this.#doneBlocks,
      totalBlocks: Math.ceil(objectSize / this.#using.blockBytes),
      error: "",
      errorCode: "",
      ended: false,
    };
  }
}
