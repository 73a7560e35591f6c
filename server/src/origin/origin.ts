import type { BodyPieces, Landing } from "@frontcache/client/http";
import { type BucketRef, CacheError, type ObjectInfo, type ObjectRef, type PrefixRef } from "@frontcache/proto";
import type { Principal } from "../security/principal.js";
import type { RequestBudget, RequestPermit } from "./request-budget.js";

export type { Landing };

/** What every request to an origin carries. */
export interface RequestContext {
  /** Aborting it ends the request and the body of its answer. */
  readonly signal: AbortSignal;
  readonly principal: Principal;
}

/** How often a request may be repeated. */
export interface Repetition {
  /** Shared by all requests of one read of one block. Absent: the request has a budget of its own. */
  readonly budget?: RequestBudget | undefined;
  /** Asked before a repetition: whether somebody still waits for the answer. Absent: somebody does. */
  readonly isNeeded?: (() => boolean) | undefined;
  /** The permission of this attempt, given by `retrying`. Further requests on its behalf need permission, too. */
  readonly permit?: RequestPermit | undefined;
}

/** A request for a range of an object's bytes. */
export interface OriginRequest extends RequestContext, Repetition {
  readonly ref: ObjectRef;
  readonly offset: number;
  /** Bytes, more than 0. The range may reach past the object's end. */
  readonly length: number;
  /** The version that the bytes must be of, as a condition of the request; undefined: the current one. */
  readonly version: string | undefined;
}

/** The bytes of an answer. Nothing is read before `land`. A body that is not landed must be destroyed. */
export interface OriginBody {
  /**
   * Writes all bytes, in order, into the landing's room; once. Undefined: all have landed already, because they arrived with the head.
   * Rejects with a CacheError if the body ends early, by `destroy` or an abort too; it throws nothing. Until it settles the body owns
   * the room; afterwards it leaves the room alone.
   */
  land(landing: Landing): Promise<void> | undefined;
  /** Drops the outstanding bytes and frees the connection; ends a running `land` at once. Harmless when repeated, or after the end. */
  destroy(): void;
}

/** An origin's checked answer to a range: one version, exactly `length` bytes. */
export interface OriginAnswer {
  readonly info: ObjectInfo;
  /** A member reported `info`, not the origin: its version may be outdated. */
  readonly isFromMember?: true | undefined;
  /** Bytes of the body: the range's length, or less if the object ends inside the range. */
  readonly length: number;
  readonly body: OriginBody;
}

/** Asks for an object's information without its bytes. */
export interface StatQuestion extends RequestContext, Repetition {
  readonly kind: "stat";
  readonly ref: ObjectRef;
  /** The caller can answer from the cache instead: fewer attempts, a shorter timeout. */
  readonly hasFallback: boolean;
}

/** Asks for one page of the objects under a prefix. */
export interface ListQuestion extends RequestContext, Repetition {
  readonly kind: "list";
  readonly ref: PrefixRef;
  readonly page: ListPage;
}

/** Asks whether a bucket exists and may be listed. */
export interface BucketQuestion extends RequestContext, Repetition {
  readonly kind: "statBucket";
  readonly ref: BucketRef;
}

/**
 * Asks the origin for its own answer to a request that the cache does not answer itself. The request is sent with this member's
 * credentials. In GCS it is a request of the JSON API; with the parameter `alt=media` it is for an object's bytes.
 */
export interface PassQuestion extends RequestContext, Repetition {
  readonly kind: "pass";
  /** An object, or a bucket. A bucket with an empty name is the store itself: its list of buckets. */
  readonly ref: ObjectRef | BucketRef;
  /** Of GCS, in place of `ref` itself: the objects of the bucket, its uploads in parts, or the parts of an upload of the object. */
  readonly collection?: "objects" | "uploads" | "parts" | undefined;
  readonly method: "GET" | "HEAD";
  /** Parameters of the query, not escaped. A parameter without a value has an empty one. No parameters of signatures. */
  readonly query: readonly (readonly [name: string, value: string])[];
  /** Names in lower case. Headers of the connection, of signatures and of authentication are left out. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The principal with origin credentials of its own for whom the cache itself asks. Absent: none. */
  readonly onBehalfOf?: string | undefined;
}

/** Asks for the buckets of the store. */
export interface BucketsQuestion extends RequestContext, Repetition {
  readonly kind: "listBuckets";
  /** The scheme, and a bucket with an empty name. */
  readonly ref: BucketRef;
  /** The project whose buckets GCS lists. Absent: the one that the origin is configured to bill. */
  readonly project?: string | undefined;
}

/** What an origin is asked besides bytes. */
export type OriginQuestion = StatQuestion | ListQuestion | BucketQuestion | BucketsQuestion | PassQuestion;

/** Which page of a listing to ask for. */
export interface ListPage {
  /** Keys that contain it after the prefix are grouped into one common prefix; empty: no grouping. */
  readonly delimiter: string;
  /** Upper bound of objects and common prefixes, 1 to 1,000. A page may have fewer although more pages follow. */
  readonly maxKeys: number;
  /** `nextToken` of the previous page; absent: the first page. */
  readonly token?: string | undefined;
  /** For the first page: only keys after this one, in byte order. */
  readonly startAfter?: string | undefined;
  /** The objects' owners are requested. Absent: no. */
  readonly withOwners?: boolean | undefined;
  /** Objects in the order that costs the store least. An extension of Ceph. Absent: in byte order. */
  readonly isUnordered?: boolean | undefined;
}

/** Who owns an object, in S3's terms. */
export interface ObjectOwner {
  readonly id: string;
  readonly displayName?: string | undefined;
}

/** An object as a listing names it. */
export interface ListedObject {
  readonly key: string;
  readonly objectSize: number;
  /** As in ObjectInfo. A listing may be older than the object. */
  readonly version?: string | undefined;
  /** Milliseconds since 1970. */
  readonly lastModifiedMs?: number | undefined;
  /** As the store names it. */
  readonly storageClass?: string | undefined;
  /** Absent: unknown, or not requested. */
  readonly owner?: ObjectOwner | undefined;
  /** The algorithms of the object's checksums, as S3 names them. */
  readonly checksumAlgorithms?: readonly string[] | undefined;
  /** FULL_OBJECT or COMPOSITE. */
  readonly checksumType?: string | undefined;
}

/** A page of a listing. Both lists are in byte order. */
export interface Listing {
  readonly objects: readonly ListedObject[];
  /** Common prefixes with the delimiter at their ends. */
  readonly prefixes: readonly string[];
  /** Token of the next page; absent: this is the last one. */
  readonly nextToken?: string | undefined;
}

/** What is known of a bucket. */
export interface BucketInfo {
  /** S3's region of the bucket; undefined if the origin does not name one. */
  readonly region: string | undefined;
}

/** A bucket as the list of buckets names it. */
export interface ListedBucket {
  readonly name: string;
  /** Milliseconds since 1970. Absent: unknown. */
  readonly createdMs?: number | undefined;
  readonly region?: string | undefined;
}

/** The buckets that an origin lists. */
export interface BucketList {
  /** Sorted by name. */
  readonly buckets: readonly ListedBucket[];
  /** Absent: unknown. */
  readonly owner?: ObjectOwner | undefined;
}

/** The body of a passed answer: read it to its end once, or destroy it. Ends with a CacheError if the origin's body ends early. */
export interface PassedBody extends AsyncIterable<Uint8Array> {
  /** Drops the outstanding bytes and frees the connection. Harmless when repeated, or after the end. */
  destroy(): void;
}

/**
 * The origin's own answer, whatever its status. Exceptions, which are CacheErrors: the origin throttles or fails (429, 500, 502, 503,
 * 504) after all retries, rejects this member's credentials, or redirects to a place that is not known.
 */
export interface PassedAnswer {
  readonly status: number;
  /**
   * Names in lower case, in the origin's order, without headers of the connection. Only an answer to HEAD has `content-length` here: the
   * length of the body that a GET would have.
   */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Bytes of the body; undefined: the origin does not say. Of an answer to HEAD: 0. */
  readonly length: number | undefined;
  readonly body: PassedBody;
  /** The objects that the answer lists with their current versions. Absent: it is no listing. */
  readonly listed?: readonly Pick<ListedObject, "key" | "version">[] | undefined;
}

interface AnswerByKind {
  readonly stat: ObjectInfo;
  /** A page may be empty although more pages follow. */
  readonly list: Listing;
  readonly statBucket: BucketInfo;
  readonly listBuckets: BucketList;
  readonly pass: PassedAnswer;
}

/** The answer to a question, by the question's type. */
export type AnswerTo<Q extends OriginQuestion> = AnswerByKind[Q["kind"]];

/** A body that is sent while it arrives. */
export interface StreamedBody {
  /** Bytes of all pieces. Undefined: unknown, which only GCS's JSON API takes. */
  readonly length: number | undefined;
  /** Read once. If it throws, the request ends before the store has all of it. */
  readonly pieces: BodyPieces;
  /** In hexadecimal, if it is known before. */
  readonly sha256: string | undefined;
  /** A checksum that is known when all pieces have been read. Undefined: none. */
  readonly trailer: BodyTrailer | undefined;
}

/** A checksum that follows a body. */
export interface BodyTrailer {
  readonly name: string;
  /** How long the value is as text. */
  readonly valueLength: number;
  value(): string;
}

/** What a request of GCS's JSON API does with its object. The query, the headers and the body are the client's. */
export type JsonMethod =
  /** Changes its metadata, or deletes it. */
  | { readonly kind: "object" }
  /** Uploads it, or a part of it. `related`: what precedes the object in one request, as the client sent it. */
  | { readonly kind: "upload"; readonly related?: RelatedPart | undefined }
  /** Puts it together from others of its bucket, which the body names. */
  | { readonly kind: "compose" }
  /** Makes it of the request's source. */
  | { readonly kind: "copyTo" | "rewriteTo" | "moveTo" };

/** The metadata of an object that is uploaded in the same request. */
export interface RelatedPart {
  /** JSON. */
  readonly document: Uint8Array;
  /** The Content-Type of the object's bytes. Undefined: they have none. */
  readonly contentType: string | undefined;
}

/**
 * A request that changes something. It is sent once. Only a request whose body is in memory is sent again: if the store has refused it
 * for its signature or its place, or if `mayRepeat` and the kept connection was closed.
 */
export interface WriteRequest extends RequestContext {
  /** An object, or a bucket. */
  readonly ref: ObjectRef | BucketRef;
  readonly method: "PUT" | "POST" | "DELETE" | "PATCH";
  /** A method of GCS's JSON API. Absent: the request has S3's form, whichever store it is for. */
  readonly json?: JsonMethod | undefined;
  /** As in PassQuestion. */
  readonly query: readonly (readonly [name: string, value: string])[];
  /** Names in lower case, without those of the connection and of signatures. Values may be Latin-1, as Node returns them. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array | StreamedBody;
  /** What the store itself copies. Absent: it copies nothing. */
  readonly source?: ObjectRef | undefined;
  /** Sent twice, it does the same as once. */
  readonly mayRepeat: boolean;
}

/** The store's own answer to a write, whatever its status. */
export interface WriteAnswer {
  readonly status: number;
  /** Names in lower case, in the store's order, without headers of the connection. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
}

/**
 * The port to an object store. All methods reject with a CacheError: NOT_FOUND, PERMISSION_DENIED, FAILED_PRECONDITION (the
 * object has another version), OUT_OF_RANGE, RESOURCE_EXHAUSTED (throttled), UNAVAILABLE, CANCELLED.
 */
export interface Origin {
  fetch(request: OriginRequest): Promise<OriginAnswer>;
  ask<Q extends OriginQuestion>(question: Q): Promise<AnswerTo<Q>>;
  /** Rejects with NotWritten if the store cannot have taken the request. After all other errors it may have. */
  write(request: WriteRequest): Promise<WriteAnswer>;
  /** Closes idle connections. */
  close(): void;
}

/** Changes the behaviour of an origin. */
export type OriginWrapper = (next: Origin) => Origin;

/** An origin that does what `changes` say and leaves everything else to `next`. */
export function wrap(next: Origin, changes: Partial<Origin>): Origin {
  return {
    fetch: changes.fetch ?? ((request) => next.fetch(request)),
    ask: changes.ask ?? ((question) => next.ask(question)),
    write: changes.write ?? ((request) => next.write(request)),
    close: changes.close ?? (() => next.close()),
  };
}

/** All wrappers as one. The first is the outermost: a request passes them in the order given. */
export function compose(...wrappers: readonly OriginWrapper[]): OriginWrapper {
  return (store) => wrappers.reduceRight((next, wrapper) => wrapper(next), store);
}

/** A request or question with another signal. */
export function withSignal<R extends RequestContext>(request: R, signal: AbortSignal): R {
  return { ...request, signal };
}

/** An answer with another body. */
export function withBody({ info, isFromMember, length }: OriginAnswer, body: OriginBody): OriginAnswer {
  return { info, isFromMember, length, body };
}

/**
 * A request as one attempt sends it. All fields are named: spreading a request, whose optional fields differ, costs V8 microseconds and a
 * kilobyte of garbage.
 */
export function attemptOf(request: OriginRequest, signal: AbortSignal, permit: RequestPermit | undefined): OriginRequest {
  const { ref, offset, length, version, principal, budget, isNeeded } = request;
  const attempt: Complete<OriginRequest> = { ref, offset, length, version, principal, budget, isNeeded, signal, permit };
  return attempt;
}

/** All fields, the optional ones too, so that the compiler finds one that is forgotten. */
type Complete<Fields> = { readonly [Name in keyof Required<Fields>]: Fields[Name] };

/** Whether a further request may be sent on behalf of a request or question. */
export function mayAddRequest({ permit }: Repetition): boolean {
  return permit === undefined || permit.extra();
}

/** One function for each kind of question: how a store answers. */
export type Answers = { readonly [Q in OriginQuestion as Q["kind"]]: (question: Q) => Promise<AnswerTo<Q>> };

/** Answers a question by the function of its kind. */
export function answerBy<Q extends OriginQuestion>(answers: Answers, question: Q): Promise<AnswerTo<Q>> {
  // The compiler does not connect a question's type to the function of the same kind.
  return (answers[question.kind] as unknown as (question: Q) => Promise<AnswerTo<Q>>)(question);
}

/** Copies received bytes into a landing, until `isStopped`. */
export function landCopy(bytes: Buffer, landing: Landing, isStopped: () => boolean): void {
  for (let at = 0; at < bytes.length && !isStopped(); ) {
    const copied = bytes.copy(landing.room(), 0, at);
    at += copied;
    landing.landed(copied);
  }
}

/** The store cannot have taken a write. */
export class NotWritten extends CacheError {
  constructor(cause: CacheError) {
    super(cause.code, cause.message, { cause, isOriginTried: cause.isOriginTried, s3Code: cause.s3Code });
  }
}
