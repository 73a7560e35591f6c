import { type BlockLanding, type CallLimits, Unreachable } from "@frontcache/client/members";
import type { MemberInfo, ObjectInfo } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import { isOutdated } from "../cache/block-read.js";
import type { BlockRequest } from "../cache/block-request.js";
import type { CurrentRecord } from "../cache/freshness.js";
import type { LocalCache } from "../cache/local-cache.js";
import type { ObjectRead } from "../cache/object-read.js";
import type { ObjectHomes } from "../objects/object-homes.js";
import { requestBudget } from "../origin/request-budget.js";
import type { Fetching } from "./member-read.js";
import type { OtherMembers } from "./other-members.js";
import type { RoutingEvents } from "./routing-events.js";

export interface BlockRouterOptions {
  readonly local: LocalCache;
  readonly others: OtherMembers;
  readonly objects: ObjectHomes;
  readonly events: RoutingEvents;
}

/** Attempts of a read without a version, if the object changes between the question for its version and the read of its bytes. */
const MAX_STARTS = 3;

/**
 * The distributed read of one block: by this member if it owns the block, else by the owner, else by the next member on the ring that
 * can be reached. A read without a version reads the version that the home of the object names.
 */
export class BlockRouter {
  readonly #options: BlockRouterOptions;
  readonly #fromMembers: FromMembersOptions;

  constructor(options: BlockRouterOptions) {
    this.#options = options;
    this.#fromMembers = { ...options, readHere: (block) => this.#readHere(block) };
  }

  /** Opens a read. `forwarded`: another member sent it, so that this member answers. */
  open(block: BlockRequest, forwarded: boolean): ObjectRead | Promise<ObjectRead> {
    const { local, others, objects } = this.#options;
    const { ref, version, blockOffset, cachedOnly } = block;
    if (cachedOnly) return local.open(block);
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
    const { objects, local } = this.#options;
    const before = request.isRepeated === true ? local.recentBudget(request) : undefined;
    if (before?.isExhausted === true) throw before.finalError(request.ref.url);
    const budget = before ?? request.budget ?? requestBudget(request);
    const block = { ...request, budget };
    const current = await asRecord(objects.current(block.ref, block.signal, { budget }));
    const { info, isStale, failedRequests = 0, lostRequests = 0 } = current;
    // The question that has succeeded counts, too.
    budget.count();
    budget.countFailed(failedRequests);
    budget.countLost(lostRequests);
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
      await objects.outdated(ref, version, signal);
      if (version === undefined && !objects.decides(ref.url)) return this.#readAgain(block);
      throw error;
    }
    // Asked again: this member may have been the home until now.
    const reporting = reported ?? (version === undefined ? undefined : objects.observed(ref, version, signal));
    reporting?.catch(() => {});
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
    try {
      const { info, isStale } = await asRecord(objects.current(ref, signal));
      if (info.version === opened.info.version) return isStale ? asStale(opened) : opened;
    } catch (error) {
      opened.close();
      throw error;
    }
    opened.close();
    return this.#readAgain(block);
  }

  /** The same read by this member once more, with what is left of its budget. */
  #readAgain(block: BlockRequest): ObjectRead | Promise<ObjectRead> {
    return this.#readHere({ ...block, budget: block.budget ?? this.#options.local.recentBudget(block) });
  }

  /** A read of a block by other members; by this one if none of them can be reached, be it after the first bytes. */
  #readElsewhere(members: readonly MemberInfo[], block: BlockRequest): Promise<ObjectRead> {
    return this.#options.others.reads.open(block, new FromMembers(members, block, this.#fromMembers));
  }
}

interface FromMembersOptions extends Pick<BlockRouterOptions, "others" | "objects" | "events"> {
  readHere(block: BlockRequest): ObjectRead | Promise<ObjectRead>;
}

/** Fetches the bytes of one read from the first member that can be reached. */
class FromMembers implements Fetching {
  readonly #members: readonly MemberInfo[];
  readonly #block: BlockRequest;
  readonly #options: FromMembersOptions;

  constructor(members: readonly MemberInfo[], block: BlockRequest, options: FromMembersOptions) {
    this.#members = members;
    this.#block = block;
    this.#options = options;
  }

  fetch(landing: BlockLanding, limits: CallLimits): Promise<void> {
    return this.#options.others.first(this.#members, (member) => this.#readAt(member, landing, limits), limits);
  }

  opened({ version }: ObjectInfo): void {
    if (this.#block.version === undefined) this.#options.objects.agreed(this.#block.ref.url, version);
  }

  resume(rest: BlockRequest): ObjectRead | Promise<ObjectRead> {
    return this.#options.readHere(rest);
  }

  #readAt(member: MemberInfo, landing: BlockLanding, limits: CallLimits): Promise<void> {
    const { others, events } = this.#options;
    const before = landing.landedBytes;
    return others.connections.blocks.read(member, landing, limits).then(
      () => {
        if (before === 0) events.onForward("answered");
      },
      (error: unknown) => {
        const isUnreachable = error instanceof Unreachable;
        const hasBegun = landing.landedBytes > before;
        if (before === 0) events.onForward(hasBegun ? "answered" : isUnreachable ? "unreachable" : "failed");
        if (isUnreachable && limits.ended === undefined) events.onFailover(landing.landedBytes > 0 ? "midway" : "asked");
        throw error;
      },
    );
  }
}

/** The record, whether it is known or asked for. */
export async function asRecord(current: ObjectInfo | Promise<CurrentRecord>): Promise<CurrentRecord> {
  return current instanceof Promise ? current : { info: current, isStale: false };
}

/** The same read, of a version that nobody could confirm. */
function asStale(read: ObjectRead): ObjectRead {
  const { info, offset, length, ageMs, forwarded } = read;
  return {
    info,
    offset,
    length,
    ageMs,
    forwarded,
    result: "stale",
    next: (mayPipe) => read.next(mayPipe),
    close: () => read.close(),
  };
}
