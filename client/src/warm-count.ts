import { CacheError, type ErrorCode, errorTable, type WarmProgress } from "@frontcache/proto";

/** An object that could not be warmed whole. */
export interface WarmFailure {
  readonly url: string;
  readonly error: CacheError;
}

/** What a warming has done, or has done so far. */
export interface WarmSummary {
  /** Objects that have ended, the failed ones among them. */
  readonly objects: number;
  /** Blocks that are warm now. */
  readonly blocks: number;
  /** Bytes of these blocks that were held before. */
  readonly cachedBytes: number;
  /** Bytes of these blocks that were fetched; of a dry run: that would be. */
  readonly fetchedBytes: number;
  /** Bytes of all objects that are known so far. */
  readonly totalBytes: number;
  /** Objects that could not be warmed whole. */
  readonly failed: number;
  /** The first 1,000 of them. */
  readonly failures: readonly WarmFailure[];
}

const MAX_FAILURES = 1_000;

/** What every warming begins with. */
export const NOTHING_WARMED: WarmSummary = {
  objects: 0,
  blocks: 0,
  cachedBytes: 0,
  fetchedBytes: 0,
  totalBytes: 0,
  failed: 0,
  failures: [],
};

/** What was told of one object so far. */
type Counts = Pick<WarmProgress, "doneBytes" | "cachedBytes" | "totalBytes" | "doneBlocks">;

const NOTHING: Counts = { doneBytes: 0, cachedBytes: 0, totalBytes: 0, doneBlocks: 0 };

/** Adds up what members tell of a batch of objects, or of those under a prefix. What is told of an object replaces what was told of it before. */
export class WarmCount {
  readonly #before: WarmSummary;
  #summary: WarmSummary;
  /** What was last told of the objects that have not ended. */
  readonly #running = new Map<string, Counts>();
  readonly #left: Set<string> | undefined;

  /** `batch` undefined: which objects they are, only the member knows. */
  constructor(batch: readonly string[] | undefined, before: WarmSummary) {
    this.#before = this.#summary = before;
    this.#left = batch && new Set(batch);
  }

  get summary(): WarmSummary {
    return this.#summary;
  }

  /** Objects of the batch that have not ended. */
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

  /** Another member begins again what has not ended, under a prefix with all of it; what was fetched for that is held now. */
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
