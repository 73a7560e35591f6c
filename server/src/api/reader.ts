import type { BlockId, BucketRef, MemberList, ObjectInfo, ObjectRef, PrefixRef, WarmProgress } from "@frontcache/proto";
import type { WarmedBlock, WarmRequest } from "../cache/block-warmer.js";
import type { ObjectRead } from "../cache/object-read.js";
import type { Listing, ListPage } from "../origin/origin.js";
import type { ReadRequest } from "../routing/router.js";
import type { WarmingRequest } from "../routing/warming.js";
import type { EvictReport, EvictSelector } from "../storage/storage-report.js";

/**
 * What a listener asks of the cache behind it. Every method throws or rejects with a CacheError. An aborted signal ends what
 * waits, a running `next` of the read included.
 */
export interface Reader {
  /** Opens a read of any range whose form is right. */
  read(request: ReadRequest): ObjectRead | Promise<ObjectRead>;
  /** `heldBytes`: bytes of that version on this member's volumes. */
  stat(ref: ObjectRef, version: string | undefined, signal: AbortSignal): Promise<{ info: ObjectInfo; heldBytes: number }>;
  /** One page of the objects under a prefix, as the origin lists it now. NOT_FOUND: no such bucket. */
  list(ref: PrefixRef, page: ListPage, signal: AbortSignal): Promise<Listing>;
  /** Resolves where the bucket is there and may be listed. */
  statBucket(ref: BucketRef, signal: AbortSignal): Promise<void>;
  /** `forwarded`: a member sent it, evict here only. */
  evict(selector: EvictSelector & { readonly forwarded: boolean }, signal: AbortSignal): Promise<EvictReport>;
  /** Has objects warmed by their blocks' owners. Resolves when all have been told to have ended, well or not. */
  warm(request: WarmingRequest, tell: (progress: WarmProgress) => Promise<void>): Promise<void>;
  /** Warms one block here, because a member asks for it. */
  warmBlock(request: WarmRequest): Promise<WarmedBlock>;
  /** Notes uses of blocks that others saw; returns how many of them this member holds. */
  touch(blocks: readonly BlockId[]): number;
  /** `host:port` of the gRPC listener of the member that owns the block at `offset`. */
  ownerOf(ref: ObjectRef, offset: number): string;
  /** Calls back with the member list at once, and with each new one. The returned function ends it. */
  watchMembers(listener: (list: MemberList) => void): () => void;
}
