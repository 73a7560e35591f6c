import { CacheError, type ErrorCode } from "@frontcache/proto";
import { rampBytes } from "@frontcache/server/testing";
import type { SideOfRead } from "./division.js";
import type { Trouble } from "./trouble.js";
import type { PutVersion, VersionHistory } from "./version-history.js";

/** Of the error of a read without a version that was overwritten before its first byte was sent. */
const CHANGES_TOO_FAST = "the object changes faster than it can be read";

/** A read, or a question for a record, that a client asked. */
export interface AskedRead {
  readonly url: string;
  /** Undefined: the current one. */
  readonly version: string | undefined;
  readonly offset: number;
  /** Infinity: to the object's end. */
  readonly length: number;
  readonly startedMs: number;
  /** Number of the newest era that anyone had received when the read started. */
  readonly floor: number;
  readonly signal: AbortSignal;
  /** Only cached bytes were asked for. */
  readonly cachedOnly: boolean;
  /** Absent: the network was not divided, or members of either side may answer. */
  readonly side?: SideOfRead | undefined;
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

/** An object's record as an answer names it. */
export interface AnsweredRecord {
  readonly version: string;
  readonly objectSize?: number | undefined;
  readonly contentType?: string | undefined;
}

/** A lease of an object's record that a member may answer by. */
export interface HeldLease {
  /** Name of the member. */
  readonly holder: string;
  /** Undefined: the object is missing. */
  readonly version: string | undefined;
}

/** A write that the origin has taken. */
interface TakenWrite {
  readonly era: number;
  readonly begunMs: number;
  readonly takenMs: number;
}

export interface ReadModelOptions {
  readonly history: VersionHistory;
  readonly nowMs: () => number;
  readonly revalidateAfterMs: number;
  readonly negativeTtlMs: number;
  readonly originTrouble: Trouble;
  /** Members that were lost: gone, frozen, or not reachable by all others. */
  readonly losses: Trouble;
  /** Networks in which some members could not reach others, which both ran. */
  readonly partitions: Trouble;
  /** The valid leases of an object's record, of all members that run. */
  readonly leases: (url: string) => readonly HeldLease[];
  /** What wall clocks that were set back may add to the age of what members believe after their restart. */
  readonly wallErrorMs: () => number;
}

/** What reads may return: every answer is held against what the objects were, and when, and against what others received. */
export class ReadModel {
  readonly #options: ReadModelOptions;

  /** What must not be, one line each; empty as long as all is well. */
  readonly broken: string[] = [];
  /** Reads that ended with their bytes right, and with an error that is allowed. */
  served = 0;
  refused = 0;
  /** By URL: number of the newest era that anyone has received. */
  readonly #received = new Map<string, number>();
  /** By URL: writes that the origin has taken, whether anyone knows of it or not. */
  readonly #taken = new Map<string, TakenWrite[]>();
  /** By URL: when the first read failed because the object had changed, since it last changed. */
  readonly #firstRefusedMs = new Map<string, number>();

  constructor(options: ReadModelOptions) {
    this.#options = options;
  }

  /** The newest era of the object that anyone has received: no read that starts now may be answered with an older one. */
  floor(url: string): number {
    return this.#received.get(url) ?? 0;
  }

  /** Someone received a byte or the record of this version, in a read that started with this floor. */
  received(url: string, version: string, floor = 0, side?: SideOfRead): void {
    const is = (put: PutVersion | undefined): boolean => put?.version === version;
    this.#receive(url, this.#options.history.eraSince(url, floor, is));
    if (side !== undefined) this.#receiveAt(side, url, is, floor > 0 ? side.floor : 0);
  }

  /** A write was acknowledged, which the origin has taken after an era. */
  acknowledged(url: string, is: (put: PutVersion | undefined) => boolean, since: number): void {
    this.#receive(url, this.#options.history.eraSince(url, since, is));
  }

  /**
   * The origin has taken a write that a member began to send at a moment: each read that starts from now on gets it, acknowledged or not,
   * as long as not more than one member is lost.
   */
  taken(url: string, begunMs: number): void {
    const { history, nowMs } = this.#options;
    const write = { era: history.lastEra(url), begunMs, takenMs: nowMs() };
    this.#taken.set(url, [...(this.#taken.get(url) ?? []), write]);
  }

  judge(read: AskedRead, outcome: ReadOutcome): void {
    if (outcome.bytes.length > 0 || (outcome.error === undefined && outcome.left !== true)) this.#judgeBytes(read, outcome);
    if (outcome.error !== undefined) this.#judgeError(read, outcome.error);
  }

  /** An answer that names the object's record, with bytes behind it or without. */
  judgeRecord(read: AskedRead, record: AnsweredRecord): void {
    const { history } = this.#options;
    const { version, objectSize, contentType } = record;
    const is = (put: PutVersion | undefined): boolean =>
      put?.version === version && (contentType === undefined || put.contentType === contentType);
    const put = history.version(read.url, version);
    if (put === undefined) this.#break(read, `answered with a version that never was: ${version}`);
    else if (objectSize !== undefined && objectSize !== put.size) this.#break(read, `${version} has not ${objectSize} bytes`);
    else if (read.version !== undefined && read.version !== version) this.#break(read, `answered with ${version}`);
    else if (read.version === undefined && !read.cachedOnly) this.#judgeAge(read, [version], is);
    this.received(read.url, version, evidenceFrom(read), read.side);
  }

  /** A connection that was closed in the middle of an answer of this version. */
  judgeBroken(read: AskedRead, version: string): void {
    const { history, nowMs, originTrouble, losses } = this.#options;
    const now = nowMs();
    const { url, startedMs } = read;
    if (!history.changed(url, version, this.#believedMs(read), now)) {
      const mayBreak = originTrouble.during(startedMs, now) || losses.countDuring(startedMs, now) > 1;
      if (!mayBreak) this.#break(read, `${version} was aborted although nothing had changed`);
    }
    this.refused++;
  }

  #judgeBytes(read: AskedRead, outcome: ReadOutcome): void {
    const whole = outcome.error === undefined && outcome.left !== true;
    const { history } = this.#options;
    const known = history.versions(read.url);
    const named = outcome.version === undefined ? known : known.filter(({ version }) => version === outcome.version);
    const of = named.filter((put) => isOf(put, read, outcome, whole));
    const versions = of.map(({ version }) => version);
    if (named.length === 0) this.#break(read, `answered with a version that never was: ${outcome.version}`);
    else if (of.length === 0) this.#break(read, `${outcome.bytes.length} wrong bytes of ${outcome.version ?? "any version"}`);
    else if (read.version !== undefined && !versions.includes(read.version)) this.#break(read, `answered with ${versions[0]}`);
    else if (read.version === undefined && !read.cachedOnly)
      this.#judgeAge(read, versions, (put) => put !== undefined && versions.includes(put.version));
    // Bytes that several versions have tell nothing.
    const [version, ...others] = new Set(read.version === undefined ? versions : [read.version]);
    if (version !== undefined && others.length === 0) this.received(read.url, version, evidenceFrom(read), read.side);
    if (whole) this.served++;
  }

  /** Whether an answer of one of these versions, or the absence of the object, is neither too old nor older than what others received. */
  #judgeAge(read: AskedRead, versions: readonly (string | undefined)[], is: (put: PutVersion | undefined) => boolean): void {
    const { history, nowMs } = this.#options;
    const { url } = read;
    const floor = this.#isWithinSide(read) ? read.side!.floor : read.floor;
    const believedMs = this.#believedMs(read);
    const wasCurrent = versions.some((version) => version !== undefined && history.wasCurrent(url, version, believedMs, nowMs()));
    if (versions.length > 0 && !wasCurrent) this.#break(read, `${versions[0]} is too old`);
    this.#judgeTaken(read, is);
    const era = history.eraSince(url, floor, is);
    const what = versions[0] ?? "no object";
    if (era !== undefined || this.#isExcused(read)) return;
    this.#break(read, `${what} (era ${history.eraSince(url, 0, is)}), although era ${floor} had been received`);
  }

  /** An answer that is older than a write which the origin had taken before the read started. */
  #judgeTaken(read: AskedRead, is: (put: PutVersion | undefined) => boolean): void {
    const { history, nowMs, losses, partitions, originTrouble } = this.#options;
    for (const { era, begunMs, takenMs } of this.#taken.get(read.url) ?? []) {
      if (takenMs >= read.startedMs || history.eraSince(read.url, era, is) !== undefined) continue;
      const isDisturbed = [partitions, originTrouble].some((trouble) => trouble.during(begunMs, nowMs()));
      if (isDisturbed || losses.countDuring(begunMs, nowMs()) > 1) continue;
      this.#break(read, `answered as before era ${era}, although the origin had taken the write of that era at ${takenMs}`);
    }
  }

  #judgeError(read: AskedRead, thrown: unknown): void {
    const { history, nowMs, negativeTtlMs, originTrouble, losses } = this.#options;
    const error = CacheError.from(thrown);
    const { url, version, startedMs, offset } = read;
    const now = nowMs();
    const believedMs = this.#believedMs(read);
    const inTrouble = originTrouble.during(startedMs, now);
    // A version may be refused by the side of a divided network that knows of an older one.
    const mayBeOld = version === undefined || inTrouble || this.#isExcused(read);
    const isOverwritten = version === undefined && error.message.includes(CHANGES_TOO_FAST);
    const allowed: Partial<Record<ErrorCode, () => boolean>> = {
      CANCELLED: () => read.signal.aborted,
      UNAVAILABLE: () =>
        inTrouble || losses.countDuring(startedMs, now) > 1 || (isOverwritten && history.changed(url, version, startedMs, now)),
      RESOURCE_EXHAUSTED: () => inTrouble,
      NOT_FOUND: () => read.cachedOnly || history.wasMissing(url, inTrouble ? believedMs : startedMs - negativeTtlMs, now),
      OUT_OF_RANGE: () => read.cachedOnly || history.hadEnded(url, version, offset, believedMs, now),
      FAILED_PRECONDITION: () => history.changed(url, version, mayBeOld ? believedMs : startedMs, now),
    };
    if (allowed[error.code]?.() !== true) {
      const { code, message, cause } = error;
      this.#break(read, `failed with ${code}: ${message} ${cause instanceof Error ? (cause.stack ?? cause.message) : ""}`);
    }
    if (version === undefined && !read.cachedOnly) {
      if (error.code === "NOT_FOUND") this.#judgeAbsence(read);
      if (error.code === "FAILED_PRECONDITION" || isOverwritten) this.#judgeRefusal(read);
    }
    this.refused++;
  }

  #judgeAbsence(read: AskedRead): void {
    const isAbsent = (put: PutVersion | undefined): boolean => put === undefined;
    this.#judgeAge(read, [], isAbsent);
    this.#receive(read.url, this.#options.history.eraSince(read.url, read.floor, isAbsent));
    if (read.side !== undefined) this.#receiveAt(read.side, read.url, isAbsent, read.side.floor);
  }

  /** An object that has changed may break reads off once: from then on its home knows the new version. */
  #judgeRefusal(read: AskedRead): void {
    const { history, nowMs, originTrouble, losses, partitions } = this.#options;
    const { url, startedMs } = read;
    const now = nowMs();
    const changedMs = history.changedMs(url);
    const firstMs = this.#firstRefusedMs.get(url) ?? Number.NEGATIVE_INFINITY;
    if (firstMs <= changedMs) this.#firstRefusedMs.set(url, now);
    else if (firstMs < startedMs) {
      const isDisturbed = [originTrouble, losses, partitions].some((trouble) => trouble.during(firstMs, now));
      if (!isDisturbed) this.#break(read, `failed because the object changed at ${changedMs}, as another read had before`);
    }
  }

  #receive(url: string, era: number | undefined): void {
    if (era === undefined || era <= this.floor(url)) return;
    this.#received.set(url, era);
    this.#judgeLeases(url, era);
  }

  /** When someone has received an era of an object, no member may answer by a lease of an older one, be it in the list or not. */
  #judgeLeases(url: string, era: number): void {
    const { history, nowMs, leases } = this.#options;
    if (this.#isExcused({ startedMs: nowMs() })) return;
    for (const { holder, version } of leases(url)) {
      const leased = history.eraSince(url, era, (put) => put?.version === version);
      if (leased === undefined)
        this.broken.push(`${holder} has a lease of ${version} of ${url}, although era ${era} was received`);
    }
  }

  /**
   * Whether the answer may be older than what others received: members could not reach each other, or neither the object's
   * home nor the origin answered.
   */
  #isExcused(read: Pick<AskedRead, "startedMs" | "side">): boolean {
    const { nowMs, originTrouble, losses, partitions } = this.#options;
    const { startedMs } = read;
    const now = nowMs();
    const isDivided = partitions.during(startedMs, now) && !this.#isWithinSide(read);
    return isDivided || (originTrouble.during(startedMs, now) && losses.during(startedMs, now));
  }

  /** Whether a read started and ended on one side of a network that was divided all the time. */
  #isWithinSide({ side }: Pick<AskedRead, "side">): boolean {
    return side?.division.isOver === false;
  }

  /** Someone on a side of a divided network received what the object was like. */
  #receiveAt(side: SideOfRead, url: string, is: (put: PutVersion | undefined) => boolean, floor: number): void {
    if (side.division.isOver) return;
    const era = this.#options.history.eraSince(url, floor, is);
    if (era !== undefined) side.division.received(side.side, url, era);
  }

  /** Since when a version may be believed to be current; while the origin can't be asked, any one that is cached. */
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

/**
 * The first era that an answered read may prove. A read that names a version may be answered from what was cached when the object
 * had that version for the first time: it does not prove that the object has it again.
 */
export function evidenceFrom({ version, cachedOnly, floor }: AskedRead): number {
  return version === undefined && !cachedOnly ? floor : 0;
}
