import {
  type BlockId,
  CacheError,
  type CacheStatus,
  type HandedOverRecord,
  type HandOverRequest,
  type LackingHeaders,
  type LookUpRecordsRequest,
  type MemberList,
  type ObjectHeaders,
  type ObjectInfo,
  type RecordAnswer,
  type RenewLeasesRequest,
  type RenewLeasesResponse,
  type WarmProgress,
} from "@frontcache/proto";

/** Where a member listens. */
export interface MemberAddress {
  /** `host:port` of its gRPC listener; identifies the member wherever it is remembered by address. */
  readonly grpcAddress: string;
  /** `host:port` of its HTTP listener; absent: it has none, or it isn't known. */
  readonly httpAddress?: string;
}

/** What ends a call before it is done. */
export interface CallLimits {
  /** Why the call has ended early; undefined while it has not. The transport stops its work, then rejects with this error. */
  readonly ended: CacheError | undefined;
  /** Calls `listener` once when the call ends early; the returned function removes it. Not for a call that has `ended`. */
  onEnd(listener: () => void): () => void;
  /** Aborted with `ended` as its reason. Created on first use: it costs more than all other bookkeeping of a small read. */
  readonly signal: AbortSignal;
  /** Milliseconds until the deadline, which is sent to members; Infinity: there is none. */
  remainingMs(): number;
}

/** A range of an object to read. */
export interface ReadRequest {
  readonly url: string;
  readonly offset: number;
  /** Bytes, at least 1; the answer is shorter only where the object ends. */
  readonly length: number;
  /** Empty: the current version. */
  readonly version: string;
  /** A member sends it: the receiver never forwards it again. Absent: no. */
  readonly forwarded?: boolean;
  /** Answer with cached bytes, or with NOT_FOUND if some are missing. Absent: no. */
  readonly cachedOnly?: boolean;
  /** The client did not say where the read ends, so that the object may end long before the range does. Absent: it did. */
  readonly openEnded?: boolean;
  /** An answer to this read was interrupted after its head. Absent: no. */
  readonly resumed?: boolean;
}

/** What every answer begins with. */
export interface AnswerHead {
  readonly version: string;
  readonly objectSize: number;
  readonly contentType?: string | undefined;
  /** Milliseconds since 1970. */
  readonly lastModifiedMs?: number | undefined;
  /** All further headers of the object that the member knows. */
  readonly headers?: ObjectHeaders | undefined;
  /** What `headers` lacks. */
  readonly lacks?: LackingHeaders | undefined;
  /** All that the answer says of the object, as text, if that is cheap to compare: equal texts describe equal objects. */
  readonly objectLines?: string | undefined;
  /** How the member's cache answered. Undefined: it did not say. */
  readonly cached?: CacheReport | undefined;
}

/** How a member's cache answered. */
export interface CacheReport {
  readonly status: CacheStatus;
  /** How long ago the origin named this version as the current one, seconds. Undefined: the member does not say. */
  readonly ageSeconds: number | undefined;
}

/** The sender of a running answer, which can be paused by `ReadTarget.landed`. */
export interface AnswerSource {
  /** Receives again. Has no effect if the answer isn't paused, or is over. */
  resume(): void;
}

/**
 * Where the bytes of a range land, over as many answers as it takes: an interrupted answer leaves its bytes, and the next
 * request asks for the rest. A transport that can receives directly into `room`; another one copies.
 */
export interface ReadTarget {
  /** The request for the bytes that are missing. The answer to it is the running one from here on. */
  nextRequest(): ReadRequest;
  /**
   * Called once per answer, before any of its bytes. Throws a CacheError for a head that can't be right; the transport stops and
   * rejects with that error.
   */
  open(head: AnswerHead, source: AnswerSource): void;
  /** Memory for the next bytes, never empty. It belongs to the transport until `landed`, or until the read has settled. */
  room(): Buffer;
  /**
   * The first `bytes` of the room have been received. Returns whether more may come: after `false` the transport pauses until
   * `AnswerSource.resume`. Bytes that are received already still land.
   */
  landed(bytes: number): boolean;
}

/** Bytes of blocks from members. */
export interface BlockTransport {
  /**
   * Fills the target to the last byte. Rejects with a CacheError: Unreachable if the member could not be reached or the
   * connection to it broke, INTERNAL for an answer with missing or surplus bytes. Nothing happens after it has settled.
   */
  read(address: MemberAddress, target: ReadTarget, limits: CallLimits): Promise<void>;
  /** Closes all connections; reads must have ended. */
  close(): Promise<void>;
}

/** What a member knows of an object. */
export interface ObjectStat extends ObjectInfo {
  /** Bytes of this version on the answering member's volumes. */
  readonly cachedBytes: number;
}

/** A question for an object's record. */
export interface StatQuestion {
  readonly url: string;
  /** Empty: the current version. */
  readonly version: string;
  /** A member sends it: the receiver never forwards it again. Absent: no. */
  readonly forwarded?: boolean;
  /** The answer must not lack checksums, unless the origin cannot be asked for them. Absent: it may. */
  readonly checksums?: boolean;
}

/** Which blocks to evict: those of one object, or of all objects whose URLs begin with a prefix; of one version, or of all. */
export type EvictSelector =
  | { readonly url: string; readonly version?: string }
  | { readonly prefix: string; readonly version?: string };

/** What an eviction freed. */
export interface Evicted {
  readonly blocks: number;
  readonly bytes: number;
}

/** Objects for one member to have warmed. */
export interface WarmOrder {
  readonly urls: readonly string[];
  /** All objects whose URLs begin with one of these, too. */
  readonly prefixes: readonly string[];
  /** Empty: the current ones. */
  readonly version: string;
  /** Blocks at a time, at all members together. */
  readonly concurrency: number;
  readonly dryRun: boolean;
  /** A member sends it: only this block of the one URL. Absent: whole objects. */
  readonly block?: { readonly offset: number /** 0: not known. */; readonly objectSize: number };
}

/** How a watch came to its end: closed by the member, or never begun because the member does not know WatchMembers. */
export type WatchEnd = "ended" | "unsupported";

/** All calls to members but reads of bytes. Every method rejects with a CacheError, Unreachable as in BlockTransport. */
export interface MemberCalls {
  stat(address: MemberAddress, question: StatQuestion, limits: CallLimits): Promise<ObjectStat>;
  /** `forwarded`: the receiver evicts its own blocks only. */
  evict(address: MemberAddress, selector: EvictSelector, limits: CallLimits, forwarded?: boolean): Promise<Evicted>;
  /** Reports the progress of the objects, until all have ended. */
  warm(address: MemberAddress, order: WarmOrder, onProgress: (progress: WarmProgress) => void, limits: CallLimits): Promise<void>;
  /** Reports blocks that were read from their files; resolves to the number of them that the member has. */
  touch(address: MemberAddress, blocks: readonly BlockId[], limits: CallLimits): Promise<number>;
  /** Hands over the member list now and whenever it changes, until the member or the limits end it. */
  watchMembers(address: MemberAddress, onMembers: (list: MemberList) => void, limits: CallLimits): Promise<WatchEnd>;
  /** Resolves when the member's event loop has answered a question that needs nobody else. */
  probe(address: MemberAddress, limits: CallLimits): Promise<void>;
}

/** Calls by which members agree about objects. Only members make them. Every method rejects as those of MemberCalls do. */
export interface ObjectCalls {
  /** Asks for the records of objects. Calls back with each answer as it arrives; resolves when all have. */
  lookUpRecords(
    address: MemberAddress,
    request: LookUpRecordsRequest,
    onAnswer: (answer: RecordAnswer) => void,
    limits: CallLimits,
  ): Promise<void>;
  /** Extends leases that the member granted. */
  renewLeases(address: MemberAddress, request: RenewLeasesRequest, limits: CallLimits): Promise<RenewLeasesResponse>;
  /** Revokes the leases of these objects that the member holds. Resolves when it has dropped them. */
  versionChanged(address: MemberAddress, urls: readonly string[], limits: CallLimits): Promise<void>;
  /** Takes over the objects whose home the caller has become. Resolves to whether the member confirmed. */
  handOver(
    address: MemberAddress,
    request: HandOverRequest,
    onRecord: (record: HandedOverRecord) => void,
    limits: CallLimits,
  ): Promise<boolean>;
}

/** The ways to all members. */
export interface MemberConnections {
  readonly blocks: BlockTransport;
  readonly calls: MemberCalls;
  readonly objects: ObjectCalls;
  /** Closes the connections to all other members; calls that run on them come to their end. */
  keepOnly(addresses: readonly MemberAddress[]): void;
  /** Makes new connections from now on; calls that run end on the ones that they have. */
  renew(): void;
  /** Closes all connections. Nothing may be called afterwards. */
  close(): Promise<void>;
}

/** The member could not be reached, or the connection to it broke: another member may answer. */
export class Unreachable extends CacheError {
  /** The member itself does not respond, by whatever protocol. */
  readonly isGone: boolean;
  /** An answer had begun. */
  readonly hadBegun: boolean;

  constructor(message: string, options: { cause?: unknown; isGone?: boolean; hadBegun?: boolean } = {}) {
    super("UNAVAILABLE", message, options);
    this.isGone = options.isGone === true;
    this.hadBegun = options.hadBegun === true;
  }
}
