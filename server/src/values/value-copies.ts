import { CacheError, type MemberInfo, type ValueEntry } from "@frontcache/proto";
import { SingleFlight } from "@frontcache/proto/runtime";
import type { Draft } from "./draft.js";
import type { HybridClock } from "./hybrid-clock.js";
import type { HeldEntry } from "./value-entries.js";
import type { ValueHolder } from "./value-holder.js";
import type { Placement, ValueMembers } from "./value-members.js";
import type { ValueService } from "./value-service.js";

/** A member's knowledge that is older does not count: it asks for each value then. */
export const FRESH_MS = 2_000;

/** A member's knowledge of another one's changes. */
export interface Freshness {
  /** Whether this member knows all changes of all others that concern a value. At once, without asking. */
  isSettled(url: string): boolean;
}

export interface ValueCopiesOptions {
  readonly holder: ValueHolder;
  readonly members: ValueMembers;
  readonly placement: Placement;
  readonly versions: HybridClock;
  readonly freshness: Freshness;
  /** Asks other members. */
  readonly service: Pick<ValueService, "ask">;
  /** Aborted when the member closes. */
  readonly closing: AbortSignal;
}

/** This member cannot keep a copy of a value that others have: its bucket's share is used, or the bytes did not arrive. */
export class NotCopied extends CacheError {
  /** Members that have the bytes. */
  readonly sources: readonly MemberInfo[];
  /** There is no space here. */
  readonly isFull: boolean;

  constructor(url: string, sources: readonly MemberInfo[], cause: CacheError) {
    super("UNAVAILABLE", `${url}: cannot copy the value from another member: ${cause.message}`, { cause });
    this.sources = sources;
    this.isFull = cause.code === "RESOURCE_EXHAUSTED";
  }
}

/** Brings values to this member: the newest version that any member has, with its bytes. */
export class ValueCopies {
  repaired = 0;
  readonly #options: ValueCopiesOptions;
  readonly #catching = new SingleFlight<string, void>();
  readonly #copying = new SingleFlight<string, boolean>();

  constructor(options: ValueCopiesOptions) {
    this.#options = options;
  }

  /**
   * The value with its bytes at this member, as new as any member has it. Undefined: it is missing. Copies it from others if need be.
   * Rejects with NotCopied if others have it, and this member cannot.
   */
  ensure(url: string, signal: AbortSignal): HeldEntry | undefined | Promise<HeldEntry | undefined> {
    const { holder, freshness } = this.#options;
    if (freshness.isSettled(url)) {
      const held = holder.readable(url);
      if (held !== undefined || holder.entries.live(url, holder.nowMs) === undefined) return held;
    }
    return this.catchUp(url, signal);
  }

  /**
   * Copies a version from another member, once for all who ask at a time. Resolves with whether this member has it now. Rejects with
   * NotCopied.
   */
  copy(entry: ValueEntry, sources: readonly MemberInfo[]): Promise<boolean> {
    return this.#copying.run(`${entry.version} ${entry.url}`, () => this.#copy(entry, sources, this.#options.closing));
  }

  async #copy(entry: ValueEntry, sources: readonly MemberInfo[], signal: AbortSignal): Promise<boolean> {
    const { holder, versions } = this.#options;
    const { url, version, size } = entry;
    versions.observe(version);
    let failure: CacheError | undefined;
    for (const source of sources) {
      let begun: Draft | undefined;
      try {
        const kind = { isSized: true, isUpload: false, isCopy: true, isExclusive: false };
        const beginning = await holder.begin({ entry, ...kind, whileWritten: "" }, signal);
        if ("conflict" in beginning) return holder.readable(url)?.entry.version === version;
        begun = beginning;
        await this.#fetch(begun, source, signal);
        if ((await holder.commit(begun, { version, size })) === undefined) {
          this.repaired++;
          return true;
        }
      } catch (error) {
        failure = CacheError.from(error);
        if (begun !== undefined) await holder.drafts.abandon(begun, failure);
        if (failure.code === "RESOURCE_EXHAUSTED") break;
      }
    }
    if (failure !== undefined) throw new NotCopied(url, sources, failure);
    return false;
  }

  /** Fetches all bytes of a draft from another member. */
  async #fetch(draft: Draft, source: MemberInfo, signal: AbortSignal): Promise<void> {
    const { members } = this.#options;
    const { url, version, size } = draft.entry;
    if (size === 0) return;
    const read = await members.open([source], { url, version, offset: 0, length: undefined }, signal);
    try {
      for (let at = 0; at < size; ) {
        const slice = await read.next();
        if (slice === undefined) throw new CacheError("UNAVAILABLE", `${url}: member ${source.name} sent ${at} of ${size} bytes`);
        const { length } = slice.bytes;
        await draft.write(at, slice.bytes).finally(() => slice.release());
        at += length;
      }
    } finally {
      read.close();
    }
  }

  /** As `ensure`, but asks the others even if this member should know all changes: it does not if a writer could not reach it. */
  async catchUp(url: string, signal: AbortSignal): Promise<HeldEntry | undefined> {
    await this.#catching.run(url, () => this.#askOthers(url, this.#options.closing));
    signal.throwIfAborted();
    return this.#options.holder.readable(url);
  }

  /** Asks all members that may know a newer version, and takes it over. */
  async #askOthers(url: string, signal: AbortSignal): Promise<void> {
    const { holder, placement, versions, service } = this.#options;
    const others = placement.others(url);
    let best: ValueEntry | undefined;
    let isComplete = placement.canReachAll(url);
    const sources: { readonly member: MemberInfo; readonly entry: ValueEntry }[] = [];
    await Promise.all(
      others.map(async (member) => {
        try {
          const { entries } = await service.ask(member, { lookUp: { urls: [url] } }, signal, LOOK_UP_TIMEOUT_MS);
          const entry = entries.find((each) => each.url === url);
          if (entry === undefined) return;
          versions.observe(entry.version);
          sources.push({ member, entry });
          if (best === undefined || best.version < entry.version) best = entry;
        } catch {
          isComplete = false;
        }
      }),
    );
    const held = holder.entries.get(url);
    if (best !== undefined && best.version > (held?.entry.version ?? "")) {
      if (best.deleted) await holder.offer(best);
      else {
        const having = sources.filter(({ entry }) => entry.version === best!.version && entry.present);
        const members = having.map(({ member }) => member);
        try {
          if (await this.copy(best, members)) return;
        } finally {
          // In memory it is noted at once. The copy may have failed because of the disk, on which the journal is, too.
          if (held !== undefined || placement.isHolder(url)) await holder.offer(best).catch(() => {});
        }
      }
      return;
    }
    if (held === undefined || held.entry.deleted || holder.readable(url) !== undefined) return;
    // The bytes were evicted here.
    const having = sources.filter(({ entry }) => entry.version === held.entry.version && entry.present);
    if (having.length > 0)
      await this.copy(
        held.entry,
        having.map(({ member }) => member),
      );
    else if (isComplete) await holder.miss(held);
  }
}

/** A member that does not say in this time what it knows counts as unreachable. */
const LOOK_UP_TIMEOUT_MS = 2_000;
