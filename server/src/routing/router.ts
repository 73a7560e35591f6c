import {
  type BucketRef,
  blockOffsetOf,
  CacheError,
  checkRange,
  checkVersion,
  type Geometry,
  type MemberList,
  type ObjectRef,
} from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import type { BlockRequest } from "../cache/block-request.js";
import type { WarmedBlock } from "../cache/block-warmer.js";
import type { CurrentRecord } from "../cache/freshness.js";
import { lacks, type Needs } from "../cache/local-cache.js";
import type { ObjectRead } from "../cache/object-read.js";
import { otherVersion } from "../origin/checked-answer.js";
import type { ListedObject, Listing, ListQuestion, PassedAnswer, PassQuestion, WriteAnswer } from "../origin/origin.js";
import type { EvictReport } from "../storage/storage-report.js";
import type { WriteQuestion, WriteThrough } from "../writes/write-through.js";
import { asRecord, BlockRouter, type BlockRouterOptions } from "./block-router.js";
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
import { MultiBlockRead } from "./multi-block-read.js";
import type { BlockHolders } from "./peer-fill.js";
import { warmObjects } from "./warming.js";

/** Owners that a client learns of for one block. FrontCache's routers name as many. */
const MOST_OWNERS = 4;

export interface RouterOptions extends BlockRouterOptions {
  readonly geometry: Geometry;
  readonly writes: Pick<WriteThrough, "run">;
  readonly holders: BlockHolders;
}

/** A version that no object has. */
const NO_VERSION = "W/";
/** How long a member may take to evict what it is asked to. */
const EVICT_TIMEOUT_MS = 30_000;

/** Answers reads of any range, block by block (BlockRouter), and all questions. */
export class Router implements Cache, MemberDirectory {
  readonly #options: RouterOptions;
  readonly #blocks: BlockRouter;
  readonly ask: Cache["ask"];

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#blocks = new BlockRouter(options);
    const { local } = options;
    this.ask = answeredBy({
      stat: (question) => this.#stat(question),
      // Listings are this member's origin's: nobody owns them.
      list: (question) => this.#list(question),
      statBucket: (question) => local.statBucket(question),
      listBuckets: (question) => local.listBuckets(question),
      pass: (question) => this.#pass(question),
      write: (question) => this.#write(question),
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

  /** Nothing is left of a bucket that was deleted, nor the absence of its objects. */
  async #write(question: WriteQuestion): Promise<WriteAnswer> {
    const answer = await this.#options.writes.run(question);
    const { ref, method, query, principal, signal } = question;
    if (answer.status === 204 && method === "DELETE" && !("key" in ref) && query.length === 0) {
      const selector = { prefix: `${ref.scheme}://${ref.bucket}/` };
      await this.#evict({ kind: "evict", selector, forwarded: false, principal, signal }).catch(() => {}); // it is missing for a while
    }
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
    const { holders } = this.#options;
    const { version, from = "" } = question;
    if (from === "" || version === undefined) return this.#options.local.warm(question);
    const block = { url: ref.url, version, offset: blockOffset };
    holders.add(block, from);
    return this.#options.local.warm(question).finally(() => holders.delete(block));
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
    request: ReadRequest,
    blockOffset: number,
    version: string | undefined,
    objectEnd?: number,
  ): ObjectRead | Promise<ObjectRead> {
    const { ref, offset, length, cachedOnly, openEnded = false, deadlineAtMs, signal, forwarded } = request;
    const { isRepeated = false, originRequests } = request;
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
      originRequests,
      deadlineAtMs,
      signal,
    };
    return this.#blocks.open(block, forwarded);
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
