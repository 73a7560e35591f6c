import { CacheError, type ErrorCode, errorTable, type WarmProgress } from "@frontcache/proto";

/** An object that could not be warmed completely. */
export interface WarmFailure {
  readonly url: string;
  readonly error: CacheError;
}

/** The totals of a warming, final or so far. */
export interface WarmSummary {
  /** Objects that are done, including the failed ones. */
  readonly objects: number;
  /** Blocks that are cached now. */
  readonly blocks: number;
  /** Bytes of these blocks that were already cached. */
  readonly cachedBytes: number;
  /** Bytes of these blocks that were fetched, or in a dry run would be fetched. */
  readonly fetchedBytes: number;
  /** Total size of all objects known so far. */
  readonly totalBytes: number;
  /** Objects that could not be warmed completely. */
  readonly failed: number;
  /** The first 1,000 failures. */
  readonly failures: readonly WarmFailure[];
}

const MAX_FAILURES = 1_000;

/** The initial totals. */
export const NOTHING_WARMED: WarmSummary = {
  objects: 0,
  blocks: 0,
  cachedBytes: 0,
  fetchedBytes: 0,
  totalBytes: 0,
  failed: 0,
  failures: [],
};

/** The last reported progress of one object. */
type Counts = Pick<WarmProgress, "doneBytes" | "cachedBytes" | "totalBytes" | "doneBlocks">;

const NOTHING: Counts = { doneBytes: 0, cachedBytes: 0, totalBytes: 0, doneBlocks: 0 };

/**
 * Sums the progress that members report for a batch of objects or a prefix. A new report about an object replaces the last one.
 */
export class WarmCount {
  readonly #before: WarmSummary;
  #summary: WarmSummary;
  /** The last progress of objects that are not done. */
  readonly #running = new Map<string, Counts>();
  readonly #left: Set<string> | undefined;

  /** `batch` is undefined for a prefix: only the member knows its objects. */
  constructor(batch: readonly string[] | undefined, before: WarmSummary) {
    this.#before = this.#summary = before;
    this.#left = batch && new Set(batch);
  }

  get summary(): WarmSummary {
    return this.#summary;
  }

  /** Objects of the batch that are not done. */
  get left(): readonly string[] {
    return [...(this.#left ?? [])];
  }

  add(progress: WarmProgress): void {
    const { key, ended, error } = progress;
    if (this.#left?.has(key) === false) return;
    this.#replace(this.#running.get(key) ?? NOTHING, progress);
    this.#running.set(key, progress);
    if (!ended) return;
    this.#running.delete(key);
    this.#left?.delete(key);
    const { objects, failed, failures } = this.#summary;
    this.#summary = { ...this.#summary, objects: objects + 1 };
    if (error === "") return;
    const kept = failures.length < MAX_FAILURES ? [...failures, failureOf(progress)] : failures;
    this.#summary = { ...this.#summary, failed: failed + 1, failures: kept };
  }

  /**
   * Another member restarts the objects that are not done, and all objects of a prefix. Bytes fetched before are cached by then.
   */
  restart(): void {
    if (this.#left === undefined) this.#summary = this.#before;
    else for (const counts of this.#running.values()) this.#replace(counts, NOTHING);
    this.#running.clear();
  }

  #replace(before: Counts, after: Counts): void {
    const fetched = (counts: Counts): number => counts.doneBytes - counts.cachedBytes;
    const { blocks, cachedBytes, fetchedBytes, totalBytes } = this.#summary;
    this.#summary = {
      ...this.#summary,
      blocks: blocks + after.doneBlocks - before.doneBlocks,
      cachedBytes: cachedBytes + after.cachedBytes - before.cachedBytes,
      fetchedBytes: fetchedBytes + fetched(after) - fetched(before),
      totalBytes: totalBytes + after.totalBytes - before.totalBytes,
    };
  }
}

function failureOf({ key, error, errorCode }: WarmProgress): WarmFailure {
  const code = errorCode in errorTable ? (errorCode as ErrorCode) : "INTERNAL";
  return { url: key, error: new CacheError(code, error.includes(key) ? error : `${key}: ${error}`) };
}
