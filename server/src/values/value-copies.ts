import { isRefused } from "@frontcache/client/members";
import { CacheError, type MemberInfo, memberFromMessage, type ValueAnswer, type ValueEntry } from "@frontcache/proto";
import { SingleFlight } from "@frontcache/proto/runtime";
import type { Draft } from "./draft.js";
import type { HybridClock } from "./hybrid-clock.js";
import type { KnownEntry } from "./value-entries.js";
import { isLive } from "./value-entry.js";
import type { ValueHolder } from "./value-holder.js";
import type { Placement, ValueMembers } from "./value-members.js";
import type { ValueService } from "./value-service.js";

/** A member's knowledge that is older does not count: it asks for each value then. */
export const FRESH_MS = 2_000;

/** A member's knowledge of another one's changes. */
export interface Freshness {
  /** Whether this member knows all changes of all others that concern a value. At once, without asking. */
  isSettled(url: string): boolean;
  /** Whether this member has started without values, and does not know yet which ones all others have. */
  readonly isUninformed: boolean;
  /** How many members are uninformed: this one, and others by their last answers. */
  readonly uninformed: number;
  /** The lists of members that can be reached, by their last answers, that are not this member's. */
  readonly otherLists: readonly OtherList[];
  /** A member has a list. */
  hasList(name: string, hash: string): void;
}

/** A member list that is not this member's: by it, others may keep a value. */
export interface OtherList {
  readonly hash: string;
  /** One of the members that have it. */
  readonly member: MemberInfo;
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
  readonly #catching = new SingleFlight<string, Found>();
  readonly #copying = new SingleFlight<string, boolean>();

  constructor(options: ValueCopiesOptions) {
    this.#options = options;
  }

  /** Whether a value is missing for sure that this member does not have, if it knows all changes of the members that it reaches. */
  isMissing(url: string): boolean {
    const { holder, placement, freshness } = this.#options;
    if (holder.entries.live(url, holder.nowMs) !== undefined) return false;
    return placement.isAbsenceCertain(placement.unreachable(url).length, freshness.uninformed);
  }

  /**
   * The value with its bytes at this member, as new as any member has it. Undefined: it is missing. Copies it from others if need be.
   * Rejects with NotCopied if others have it, and this member cannot; with UNAVAILABLE if members that may have it do not answer.
   */
  ensure(url: string, signal: AbortSignal): KnownEntry | undefined | Promise<KnownEntry | undefined> {
    const { holder, freshness } = this.#options;
    if (freshness.isSettled(url)) {
      const known = holder.readable(url);
      if (known !== undefined || this.isMissing(url)) return known;
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
        const kind = { isSized: true, isUpload: false, isCopy: true, isExclusive: false, members: [] };
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
  async catchUp(url: string, signal: AbortSignal): Promise<KnownEntry | undefined> {
    const { holder } = this.#options;
    const { isMissing, sources } = await this.#catching.run(url, () => this.#find(url, this.#options.closing));
    signal.throwIfAborted();
    const known = holder.readable(url);
    const entry = holder.entries.get(url)?.entry;
    if (known !== undefined || isMissing || (entry !== undefined && !isLive(entry, holder.nowMs))) return known;
    // The copy was evicted at once.
    const gone = new CacheError("UNAVAILABLE", `${url}: the bytes of the value are gone at this member: read again`);
    throw sources.length === 0 ? gone : new NotCopied(url, sources, gone);
  }

  /** Asks all members that may know a newer version, and takes it over. Rejects with UNAVAILABLE if those that do not answer may have it. */
  async #find(url: string, signal: AbortSignal): Promise<Found> {
    const { holder, placement, freshness } = this.#options;
    // Members with another list know of others that may have taken a write.
    const others = (): MemberInfo[] => [...placement.others(url), ...freshness.otherLists.map(({ member }) => member)];
    let question = await this.#ask(url, others(), signal);
    // A member that was busy for a moment counts as unreachable, and bytes may have moved from one member to another meanwhile.
    if (!this.#isFound(url, question)) {
      question = await this.#ask(url, [...others(), ...placement.unreachable(url)], signal);
    }
    const known = holder.entries.get(url);
    const newest = question.newest(known?.entry);
    if (!this.#isFound(url, question) && question.silent.size > 0) {
      const names = [...question.silent].join(", ");
      throw new CacheError("UNAVAILABLE", `${url}: members that may have the value do not answer: ${names}`);
    }
    if (newest === undefined) return MISSING;
    const isNews = newest.version > (known?.entry.version ?? "");
    if (!isLive(newest, holder.nowMs)) {
      if (isNews) await holder.offer(newest);
      return MISSING;
    }
    if (holder.readable(url)?.entry.version === newest.version) return { isMissing: false, sources: [] };
    const sources = question.sources(newest.version);
    try {
      if (sources.length > 0) await this.copy(newest, sources);
      else if (!isNews && question.isComplete) await holder.miss(known!);
    } finally {
      // In memory it is noted at once. The copy may have failed because of the disk, on which the journal is, too.
      if (isNews && (known !== undefined || placement.isHolder(url))) await holder.offer(newest).catch(() => {});
    }
    return { isMissing: sources.length === 0, sources };
  }

  /** Whether the answers say which members have the bytes of the newest version, or that there is no such value. */
  #isFound(url: string, question: Question): boolean {
    const { holder, placement, freshness } = this.#options;
    const newest = question.newest(holder.entries.get(url)?.entry);
    if (newest === undefined || !isLive(newest, holder.nowMs)) {
      const lost = question.lost + (freshness.isUninformed ? 1 : 0);
      return placement.isAbsenceCertain(question.silent.size, lost) && !this.#isListUnheard(question);
    }
    return holder.readable(url)?.entry.version === newest.version || question.sources(newest.version).length > 0;
  }

  /** Whether no member has answered of those that may know by another list who keeps the value. */
  #isListUnheard(question: Question): boolean {
    return this.#options.freshness.otherLists.some(({ hash }) => !question.lists.has(hash));
  }

  /** Asks members for their versions of a value, and then those that keep it by other lists. */
  async #ask(url: string, members: readonly MemberInfo[], signal: AbortSignal): Promise<Question> {
    const { placement } = this.#options;
    const question = new Question(placement.unreachable(url), placement.canReachAll(url));
    const asked = new Set([this.#options.members.self]);
    const isNew = ({ name }: MemberInfo): boolean => !asked.has(name) && asked.add(name) !== undefined;
    for (let next = members.filter(isNew); next.length > 0; next = question.holders.filter(isNew)) {
      await Promise.all(next.map((member) => this.#askOne(url, member, question, signal)));
    }
    return question;
  }

  async #askOne(url: string, member: MemberInfo, question: Question, signal: AbortSignal): Promise<void> {
    const { placement, versions, service, members, freshness } = this.#options;
    try {
      const lookUp = { urls: [url], hash: members.hash };
      const answer = await service.ask(member, { lookUp }, signal, LOOK_UP_TIMEOUT_MS);
      freshness.hasList(member.name, answer.hash);
      const entry = answer.entries.find((each) => each.url === url);
      if (entry !== undefined) versions.observe(entry.version);
      question.answered(member, entry, answer);
    } catch (error) {
      const isNamed = question.holders.some(({ name }) => name === member.name);
      question.failed(member, error, isNamed || placement.isListed(member));
    }
  }
}

/** What has become of a search for a value. */
interface Found {
  /** No member has it. */
  readonly isMissing: boolean;
  /** Other members that have its bytes. */
  readonly sources: readonly MemberInfo[];
}

const MISSING: Found = { isMissing: true, sources: [] };

/** The answers of members that may have a value. */
class Question {
  /** Names of members that may run and have not answered. */
  readonly silent: Set<string>;
  /** Members that may have had a copy: they do not run, or have lost their disks and do not know yet what others have. */
  lost = 0;
  /** Whether all members have answered. */
  isComplete: boolean;
  /** The lists of the members that have answered. */
  readonly lists = new Set<string>();
  /** Members that keep the value by the lists of others. */
  readonly holders: MemberInfo[] = [];
  readonly #answers: { readonly member: MemberInfo; readonly entry: ValueEntry }[] = [];

  constructor(unreachable: readonly MemberInfo[], isComplete: boolean) {
    this.silent = new Set(unreachable.map(({ name }) => name));
    this.isComplete = isComplete;
  }

  answered(member: MemberInfo, entry: ValueEntry | undefined, { uninformed, hash, holders }: ValueAnswer): void {
    this.silent.delete(member.name);
    if (entry !== undefined) this.#answers.push({ member, entry });
    if (uninformed) this.lost++;
    this.lists.add(hash);
    this.holders.push(...holders.map(memberFromMessage));
  }

  /** `isListed`: the member may run. One that has left the list does not. */
  failed({ name }: MemberInfo, error: unknown, isListed: boolean): void {
    this.isComplete = false;
    if (isRefused(error)) {
      this.silent.delete(name);
      if (isListed) this.lost++;
    } else if (isListed) this.silent.add(name);
  }

  /** The largest version of all members, this one included. */
  newest(own: ValueEntry | undefined): ValueEntry | undefined {
    let newest = own;
    for (const { entry } of this.#answers) if (newest === undefined || newest.version < entry.version) newest = entry;
    return newest;
  }

  /** Members that have the bytes of a version. */
  sources(version: string): MemberInfo[] {
    return this.#answers.filter(({ entry }) => entry.version === version && entry.present).map(({ member }) => member);
  }
}

/** A member that does not say in this time what it knows counts as unreachable. */
const LOOK_UP_TIMEOUT_MS = 2_000;
