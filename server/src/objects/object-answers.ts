import {
  CacheError,
  type HandedOverRecord,
  type HandOverRequest,
  type LookUpRecordsRequest,
  type MemberInfo,
  parseObjectUrl,
  RecordAnswer,
  type RecordQuestion,
  type RenewLeasesRequest,
  type RenewLeasesResponse,
  recordToMessage,
} from "@frontcache/proto";
import type { LocalCache } from "../cache/local-cache.js";
import { NoSuchBucket } from "../origin/checked-answer.js";
import { requestBudget } from "../origin/request-budget.js";
import type { DecidedRecords } from "./decided-records.js";
import { LEASE_MS } from "./granted-leases.js";
import type { HomeChanges } from "./home-changes.js";
import type { ObjectWrite, ObjectWrites } from "./object-writes.js";
import type { ObservedVersions } from "./observed-versions.js";
import type { Peers } from "./peers.js";
import { type RecordLookup, Undecided, type Wanted } from "./record-lookup.js";
import type { Standstill } from "./standstill.js";
import type { TakeOvers } from "./take-overs.js";

/** The questions of other members about objects: the members' calls of the gRPC contract. */
export type ObjectService = Pick<ObjectAnswers, "leaseToClient" | "lookUp" | "renew" | "versionChanged" | "handOver">;

export interface ObjectAnswersOptions {
  readonly peers: Pick<Peers, "callers">;
  readonly changes: HomeChanges;
  readonly standstill: Pick<Standstill, "check">;
  readonly decided: DecidedRecords;
  readonly lookup: RecordLookup;
  readonly observed: ObservedVersions;
  readonly writes: ObjectWrites;
  readonly takeOvers: Pick<TakeOvers, "handOver">;
  readonly records: LocalCache["records"];
  /** Forgets what other members have said about the object. */
  readonly forget: (url: string) => void;
  /** Aborted when the member closes. */
  readonly signal: AbortSignal;
}

/** Answers what other members ask this one about objects. */
export class ObjectAnswers {
  readonly #options: ObjectAnswersOptions;

  constructor(options: ObjectAnswersOptions) {
    this.#options = options;
  }

  /** Answers questions for records, and reports about objects. Each answer is reported as soon as it is known. */
  async lookUp(request: LookUpRecordsRequest, report: (answers: RecordAnswer[]) => void, signal: AbortSignal): Promise<void> {
    const { name, hops, questions } = request;
    const holder = this.#options.changes.current.member(name);
    await Promise.all(
      questions.map(async (question, index) => {
        report([await this.#answer(question, { index, hops, holder, signal })]);
      }),
    );
  }

  /**
   * Leases a version to a client, if this member decides and the version is current. Returns for how long, milliseconds: no member answers
   * with another version before. 0: no lease.
   */
  leaseToClient(url: string, version: string): number {
    const { lookup, decided } = this.#options;
    return lookup.decider(url) === "here" ? decided.leaseToClient(url, version) : 0;
  }

  /** Renews leases that this member granted. */
  renew({ name, ids }: RenewLeasesRequest): RenewLeasesResponse {
    const { lookup, decided } = this.#options;
    const decides = (url: string): boolean => lookup.decider(url) === "here";
    return { refused: ids.filter((id) => !decided.renew(id, name, decides)), leaseMs: LEASE_MS };
  }

  /** Drops the leases of these objects, and ignores leases in answers to questions that were sent before. */
  versionChanged(urls: readonly string[]): void {
    for (const url of urls) this.#options.forget(url);
  }

  /** As `TakeOvers.handOver`. */
  handOver(request: HandOverRequest, send: (records: HandedOverRecord[]) => Promise<void>): Promise<boolean> {
    this.#options.standstill.check();
    return this.#options.takeOvers.handOver(request, send);
  }

  /** Answers one question. Never rejects. */
  async #answer(question: RecordQuestion, { index, hops, holder, signal }: QuestionContext): Promise<RecordAnswer> {
    const { peers, lookup, observed, writes, decided, changes, records } = this.#options;
    try {
      const ref = parseObjectUrl(question.key);
      const { observedVersion, claimedVersion, onBehalfOf, writeId: id, writeStage } = question;
      if (onBehalfOf !== "") peers.callers.allowed(ref.url, onBehalfOf);
      if (id !== "") {
        await writes.report(ref, { id, stage: writeStage as ObjectWrite["stage"] }, hops + 1, signal);
        return RecordAnswer.fromPartial({ index });
      }
      const version = observedVersion || claimedVersion;
      if (version !== "") {
        await observed.report(ref, version, observedVersion === "" ? "claimed" : "received", hops + 1, signal);
        return RecordAnswer.fromPartial({ index });
      }
      const budget = requestBudget({ version: undefined, originRequests: question.originRequests || undefined });
      const { record, isHere } = await lookup.resolve(ref, { ...wantedOf(question), budget }, hops + 1, signal);
      const { url } = ref;
      const info = record?.info;
      const mayLease = isHere && holder !== undefined && record?.isStale !== true && changes.decider(url) === "here";
      const lease = mayLease ? decided.lease(url, holder, info) : undefined;
      return RecordAnswer.fromPartial({
        index,
        ...(info !== undefined && { record: recordToMessage(info) }),
        bucketMissing: info === undefined && records.observation(url)?.isBucketMissing === true,
        stale: record?.isStale === true,
        leaseId: lease?.id ?? 0,
        leaseMs: lease?.forMs ?? 0,
        failedRequests: budget.failures + budget.lost + (record?.failedRequests ?? 0),
      });
    } catch (error) {
      const { code: errorCode, message, isOriginTried: tried } = CacheError.from(error);
      const bucketMissing = error instanceof NoSuchBucket;
      // A member that closes decides nothing any more: the asking one asks again, and finds it gone.
      const undecided = error instanceof Undecided || this.#options.signal.aborted;
      const replaced = this.#mayBeReplaced(question.key);
      return RecordAnswer.fromPartial({ index, errorCode, error: message, tried, bucketMissing, undecided, replaced });
    }
  }

  /** Whether the last version that is known of an object, here or elsewhere, is not current any more, or may not be. */
  #mayBeReplaced(url: string): boolean {
    const { decided, records } = this.#options;
    return decided.writing.has(url) || records.rejectedAtMs(url) !== Number.NEGATIVE_INFINITY;
  }
}

interface QuestionContext {
  readonly index: number;
  /** How many members passed the question on before the sender. */
  readonly hops: number;
  /** The member that gets the lease. Undefined: the asking member is not in the list. */
  readonly holder: MemberInfo | undefined;
  readonly signal: AbortSignal;
}

function wantedOf({ needs, rejectedVersion }: RecordQuestion): Wanted {
  return {
    needs: needs === "metadata" || needs === "checksums" ? needs : "version",
    ...(rejectedVersion !== "" && { rejected: rejectedVersion }),
  };
}
