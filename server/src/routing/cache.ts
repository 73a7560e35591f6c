import type { BlockId, MemberList, ObjectInfo, ObjectRef, WarmProgress } from "@frontcache/proto";
import type { WarmedBlock, WarmRequest } from "../cache/block-warmer.js";
import type { ObjectRead } from "../cache/object-read.js";
import type {
  BucketInfo,
  BucketList,
  BucketQuestion,
  BucketsQuestion,
  Listing,
  ListQuestion,
  PassedAnswer,
  PassQuestion,
  RequestContext,
  WriteAnswer,
} from "../origin/origin.js";
import type { EvictReport, EvictSelector } from "../storage/storage-report.js";
import type { WriteQuestion } from "../writes/write-through.js";
import type { WarmingRequest } from "./warming.js";

/** A read of any range. An aborted signal ends whatever waits, a running `next` of the read included. */
export interface ReadRequest extends RequestContext {
  readonly ref: ObjectRef;
  /** Absent: the current version. */
  readonly version?: string | undefined;
  readonly offset: number;
  /** 0: to the object's end. */
  readonly length: number;
  /** A member sent the read: it is never forwarded again. */
  readonly forwarded: boolean;
  /** Answer only with cached bytes, else NOT_FOUND. */
  readonly cachedOnly: boolean;
  /** The end of the range is that of its block, because the client named none. Absent: the client named it. */
  readonly openEnded?: boolean;
  /** It was requested before, and got no answer, or not all of it. Absent: no. */
  readonly isRepeated?: boolean;
  /** How many requests to the origin the member allows that forwards the read. Absent: as many as any read. */
  readonly originRequests?: number | undefined;
  /** The principal with origin credentials of its own for whom a member forwards the read. Absent: none. Only members may name one. */
  readonly onBehalfOf?: string | undefined;
  /** When the client gives up, monotonic milliseconds; `signal` is aborted then. Absent: it has not said. */
  readonly deadlineAtMs?: number | undefined;
}

/** Everything that is asked of the cache besides bytes. `Answers` has the answer to each kind. Listings, buckets and passed requests are the origin's. */
export type Question =
  | StatQuestion
  | BucketsQuestion
  | ListQuestion
  | BucketQuestion
  | PassQuestion
  | WriteQuestion
  | EvictQuestion
  | WarmQuestion
  | WarmBlockQuestion
  | TouchQuestion;

export interface StatQuestion extends RequestContext {
  readonly kind: "stat";
  readonly ref: ObjectRef;
  /** Absent: the current version. */
  readonly version: string | undefined;
  /** A member sent it: it is answered here. Absent: no. */
  readonly forwarded?: boolean | undefined;
  /** The answer must not lack checksums, unless the origin cannot be asked for them. Absent: it may. */
  readonly checksums?: boolean | undefined;
  /** The origin is asked, whatever the age of the record is. Absent: no. */
  readonly confirmed?: boolean | undefined;
}

/** Evicts blocks at all members. */
export interface EvictQuestion extends RequestContext {
  readonly kind: "evict";
  readonly selector: EvictSelector;
  /** A member sent it: evict here only. */
  readonly forwarded: boolean;
}

/** Has objects warmed by their blocks' owners. The answer comes when every object has been reported to have ended, well or not. */
export interface WarmQuestion extends RequestContext, WarmingRequest {
  readonly kind: "warm";
  report(progress: WarmProgress): Promise<void>;
}

/** Warms one block here, because a member asks for it. */
export interface WarmBlockQuestion extends RequestContext, WarmRequest {
  readonly kind: "warmBlock";
  /** The name of a member that has the block cached. Absent: none is known. */
  readonly from?: string | undefined;
}

/** Records uses of blocks that readers on this member's host made without the member. */
export interface TouchQuestion extends RequestContext {
  readonly kind: "touch";
  readonly blocks: readonly BlockId[];
}

export interface ObjectStat {
  readonly info: ObjectInfo;
  /** Bytes of that version on this member's volumes. */
  readonly cachedBytes: number;
  /** The version could not be confirmed, because the origin is slow or unreachable. Absent: it is confirmed. */
  readonly isStale?: boolean;
  /** How long ago the origin named this version as the current one, milliseconds. Absent: another member knows. */
  readonly ageMs?: number | undefined;
}

export interface Answers {
  readonly stat: ObjectStat;
  readonly list: Listing;
  readonly statBucket: BucketInfo;
  readonly listBuckets: BucketList;
  readonly pass: PassedAnswer;
  readonly write: WriteAnswer;
  readonly evict: EvictReport;
  readonly warm: undefined;
  readonly warmBlock: WarmedBlock;
  /** How many of the blocks are cached here. */
  readonly touch: number;
}

export type QuestionKind = keyof Answers;
export type QuestionOf<K extends QuestionKind> = Extract<Question, { readonly kind: K }>;
export type AnswerTo<Q extends Question> = Answers[Q["kind"]];

/**
 * The cache as its clients see it. Both methods fail with CacheErrors. Rules that hold for every request (access, metrics) wrap
 * it: `(next: Cache) => Cache`.
 */
export interface Cache {
  /** Opens a read; at once if all of the first block's bytes are cached here. May throw or reject. */
  open(request: ReadRequest): ObjectRead | Promise<ObjectRead>;
  /** Never throws, but rejects. */
  ask<Q extends Question>(question: Q): Promise<AnswerTo<Q>>;
}

/** One function for each kind of question. */
export type Answerers = { readonly [K in QuestionKind]: (question: QuestionOf<K>) => Promise<Answers[K]> };

/** A `Cache.ask` that has each question answered by the function of its kind. */
export function answeredBy(answerers: Answerers): Cache["ask"] {
  return async <Q extends Question>(question: Q): Promise<AnswerTo<Q>> => {
    const answer = answerers[question.kind] as unknown as (question: Q) => Promise<AnswerTo<Q>>;
    return answer(question);
  };
}

/** What clients may know about the members. */
export interface MemberDirectory {
  /** `host:port` of the gRPC listeners of the members that answer for the block at `offset`, best first; at least one. */
  ownersOf(ref: ObjectRef, offset: number): readonly string[];
  /** Calls back with the member list at once, and with each new one. The returned function ends it. */
  watchMembers(listener: (list: MemberList) => void): () => void;
}
