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
  type ValueAnswer,
  type ValueCall,
  type ValueEventMessage,
  type WarmProgress,
  type WatchValuesRequest,
} from "@frontcache/proto";

/** The addresses of a member's listeners. */
export interface MemberAddress {
  /** `host:port` or `unix:/path` of its gRPC listener; the key of the member in tables by address. */
  readonly grpcAddress: string;
  /** `host:port` or `unix:/path` of its HTTP listener; absent: none, or unknown. */
  readonly httpAddress?: string;
}

/** The conditions that end a call early. */
export interface CallLimits {
  /** The error that ended the call early; undefined while it runs. The transport stops its work, then rejects with this error. */
  readonly ended: CacheError | undefined;
  /** Calls `listener` once when the call ends early; the returned function removes it. The call must not have `ended`. */
  onEnd(listener: () => void): () => void;
  /** Aborted with `ended` as its reason. Created on first use: it costs more than all other bookkeeping of a small read. */
  readonly signal: AbortSignal;
  /** Milliseconds until the deadline, which is sent to members; Infinity: no deadline. */
  remainingMs(): number;
}

/** A range of an object to read. */
export interface ReadRequest {
  readonly url: string;
  readonly offset: number;
  /** Bytes, at least 1; the response is shorter only if the object ends before. */
  readonly length: number;
  /** Empty: the current version. */
  readonly version: string;
  /** Sent by a member: the receiver never forwards it again. Absent: no. */
  readonly forwarded?: boolean;
  /** Return only cached bytes, or NOT_FOUND if some are missing. Absent: no. */
  readonly cachedOnly?: boolean;
  /** The client gave no end, so the object may end long before the range. Absent: it gave one. */
  readonly openEnded?: boolean;
  /** The read was requested before, and no response or only a part of it arrived. Absent: no. */
  readonly repeated?: boolean;
  /** The principal whose own credentials sign requests to the origin. Absent: the members' do. */
  readonly onBehalfOf?: string | undefined;
  /** How many requests to the origin it may still cost. Absent: as many as any first read, or as any repeated one. */
  readonly originRequests?: number | undefined;
}

/** The start of every response. */
export interface AnswerHead {
  readonly version: string;
  readonly objectSize: number;
  readonly contentType?: string | undefined;
  /** Milliseconds since 1970. */
  readonly lastModifiedMs?: number | undefined;
  /** All known further headers of the object. */
  readonly headers?: ObjectHeaders | undefined;
  /** The headers that `headers` lacks. */
  readonly lacks?: LackingHeaders | undefined;
  /** The description of the object as text, if it is cheap to compare: equal texts describe equal objects. */
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

/** Takes up to `mostBytes` bytes out of a socket in one synchronous step. Returns their number; 0 or less: none. */
export type MoveBytes = (descriptor: number, mostBytes: number) => number;

/** The source of a response, which `ReadTarget.landed` can pause. */
export interface AnswerSource {
  /** Resumes receiving. Has no effect if the response is not paused, or is over. */
  resume(): void;
  /**
   * Moves bytes of the body past `room` and `landed`. Calls `move` with the descriptor of the plain socket and the number of missing
   * bytes; `move` returns how many bytes it has taken out of the socket. Returns that number. 0: there are no bytes now, or the source
   * cannot. Must not be called by `landed`. Absent: the source cannot.
   */
  drain?(move: MoveBytes): number;
}

/**
 * The target of a range's bytes, over one or more responses: after an interrupted response its bytes are kept, and the next
 * request asks for the rest. Transports receive directly into `room` if they can; others copy.
 */
export interface ReadTarget {
  /** Whether the bytes are taken by `AnswerSource.drain`. Then the source receives as few as possible itself. Absent: no. */
  readonly isDrained?: boolean;
  /** Whether the bytes of reads like this one are taken so, also if all of them have been received already. Absent: no. */
  readonly drainsLikely?: boolean;
  /** Returns the request for the missing bytes. Its response becomes the current one. */
  nextRequest(): ReadRequest;
  /** Call when that request is sent: from then on, the member may have worked on it. */
  sent(): void;
  /**
   * Called once per response, before its bytes. Throws a CacheError for an invalid header; the transport stops and
   * rejects with that error.
   */
  open(head: AnswerHead, source: AnswerSource): void;
  /**
   * Returns the buffer for the next bytes, never empty. It belongs to the transport until `landed`, or until the read has
   * settled.
   */
  room(): Buffer;
  /**
   * Call when the first `bytes` of the room were received. Returns whether to continue: after `false` the transport pauses until
   * `AnswerSource.resume`. Bytes that were received already are still delivered.
   */
  landed(bytes: number): boolean;
}

/** The port of reads of blocks from members. */
export interface BlockTransport {
  /**
   * Fills the target completely. Rejects with a CacheError: Unreachable if the member could not be reached or the
   * connection was lost, INTERNAL for a response with missing or surplus bytes. Nothing happens after it has settled.
   */
  read(address: MemberAddress, target: ReadTarget, limits: CallLimits): Promise<void>;
  /** Closes all connections; reads must have ended. */
  close(): Promise<void>;
}

/** A member's description of an object. */
export interface ObjectStat extends ObjectInfo {
  /** Bytes of this version on the answering member's volumes. */
  readonly cachedBytes: number;
  /** No member answers with a newer version for so long, counted from when the question was sent, milliseconds. 0 or absent: no lease. */
  readonly leaseMs?: number | undefined;
}

/** A request for an object's record. */
export interface StatQuestion {
  readonly url: string;
  /** Empty: the current version. */
  readonly version: string;
  /** Sent by a member: the receiver never forwards it again. Absent: no. */
  readonly forwarded?: boolean;
  /** The answer must contain checksums, unless the origin is unavailable. Absent: they may be missing. */
  readonly checksums?: boolean;
  /** The sender answers reads by the record, for as long as the answer says. Absent: no. */
  readonly lease?: boolean;
}

/** The blocks to evict: of one object, or of all objects whose URLs begin with a prefix; of one version, or of all. */
export type EvictSelector =
  | { readonly url: string; readonly version?: string | undefined }
  | { readonly prefix: string; readonly version?: string | undefined };

/** The result of an eviction. */
export interface Evicted {
  readonly blocks: number;
  readonly bytes: number;
}

/** A block that one member should warm. */
export interface WarmBlock {
  readonly offset: number;
  /** 0: not known. */
  readonly objectSize: number;
  /** The name of a member that has the block cached. Empty: none is known. */
  readonly from: string;
}

/** Objects that one member should warm, with the help of the others. */
export interface WarmOrder {
  readonly urls: readonly string[];
  /** In addition, all objects whose URLs begin with one of these. */
  readonly prefixes: readonly string[];
  /** Empty: the current ones. */
  readonly version: string;
  /** Maximum concurrent blocks over all members. */
  readonly concurrency: number;
  readonly dryRun: boolean;
  /** Sent by a member: only this block of the single URL. Absent: whole objects. */
  readonly block?: WarmBlock;
}

/** The end of a watch: closed by the member, or never begun because the member does not support WatchMembers. */
export type WatchEnd = "ended" | "unsupported";

/** The port of calls to members other than reads. Every method rejects with a CacheError, Unreachable as in BlockTransport. */
export interface MemberCalls {
  stat(address: MemberAddress, question: StatQuestion, limits: CallLimits): Promise<ObjectStat>;
  /** `forwarded`: the receiver evicts only its own blocks. */
  evict(address: MemberAddress, selector: EvictSelector, limits: CallLimits, forwarded?: boolean): Promise<Evicted>;
  /** Warms objects, and reports their progress until all have ended. */
  warm(address: MemberAddress, order: WarmOrder, onProgress: (progress: WarmProgress) => void, limits: CallLimits): Promise<void>;
  /** Reports blocks that were read from their files; resolves with the number of them that the member has. */
  touch(address: MemberAddress, blocks: readonly BlockId[], limits: CallLimits): Promise<number>;
  /** Passes on the member list, and each change of it, until the member or the limits end the watch. */
  watchMembers(address: MemberAddress, onMembers: (list: MemberList) => void, limits: CallLimits): Promise<WatchEnd>;
  /** Resolves when the member's event loop has answered a request that needs no other member or origin. */
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
  /** Revokes the member's leases of these objects. Resolves when the member has dropped them. */
  versionChanged(address: MemberAddress, urls: readonly string[], limits: CallLimits): Promise<void>;
  /** Takes over the objects whose home the caller has become. Resolves to whether the member confirmed. */
  handOver(
    address: MemberAddress,
    request: HandOverRequest,
    onRecord: (record: HandedOverRecord) => void,
    limits: CallLimits,
  ): Promise<boolean>;
}

/**
 * Calls by which members keep values, the objects of `cache://`. Only members make them. Every method rejects as those of MemberCalls
 * do.
 */
export interface ValueCalls {
  callValues(address: MemberAddress, call: ValueCall, limits: CallLimits): Promise<ValueAnswer>;
  /** Passes on events of values whose requests the member took, until the member or the limits end the watch. */
  watchValues(
    address: MemberAddress,
    request: WatchValuesRequest,
    onEvent: (event: ValueEventMessage) => void,
    limits: CallLimits,
  ): Promise<void>;
}

/** The connections to all members. */
export interface MemberConnections {
  readonly blocks: BlockTransport;
  readonly calls: MemberCalls;
  readonly objects: ObjectCalls;
  readonly values: ValueCalls;
  /** Closes the connections to all other members after their running calls. */
  keepOnly(addresses: readonly MemberAddress[]): void;
  /** Uses new connections for further calls; running calls end on theirs. */
  renew(): void;
  /** Closes all connections. No method may be called afterwards. */
  close(): Promise<void>;
}

/** The member could not be reached, or the connection was lost: another member may answer. */
export class Unreachable extends CacheError {
  /** Whether the member itself does not respond, over any protocol. */
  readonly isGone: boolean;
  /** Whether a response had begun. */
  readonly hadBegun: boolean;
  /** Whether the member may have received the request. */
  readonly wasSent: boolean;

  constructor(message: string, options: { cause?: unknown; isGone?: boolean; hadBegun?: boolean; wasSent?: boolean } = {}) {
    super("UNAVAILABLE", message, options);
    this.wasSent = options.wasSent !== false;
    this.isGone = options.isGone === true;
    this.hadBegun = options.hadBegun === true;
  }
}
