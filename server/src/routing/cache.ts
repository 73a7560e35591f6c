import type { BlockId, BucketRef, MemberList, ObjectInfo, ObjectRef, PrefixRef, WarmProgress } from "@frontcache/proto";
import type { WarmedBlock, WarmRequest } from "../cache/block-warmer.js";
import type { ObjectRead } from "../cache/object-read.js";
import type { Listing, ListPage } from "../origin/origin.js";
import type { Principal } from "../security/principal.js";
import type { EvictReport, EvictSelector } from "../storage/storage-report.js";
import type { WarmingRequest } from "./warming.js";

/** What every request to the cache carries. An aborted signal ends whatever waits, a running `next` of a read included. */
interface Requested {
  /** Who asks. */
  readonly principal: Principal;
  readonly signal: AbortSignal;
}

/** A read of any range. */
export interface ReadRequest extends Requested {
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
}

/** Everything that is asked of the cache besides bytes. `Answers` has the answer to each kind. */
export type Question =
  | StatQuestion
  | ListQuestion
  | BucketQuestion
  | EvictQuestion
  | WarmQuestion
  | WarmBlockQuestion
  | TouchQuestion;

export interface StatQuestion extends Requested {
  readonly kind: "stat";
  readonly ref: ObjectRef;
  /** Absent: the current version. */
  readonly version: string | undefined;
}

/** One page of the objects under a prefix, as the origin lists it now. NOT_FOUND: there is no such bucket. */
export interface ListQuestion extends Requested {
  readonly kind: "list";
  readonly ref: PrefixRef;
  readonly page: ListPage;
}

/** Whether a bucket exists and may be listed: NOT_FOUND or PERMISSION_DENIED if not. */
export interface BucketQuestion extends Requested {
  readonly kind: "statBucket";
  readonly ref: BucketRef;
}

/** Evicts blocks at all members. */
export interface EvictQuestion extends Requested {
  readonly kind: "evict";
  readonly selector: EvictSelector;
  /** A member sent it: evict here only. */
  readonly forwarded: boolean;
}

/** Has objects warmed by their blocks' owners. The answer comes when every object has been reported to have ended, well or not. */
export interface WarmQuestion extends Requested, WarmingRequest {
  readonly kind: "warm";
  report(progress: WarmProgress): Promise<void>;
}

/** Warms one block here, because a member asks for it. */
export interface WarmBlockQuestion extends Requested, WarmRequest {
  readonly kind: "warmBlock";
}

/** Records uses of blocks that readers on this member's host made without the member. */
export interface TouchQuestion extends Requested {
  readonly kind: "touch";
  readonly blocks: readonly BlockId[];
}

export interface ObjectStat {
  readonly info: ObjectInfo;
  /** Bytes of that version on this member's volumes. */
  readonly cachedBytes: number;
}

export interface Answers {
  readonly stat: ObjectStat;
  readonly list: Listing;
  readonly statBucket: undefined;
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
  /** `host:port` of the gRPC listener of the member that owns the block at `offset`. */
  ownerOf(ref: ObjectRef, offset: number): string;
  /** Calls back with the member list at once, and with each new one. The returned function ends it. */
  watchMembers(listener: (list: MemberList) => void): () => void;
}
