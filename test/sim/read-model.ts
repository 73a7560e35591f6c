import { CacheError, type ErrorCode } from "@frontcache/proto";
import { rampBytes } from "@frontcache/server/testing";
import type { Trouble } from "./trouble.js";
import type { PutVersion, VersionHistory } from "./version-history.js";

/** A read that was asked for. */
export interface AskedRead {
  readonly url: string;
  /** Undefined: the current one. */
  readonly version: string | undefined;
  readonly offset: number;
  /** Infinity: to the object's end. */
  readonly length: number;
  readonly startedMs: number;
  readonly signal: AbortSignal;
  /** Only what is held was asked for. */
  readonly cachedOnly: boolean;
}

/** How a read came to its end. */
export interface ReadOutcome {
  /** What came, until the end or the error. */
  readonly bytes: Buffer;
  /** The version that the answer names; undefined where it was not told. */
  readonly version: string | undefined;
  /** Bytes that the answer promised; undefined where it was not told. */
  readonly length: number | undefined;
  /** Absent: it came to its end. */
  readonly error?: unknown;
  /** Its reader left before the end. */
  readonly left?: boolean;
}

export interface ReadModelOptions {
  readonly history: VersionHistory;
  readonly nowMs: () => number;
  readonly revalidateAfterMs: number;
  readonly negativeTtlMs: number;
  readonly originTrouble: Trouble;
  /** Whether so many members were lost while the read ran that it may fail. */
  readonly mayBeLost: (read: AskedRead) => boolean;
  /** What wall clocks that were set back may add to the age of what members believe after their restart. */
  readonly wallErrorMs: () => number;
}

/** What reads may return: every answer is held against what the objects were, and when. */
export class ReadModel {
  readonly #options: ReadModelOptions;

  /** What must not be, one line each; empty as long as all is well. */
  readonly broken: string[] = [];
  /** Reads that ended with their bytes right, and with an error that is allowed. */
  served = 0;
  refused = 0;

  constructor(options: ReadModelOptions) {
    this.#options = options;
  }

  judge(read: AskedRead, outcome: ReadOutcome): void {
    if (outcome.bytes.length > 0 || (outcome.error === undefined && outcome.left !== true)) this.#judgeBytes(read, outcome);
    if (outcome.error !== undefined) this.#judgeError(read, outcome.error);
  }

  #judgeBytes(read: AskedRead, outcome: ReadOutcome): void {
    const whole = outcome.error === undefined && outcome.left !== true;
    const { history, nowMs } = this.#options;
    const known = history.versions(read.url);
    const named = outcome.version === undefined ? known : known.filter(({ version }) => version === outcome.version);
    const of = named.filter((put) => isOf(put, read, outcome, whole));
    const isCurrent = of.some(({ version }) => history.wasCurrent(read.url, version, this.#believedMs(read), nowMs()));
    if (named.length === 0) this.#break(read, `answered with a version that never was: ${outcome.version}`);
    else if (of.length === 0) this.#break(read, `${outcome.bytes.length} wrong bytes of ${outcome.version ?? "any version"}`);
    else if (read.version !== undefined && of.every(({ version }) => version !== read.version))
      this.#break(read, `answered with ${of[0]!.version}`);
    else if (read.version === undefined && !isCurrent && !read.cachedOnly) this.#break(read, `${of[0]!.version} is too old`);
    if (whole) this.served++;
  }

  #judgeError(read: AskedRead, thrown: unknown): void {
    const { history, nowMs, negativeTtlMs, originTrouble, mayBeLost } = this.#options;
    const error = CacheError.from(thrown);
    const { url, version, startedMs, offset } = read;
    const now = nowMs();
    const believedMs = this.#believedMs(read);
    const inTrouble = originTrouble.during(startedMs, now);
    const allowed: Partial<Record<ErrorCode, () => boolean>> = {
      CANCELLED: () => read.signal.aborted,
      UNAVAILABLE: () => inTrouble || mayBeLost(read),
      RESOURCE_EXHAUSTED: () => inTrouble,
      NOT_FOUND: () => read.cachedOnly || history.wasMissing(url, startedMs - negativeTtlMs, now),
      OUT_OF_RANGE: () => read.cachedOnly || history.hadEnded(url, version, offset, believedMs, now),
      FAILED_PRECONDITION: () => history.changed(url, version, version === undefined ? believedMs : startedMs, now),
    };
    if (allowed[error.code]?.() !== true) {
      const { code, message, cause } = error;
      this.#break(read, `failed with ${code}: ${message} ${cause instanceof Error ? (cause.stack ?? cause.message) : ""}`);
    }
    this.refused++;
  }

  /** Since when a version may be believed to be current; while the origin can't be asked, any one that is held. */
  #believedMs({ startedMs }: AskedRead): number {
    const { nowMs, revalidateAfterMs, originTrouble, wallErrorMs } = this.#options;
    if (originTrouble.during(startedMs, nowMs())) return Number.NEGATIVE_INFINITY;
    return startedMs - revalidateAfterMs - wallErrorMs();
  }

  #break(read: AskedRead, what: string): void {
    const { url, offset, length, version, startedMs } = read;
    this.broken.push(`read of ${url} at ${offset} of ${length} bytes as ${version ?? "current"}, begun at ${startedMs}: ${what}`);
  }
}

/** Whether an answer's bytes are those of a version: all of them, or their beginning where it did not come to its end. */
function isOf(put: PutVersion, read: AskedRead, { bytes, length }: ReadOutcome, whole: boolean): boolean {
  const expected = Math.max(0, Math.min(read.length, put.size - read.offset));
  if (length !== undefined && length !== expected) return false;
  if (whole ? bytes.length !== expected : bytes.length > expected) return false;
  return bytes.equals(rampBytes(read.offset, bytes.length, put.seed));
}
