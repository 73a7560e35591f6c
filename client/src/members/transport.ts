import { type BlockId, CacheError, type Membership, type ObjectInfo, type WarmProgress } from "@frontcache/proto";

/** Where a member is reached. */
export interface MemberAddress {
  /** `host:port` of its gRPC listener; it stands for the member wherever one is remembered by address. */
  readonly grpcAddress: string;
  /** `host:port` of its gateway; absent: it has none, or it isn't known. */
  readonly httpAddress?: string;
}

/** What ends a call before it is done. */
export interface CallLimits {
  /** Why the call has ended early; undefined while it has not. The transport stops what it does, then rejects with it. */
  readonly ended: CacheError | undefined;
  /** Calls `listener` once when the call ends early; the returned function takes it away. Not for a call that has `ended`. */
  onEnd(listener: () => void): () => void;
  /** Aborted with `ended` as its reason. Made when first asked for: it costs more than all else of a small read's bookkeeping. */
  readonly signal: AbortSignal;
  /** Milliseconds until the deadline ends the call, for members to know; Infinity: there is none. */
  remainingMs(): number;
}

/** A part of an object to read. */
export interface ReadRequest {
  readonly url: string;
  readonly offset: number;
  /** Bytes, at least 1; the answer is shorter only where the object ends. */
  readonly length: number;
  /** Empty: the current version. */
  readonly version: string;
}

/** What every answer begins with. */
export interface AnswerHead {
  readonly version: string;
  readonly objectSize: number;
}

/** Where an answer lands. A transport that can, has the bytes received in the opened buffer at once; one that can't, copies. */
export interface ReadTarget {
  /**
   * Called once, before any byte lands. Returns where the bytes belong: a buffer of exactly the length that the member has to
   * send, at least 1. Throws a CacheError for a head that can't be right; the transport stops and rejects with it.
   */
  open(head: AnswerHead): Buffer;
  /** The first `bytes` of the opened buffer are there. */
  landed(bytes: number): void;
}

/** What a member knows of an object. */
export interface ObjectStat extends ObjectInfo {
  /** Bytes of this version on the answering member's volumes. */
  readonly cachedBytes: number;
}

/** Which blocks to drop: those of one object, or of all objects whose URLs start alike; of one version, or of all. */
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
  /** All objects whose URLs begin like one of these, too. */
  readonly prefixes: readonly string[];
  /** Empty: the current ones. */
  readonly version: string;
  /** Blocks at a time, at all members together. */
  readonly concurrency: number;
  readonly dryRun: boolean;
}

/** How a watch came to its end: closed in good order, or never begun because the member does not know it. */
export type WatchEnd = "ended" | "unsupported";

/**
 * How members are talked to. Every method rejects with a CacheError, Unreachable where the member itself could not be reached;
 * after it has settled, nothing more of the call happens.
 */
export interface Transport {
  /** Fills the target to the last byte, or rejects: INTERNAL for an answer with bytes missing or left over. */
  read(address: MemberAddress, request: ReadRequest, target: ReadTarget, limits: CallLimits): Promise<void>;
  stat(address: MemberAddress, url: string, version: string, limits: CallLimits): Promise<ObjectStat>;
  evict(address: MemberAddress, selector: EvictSelector, limits: CallLimits): Promise<Evicted>;
  /** Hands over how far the objects are, until all have ended. */
  warm(address: MemberAddress, order: WarmOrder, onProgress: (progress: WarmProgress) => void, limits: CallLimits): Promise<void>;
  /** Tells a member of blocks that were read from their files; resolves to how many of them it holds. */
  touch(address: MemberAddress, blocks: readonly BlockId[], limits: CallLimits): Promise<number>;
  /** Hands over the member list now and whenever it changes, until the member or the limits end it. */
  watchMembers(
    address: MemberAddress,
    onMembers: (message: Parameters<typeof Membership.fromMessage>[0]) => void,
    limits: CallLimits,
  ): Promise<WatchEnd>;
  /** Resolves when a connection to the member stands. */
  probe(address: MemberAddress, limits: CallLimits): Promise<void>;
  /** Lets go of connections to all other members; calls that run on them come to their end. */
  keepOnly(addresses: readonly MemberAddress[]): void;
  /** Lets go of all connections. Nothing may be called afterwards. */
  close(): Promise<void>;
}

/** The member could not be reached, or the connection to it broke: another member may answer, this one is left aside. */
export class Unreachable extends CacheError {
  constructor(message: string, options?: { cause?: unknown }) {
    super("UNAVAILABLE", message, options);
  }
}
