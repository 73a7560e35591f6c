import { type BlockLanding, type CallLimits, Unreachable } from "@frontcache/client/members";
import {
  type BucketRef,
  blockOffsetOf,
  CacheError,
  checkRange,
  checkVersion,
  type Geometry,
  type MemberInfo,
  type MemberList,
  type ObjectInfo,
  type ObjectRef,
} from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import type { BlockRequest } from "../cache/block-request.js";
import type { WarmedBlock } from "../cache/block-warmer.js";
import type { CurrentRecord } from "../cache/freshness.js";
import { type LocalCache, lacks, type Needs } from "../cache/local-cache.js";
import type { ObjectRead } from "../cache/object-read.js";
import type { ObjectHomes } from "../objects/object-homes.js";
import { otherVersion } from "../origin/checked-answer.js";
import type { ListedObject, Listing, ListQuestion, PassedAnswer, PassQuestion } from "../origin/origin.js";
import { MAX_REQUESTS, RequestBudget } from "../origin/request-budget.js";
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
  readonly objects: ObjectHomes;
  readonly events: RoutingEvents;
}

/** Attempts of a read without a version, if the object changes between the question for its version and the read of its bytes. */
const MAX_STARTS = 3;
/** A version that no object has. */
const NO_VERSION = "W/";
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
      list: (question) => this.#list(question),
      statBucket: (question) => local.statBucket(question),
      listBuckets: (question) => local.listBuckets(question),
      pass: (question) => this.#pass(question),
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

  /** A page of the origin. Its versions are reported to the homes of the objects before a client can read what it names. */
  async #list(question: ListQuestion): Promise<Listing> {
    const listing = await this.#options.local.list(question);
    await this.#options.objects.listed(versionsOf(question.ref, listing.objects));
    return listing;
  }

  /** The origin's own answer. If it is a listing, as a page of one. */
  async #pass(question: PassQuestion): Promise<PassedAnswer> {
    const answer = await this.#options.local.pass(question);
    if (answer.listed !== undefined) await this.#options.objects.listed(versionsOf(question.ref, answer.listed));
    return answer;
  }

  /** The record is the home's, so that all members answer the same at any moment. */
  async #stat({ ref, version, signal, checksums = false, confirmed = false }: StatQuestion): Promise<ObjectStat> {
    checkVersion(ref.url, version);
    const { local, objects } = this.#options;
    // The home asks the origin about a version that it does not know.
    if (confirmed) await objects.verify(ref, NO_VERSION, signal);
    const { info, isStale } = await this.#record(ref, version, checksums ? "checksums" : "metadata", signal);
    const [cachedBytes, ageMs] = [local.cachedBytes(ref.url, info.version), local.records.ageOf(ref.url, info.version)];
    return { info, cachedBytes, isStale, ageMs };
  }

  /** The record of an object, of a version if one is given. Rejects with FAILED_PRECONDITION if another version is current. */
  async #record(ref: ObjectRef, version: string | undefined, needs: Needs, signal: AbortSignal): Promise<CurrentRecord> {
    const { local, objects } = this.#options;
    const known = version === undefined ? undefined : local.records.infoOf(ref.url, version);
    if (known !== undefined && !lacks(known, needs)) {
      const changing = objects.changing(ref.url);
      if (changing !== undefined) await untilAborted(changing, signal);
      return { info: known, isStale: false };
    }
    const current = await asRecord(objects.current(ref, signal, { needs }));
    if (version === undefined || current.info.version === version) return current;
    // The client may know of a newer version than the home.
    await objects.verify(ref, version, signal);
    const newest = await asRecord(objects.current(ref, signal, { needs }));
    if (newest.info.version !== version) throw otherVersion(ref, version);
    return newest;
  }

  /** Evicts here and, unless a member asked for it, at all other members. Rejects if one of them is unreachable. */
  async #evict({ selector, forwarded, signal }: EvictQuestion): Promise<EvictReport> {
    const { others, local, objects } = this.#options;
    const members = forwarded ? [] : others.view.current.members.filter(({ name }) => name !== others.self.name);
    const { url, prefix = "", version } = selector;
    const theirs = { ...(url === undefined ? { prefix } : { url }), ...(version !== undefined && { version }) };
    const call = others.call(url ?? prefix, signal, EVICT_TIMEOUT_MS);
    objects.forget(selector);
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
      signal: request.signal,
      open: (index, version, signal) => this.#readBlock({ ...request, signal }, blockOffset + index * blockBytes, version, end),
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
    { ref, offset, length, cachedOnly, openEnded = false, isRepeated = false, deadlineAtMs, signal, forwarded }: ReadRequest,
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
      isRepeated,
      deadlineAtMs,
      signal,
    };
    if (cachedOnly) return this.#options.local.open(block);
    const { others, objects } = this.#options;
    const { others: members } = others.route(ref.url, blockOffset, forwarded);
    // The home owns block 0, and opens it without a version. The version of any other block is asked for first.
    const isHomes = blockOffset === 0 || (members.length === 0 && objects.decides(ref.url));
    if (version === undefined && !isHomes) return this.#readCurrent(block, forwarded);
    return members.length === 0 ? this.#readHere(block) : this.#readElsewhere(members, block);
  }

  /** A read of a block's current version, which the object's home or a lease names. */
  #readCurrent(block: BlockRequest, forwarded: boolean): ObjectRead | Promise<ObjectRead> {
    const known = this.#options.objects.known(block.ref);
    if (known === undefined) return this.#readNamed(block, forwarded);
    const read = this.#readVersion({ ...block, version: known.version, record: known }, forwarded);
    return read instanceof Promise ? this.#restarting(read, known.version, block, forwarded) : read;
  }

  /** The same if the home must be asked. The requests to the origin for the record and for the block have one budget. */
  async #readNamed(request: BlockRequest, forwarded: boolean): Promise<ObjectRead> {
    const { objects } = this.#options;
    // One request counts for the question, if it succeeds.
    const block = { ...request, budget: new RequestBudget(MAX_REQUESTS - 1) };
    const {
      info,
      isStale,
      failedRequests = 0,
    } = await asRecord(objects.current(block.ref, block.signal, { budget: block.budget }));
    for (let failed = 0; failed < failedRequests; failed++) block.budget.count();
    const read = this.#readVersion({ ...block, version: info.version, record: info }, forwarded);
    const opened = await (read instanceof Promise ? this.#restarting(read, info.version, block, forwarded) : read);
    return isStale && opened.info.version === info.version ? asStale(opened) : opened;
  }

  /** Starts again with the newer version if the object has changed and no byte was sent. */
  async #restarting(read: Promise<ObjectRead>, version: string, block: BlockRequest, forwarded: boolean): Promise<ObjectRead> {
    const { objects } = this.#options;
    let [opening, rejected] = [read, version];
    for (let starts = 1; ; starts++) {
      try {
        return await opening;
      } catch (error) {
        if (!isOutdated(error) || block.signal.aborted || starts === MAX_STARTS) throw error;
      }
      const { info } = await asRecord(objects.current(block.ref, block.signal, { rejected, budget: block.budget }));
      rejected = info.version;
      opening = Promise.resolve(this.#readVersion({ ...block, version: info.version, record: info }, forwarded));
    }
  }

  #readVersion(block: BlockRequest, forwarded: boolean): ObjectRead | Promise<ObjectRead> {
    const { others: members } = this.#options.others.route(block.ref.url, block.blockOffset, forwarded);
    return members.length === 0 ? this.#readHere(block) : this.#readElsewhere(members, block);
  }

  /**
   * A read by this member. Bytes of a version are handed out only when no member answers with an older version any more, by a lease
   * or a record.
   */
  #readHere(block: BlockRequest): ObjectRead | Promise<ObjectRead> {
    const { local, objects } = this.#options;
    const { ref, version } = block;
    const changing = objects.changing(ref.url);
    if (changing !== undefined) return untilAborted(changing, block.signal).then(() => this.#readHere(block));
    if (version === undefined && !objects.decides(ref.url)) return this.#readCurrent(block, true);
    const read = local.open(block);
    return read instanceof Promise ? this.#settled(read, block) : read;
  }

  async #settled(read: Promise<ObjectRead>, block: BlockRequest): Promise<ObjectRead> {
    const { local, objects } = this.#options;
    const { ref, version, signal } = block;
    const reported = version === undefined ? undefined : objects.observed(ref, version, signal);
    reported?.catch(() => {});
    let opened: ObjectRead;
    try {
      opened = await read;
    } catch (error) {
      if (!isOutdated(error)) throw error;
      if (version !== undefined) await objects.rejected(ref, version, signal);
      else {
        // An absence is a record, too: no member may answer with a version after a client has learned of it.
        await untilAborted(objects.changing(ref.url) ?? Promise.resolve(), signal);
        if (!objects.decides(ref.url)) return this.#readHere(block);
      }
      throw error;
    }
    // Asked again: this member may have been the home until now.
    const reporting = reported ?? (version === undefined ? undefined : objects.observed(ref, version, signal));
    const changing = objects.changing(ref.url) ?? reporting;
    if (changing !== undefined) {
      try {
        await untilAborted(changing, signal);
      } catch (error) {
        opened.close();
        throw error;
      }
    }
    if (version !== undefined) return opened;
    const known = local.records.observation(ref.url);
    const isCurrent = known === undefined || known.info?.version === opened.info.version;
    if (isCurrent && objects.decides(ref.url)) return opened;
    // The read joined a request that was sent before the object changed, or another member decides now.
    opened.close();
    return this.#readHere(block);
  }

  /** A read of a block by other members; by this one if none of them can be reached, be it after the first bytes. */
  async #readElsewhere(members: readonly MemberInfo[], block: BlockRequest): Promise<ObjectRead> {
    const { others, objects } = this.#options;
    const resume = (rest: BlockRequest): ObjectRead | Promise<ObjectRead> => this.#readHere(rest);
    const fetch: Fetching["fetch"] = (landing, limits) =>
      others.first(members, (member) => this.#readAt(member, landing, limits), limits);
    try {
      const read = await others.reads.open(block, { fetch, resume });
      if (block.version === undefined) objects.agreed(block.ref.url, read.info.version);
      return read;
    } catch (error) {
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

/** The versions that a listing names. */
function* versionsOf(
  { scheme, bucket }: BucketRef,
  objects: readonly Pick<ListedObject, "key" | "version">[],
): Generator<{ ref: ObjectRef; version: string }> {
  for (const { key, version } of objects) {
    if (version === undefined) continue;
    const url = `${scheme}://${bucket}/${key}`;
    yield { ref: { url, scheme, bucket, key }, version };
  }
}

async function asRecord(current: ObjectInfo | Promise<CurrentRecord>): Promise<CurrentRecord> {
  return current instanceof Promise ? current : { info: current, isStale: false };
}

/**
 * Whether the origin has another version than the one asked for, or none any more. Absence counts, too:
 * 1. The object is deleted. Its home still answers with v1, as its record is fresh.
 * 2. A read of v1 misses block 2. The origin answers 404, and the client learns that the object is gone.
 * 3. If the home were not told, the next `stat` would return v1 again.
 */
function isOutdated(error: unknown): boolean {
  const { code } = CacheError.from(error);
  return code === "FAILED_PRECONDITION" || code === "NOT_FOUND";
}

/** The same read, of a version that nobody could confirm. */
function asStale(read: ObjectRead): ObjectRead {
  const { info, offset, length, ageMs, forwarded } = read;
  return { info, offset, length, ageMs, forwarded, result: "stale", next: () => read.next(), close: () => read.close() };
}
