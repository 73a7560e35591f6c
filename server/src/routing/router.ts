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
import { ForwardedRead } from "./forwarded-read.js";
import { Unreachable } from "./member-link.js";
import type { MemberLinks } from "./member-links.js";
import type { MemberView } from "./member-view.js";
import { MultiBlockRead } from "./multi-block-read.js";
import { type Route, routeBlock } from "./route-block.js";
import type { RoutingEvents } from "./routing-events.js";
import { UnbrokenRead } from "./unbroken-read.js";
import { warmObjects } from "./warming.js";

/** Owners that a client learns of for one block. FrontCache's routers name as many. */
const MOST_OWNERS = 4;

export interface RouterOptions {
  readonly local: LocalCache;
  readonly geometry: Geometry;
  readonly self: MemberInfo;
  readonly view: MemberView;
  readonly links: MemberLinks;
  readonly events: RoutingEvents;
}

/** How long a member may take to evict what it is asked to. */
const EVICT_TIMEOUT_MS = 30_000;

/** Answers reads of any range, block by block, each from the member that routeBlock chooses. */
export class Router implements Cache, MemberDirectory {
  readonly ask: Cache["ask"];

  constructor(private readonly options: RouterOptions) {
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
    const { geometry } = this.options;
    const blockOffset = blockOffsetOf(offset, geometry);
    const inOneBlock = length > 0 && offset + length <= blockOffset + geometry.blockBytes;
    return inOneBlock ? this.#readBlock(request, blockOffset, request.version) : this.#readBlocks(request, blockOffset);
  }

  /** host:port of the gRPC listener of the member that owns the block of a byte. */
  ownersOf(ref: ObjectRef, offset: number): readonly string[] {
    const { view, geometry, self } = this.options;
    const owners: string[] = [];
    for (const { grpcAddress } of view.current.owners(ref.url, blockOffsetOf(offset, geometry))) {
      if (owners.push(grpcAddress) === MOST_OWNERS) break;
    }
    return owners.length === 0 ? [self.grpcAddress] : owners;
  }

  /** Calls back with the member list at once, and with each new one. The returned function ends it. */
  watchMembers(listener: (list: MemberList) => void): () => void {
    return this.options.view.subscribe((membership) => listener(membership.toMessage(this.options.self.name)));
  }

  async #stat({ ref, version, signal }: StatQuestion): Promise<ObjectStat> {
    checkVersion(ref.url, version);
    const info = await this.options.local.stat(ref, version, signal);
    return { info, cachedBytes: this.options.local.cachedBytes(ref.url, info.version) };
  }

  /** Evicts here and, unless a member asked for it, at all other members. Rejects if one of them is unreachable. */
  async #evict({ selector, forwarded }: EvictQuestion): Promise<EvictReport> {
    const { self, links, local } = this.options;
    const others = forwarded ? [] : this.options.view.current.members.filter(({ name }) => name !== self.name);
    const message = {
      key: selector.url ?? selector.prefix ?? "",
      prefix: selector.url === undefined,
      version: selector.version ?? "",
      forwarded: true,
    };
    const reports = await Promise.all([
      local.evict(selector),
      ...others.map((member) => links.to(member).evict(message, EVICT_TIMEOUT_MS)),
    ]);
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
    if (blockOffset !== blockOffsetOf(blockOffset, this.options.geometry)) {
      throw new CacheError(
        "INVALID_ARGUMENT",
        `${ref.url}: no block begins at ${blockOffset}: give all members one --block-size`,
      );
    }
    return this.options.local.warm(question);
  }

  async #readBlocks(request: ReadRequest, blockOffset: number): Promise<ObjectRead> {
    const { offset, length } = request;
    const first = await this.#firstBlock(request, blockOffset);
    const { objectSize } = first.info;
    const end = length === 0 ? objectSize : Math.min(offset + length, objectSize);
    const { blockBytes } = this.options.geometry;
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
    const { ref, offset, length, version, signal } = request;
    try {
      return await this.#readBlock(request, blockOffset, version);
    } catch (error) {
      if (offset > 0 || length > 0 || !(error instanceof CacheError) || error.code !== "OUT_OF_RANGE") throw error;
      const info = await this.options.local.stat(ref, version, signal);
      if (info.objectSize > 0) throw error;
      return emptyRead(info);
    }
  }

  /** The part of the request that lies in one block; `objectEnd` is where it ends once that is known. */
  #readBlock(
    { ref, offset, length, cachedOnly, signal, forwarded }: ReadRequest,
    blockOffset: number,
    version: string | undefined,
    objectEnd?: number,
  ): ObjectRead | Promise<ObjectRead> {
    const { blockBytes } = this.options.geometry;
    const rangeEnd = objectEnd ?? (length === 0 ? Number.POSITIVE_INFINITY : offset + length);
    const block: BlockRequest = {
      ref,
      version,
      blockOffset,
      start: Math.max(0, offset - blockOffset),
      end: Math.min(blockBytes, rangeEnd - blockOffset),
      openEnded: length === 0 && objectEnd === undefined,
      cachedOnly,
      signal,
    };
    return routeBlock(block, forwarded || cachedOnly, this.#route());
  }

  #route(): Route {
    const { local, self, links } = this.options;
    return {
      self: self.name,
      membership: this.options.view.current,
      local: (block) => local.open(block),
      isAside: (member) => links.isAside(member),
      forward: (member, block) => this.#forward(member, block),
    };
  }

  /** A forwarded read that survives the loss of its member. */
  async #forward(member: MemberInfo, block: BlockRequest): Promise<ObjectRead> {
    const first = await this.#openAt(member, block);
    this.options.events.onForward("answered");
    return new UnbrokenRead(first, block, (rest) => {
      this.options.links.lost(member);
      this.options.events.onFailover("midway");
      return routeBlock(rest, false, this.#route());
    });
  }

  async #openAt(member: MemberInfo, block: BlockRequest): Promise<ObjectRead> {
    const { links, events } = this.options;
    try {
      return await ForwardedRead.open(links.to(member), block);
    } catch (error) {
      const isOutOfReach = error instanceof Unreachable;
      if (isOutOfReach) links.lost(member);
      events.onForward(isOutOfReach ? "unreachable" : "failed");
      if (isOutOfReach && !block.signal.aborted) events.onFailover("asked");
      throw error;
    }
  }
}
