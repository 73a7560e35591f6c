import { type BlockLanding, type CallLimits, Unreachable } from "@frontcache/client/members";
import {
  blockOffsetOf,
  CacheError,
  checkRange,
  checkVersion,
  type Geometry,
  type MemberInfo,
  type MemberList,
  type ObjectRef,
} from "@frontcache/proto";
import type { BlockRequest } from "../cache/block-request.js";
import type { WarmedBlock } from "../cache/block-warmer.js";
import type { LocalCache } from "../cache/local-cache.js";
import type { ObjectRead } from "../cache/object-read.js";
import type { EvictReport } from "../storage/storage-report.js";
import {
  answeredBy,
  type Cache,
  type EvictQuestion,
  type MemberDirectory,
  type ObjectStat,
  type ReadRequest,
  type StatQuestion,
  type WarmBlockQuestion,
} from "./cache.js";
import { emptyRead } from "./empty-read.js";
import type { Fetching } from "./member-read.js";
import { MultiBlockRead } from "./multi-block-read.js";
import type { OtherMembers } from "./other-members.js";
import type { RoutingEvents } from "./routing-events.js";
import { warmObjects } from "./warming.js";

/** Owners that a client learns of for one block. FrontCache's routers name as many. */
const MOST_OWNERS = 4;

export interface RouterOptions {
  readonly local: LocalCache;
  readonly geometry: Geometry;
  readonly others: OtherMembers;
  readonly events: RoutingEvents;
}

/** How long a member may take to evict what it is asked to. */
const EVICT_TIMEOUT_MS = 30_000;

/** Answers reads of any range, block by block, each by the member that `OtherMembers.route` chooses. */
export class Router implements Cache, MemberDirectory {
  readonly #options: RouterOptions;

  readonly ask: Cache["ask"];

  constructor(options: RouterOptions) {
    this.#options = options;
    const { local } = options;
    this.ask = answeredBy({
      stat: (question) => this.#stat(question),
      // Listings are this member's origin's: nobody owns them.
      list: (question) => local.list(question),
      statBucket: (question) => local.statBucket(question),
      evict: (question) => this.#evict(question),
      warm: async (question) => void (await warmObjects(question, question.report, options)),
      warmBlock: (question) => this.#warmBlock(question),
      touch: async ({ blocks }) => local.recordUses(blocks),
    });
  }

  open(request: ReadRequest): ObjectRead | Promise<ObjectRead> {
    const { ref, offset, length } = request;
    checkRange(ref.url, offset, length);
    checkVersion(ref.url, request.version);
    const { geometry } = this.#options;
    const blockOffset = blockOffsetOf(offset, geometry);
    const inOneBlock = length > 0 && offset + length <= blockOffset + geometry.blockBytes;
    return inOneBlock ? this.#readBlock(request, blockOffset, request.version) : this.#readBlocks(request, blockOffset);
  }

  /** host:port of the gRPC listener of the member that owns the block of a byte. */
  ownersOf(ref: ObjectRef, offset: number): readonly string[] {
    const { others, geometry } = this.#options;
    const { self, view } = others;
    const owners: string[] = [];
    for (const { grpcAddress } of view.current.owners(ref.url, blockOffsetOf(offset, geometry))) {
      if (owners.push(grpcAddress) === MOST_OWNERS) break;
    }
    return owners.length === 0 ? [self.grpcAddress] : owners;
  }

  /** Calls back with the member list at once, and with each new one. The returned function ends it. */
  watchMembers(listener: (list: MemberList) => void): () => void {
    const { self, view } = this.#options.others;
    return view.subscribe((membership) => listener(membership.toMessage(self.name)));
  }

  /** Asked at the object's home, so that all members tell the same at any moment. */
  async #stat({ ref, version, signal, forwarded = false, checksums = false }: StatQuestion): Promise<ObjectStat> {
    checkVersion(ref.url, version);
    const { others, local } = this.#options;
    const { others: members } = others.route(ref.url, 0, forwarded);
    if (members.length > 0) {
      const call = others.call(ref.url, signal);
      const question = { url: ref.url, version: version ?? "", forwarded: true, checksums };
      try {
        const { cachedBytes, ...info } = await others.first(
          members,
          (member) => others.connections.calls.stat(member, question, call),
          call,
        );
        return { info, cachedBytes };
      } catch (error) {
        if (!(error instanceof Unreachable) || signal.aborted) throw error;
      } finally {
        call.end();
      }
    }
    const info = await local.stat(ref, version, signal, checksums ? "checksums" : "metadata");
    return { info, cachedBytes: local.cachedBytes(ref.url, info.version) };
  }

  /** Evicts here and, unless a member asked for it, at all other members. Rejects if one of them is unreachable. */
  async #evict({ selector, forwarded, signal }: EvictQuestion): Promise<EvictReport> {
    const { others, local } = this.#options;
    const members = forwarded ? [] : others.view.current.members.filter(({ name }) => name !== others.self.name);
    const { url, prefix = "", version } = selector;
    const theirs = { ...(url === undefined ? { prefix } : { url }), ...(version !== undefined && { version }) };
    const call = others.call(url ?? prefix, signal, EVICT_TIMEOUT_MS);
    const reports = await Promise.all([
      local.evict(selector),
      ...members.map((member) => others.connections.calls.evict(member, theirs, call, true)),
    ]).finally(() => call.end());
    return reports.reduce((sum, { blocks, bytes }) => ({ blocks: sum.blocks + blocks, bytes: sum.bytes + bytes }), {
      blocks: 0,
      bytes: 0,
    });
  }

  /** Warms one block here, whoever owns it. */
  async #warmBlock(question: WarmBlockQuestion): Promise<WarmedBlock> {
    const { ref, blockOffset } = question;
    checkRange(ref.url, blockOffset, 0);
    checkVersion(ref.url, question.version);
    if (blockOffset !== blockOffsetOf(blockOffset, this.#options.geometry)) {
      throw new CacheError(
        "INVALID_ARGUMENT",
        `${ref.url}: no block begins at ${blockOffset}: give all members one --block-size`,
      );
    }
    return this.#options.local.warm(question);
  }

  async #readBlocks(request: ReadRequest, blockOffset: number): Promise<ObjectRead> {
    const { offset, length } = request;
    const first = await this.#firstBlock(request, blockOffset);
    const { objectSize } = first.info;
    const end = length === 0 ? objectSize : Math.min(offset + length, objectSize);
    const { blockBytes } = this.#options.geometry;
    const blocks = Math.ceil((end - blockOffset) / blockBytes);
    if (blocks <= 1) return first;
    return new MultiBlockRead({
      first,
      length: end - offset,
      blocks,
      open: (index, version) => this.#readBlock(request, blockOffset + index * blockBytes, version, end),
    });
  }

  /** The whole of an empty object has no first block, and yet there is nothing wrong with it. */
  async #firstBlock(request: ReadRequest, blockOffset: number): Promise<ObjectRead> {
    const { offset, length, version } = request;
    try {
      return await this.#readBlock(request, blockOffset, version);
    } catch (error) {
      if (offset > 0 || length > 0 || !(error instanceof CacheError) || error.code !== "OUT_OF_RANGE") throw error;
      const { info } = await this.#stat({ ...request, kind: "stat", version });
      if (info.objectSize > 0) throw error;
      return emptyRead(info);
    }
  }

  /** The part of the request that lies in one block; `objectEnd` is where it ends once that is known. */
  #readBlock(
    { ref, offset, length, cachedOnly, openEnded = false, isResumed = false, signal, forwarded }: ReadRequest,
    blockOffset: number,
    version: string | undefined,
    objectEnd?: number,
  ): ObjectRead | Promise<ObjectRead> {
    const { blockBytes } = this.#options.geometry;
    const rangeEnd = objectEnd ?? (length === 0 ? Number.POSITIVE_INFINITY : offset + length);
    const block: BlockRequest = {
      ref,
      version,
      blockOffset,
      start: Math.max(0, offset - blockOffset),
      end: Math.min(blockBytes, rangeEnd - blockOffset),
      openEnded: openEnded || (length === 0 && objectEnd === undefined),
      cachedOnly,
      isResumed,
      signal,
    };
    const { others } = this.#options;
    const { others: members } = others.route(ref.url, blockOffset, forwarded || cachedOnly);
    return members.length === 0 ? this.#readHere(block) : this.#readElsewhere(members, block);
  }

  #readHere(block: BlockRequest): ObjectRead | Promise<ObjectRead> {
    return this.#options.local.open(block);
  }

  /** A read of a block by other members; by this one if none of them can be reached, be it after the first bytes. */
  async #readElsewhere(members: readonly MemberInfo[], block: BlockRequest): Promise<ObjectRead> {
    const { local, others } = this.#options;
    const resume = (rest: BlockRequest): ObjectRead | Promise<ObjectRead> => this.#readHere(rest);
    const fetch: Fetching["fetch"] = (landing, limits) =>
      others.first(members, (member) => this.#readAt(member, landing, limits), limits);
    try {
      return await others.reads.open(block, { fetch, resume });
    } catch (error) {
      const { code } = CacheError.from(error);
      // The owner has learned it from the origin: what this member remembers is out of date, too.
      if (code === "FAILED_PRECONDITION" && block.version !== undefined) local.records.reject(block.ref.url, block.version);
      if (!(error instanceof Unreachable) || block.signal.aborted) throw error;
      return this.#readHere(block);
    }
  }

  async #readAt(member: MemberInfo, landing: BlockLanding, limits: CallLimits): Promise<void> {
    const { others, events } = this.#options;
    const before = landing.landedBytes;
    try {
      await others.connections.blocks.read(member, landing, limits);
      if (before === 0) events.onForward("answered");
    } catch (error) {
      const isUnreachable = error instanceof Unreachable;
      const hasBegun = landing.landedBytes > before;
      if (before === 0) events.onForward(hasBegun ? "answered" : isUnreachable ? "unreachable" : "failed");
      if (isUnreachable && limits.ended === undefined) events.onFailover(landing.landedBytes > 0 ? "midway" : "asked");
      throw error;
    }
  }
}
