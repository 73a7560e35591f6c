import type { MemberInfo, ValueEntry } from "@frontcache/proto";
import { forEachConcurrent } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import type { HybridClock } from "./hybrid-clock.js";
import { FRESH_MS, type Freshness, NotCopied, type OtherList } from "./value-copies.js";
import type { KnownEntry } from "./value-entries.js";
import { isLive, KEEP_DELETED_MS } from "./value-entry.js";
import type { ValueHolder } from "./value-holder.js";
import type { MemberState, Placement, ValueMembers } from "./value-members.js";
import { MOST_URLS, type ValueService } from "./value-service.js";

/** How often a member asks the others for changes. */
const INTERVAL_MS = 500;
const CHANGES_TIMEOUT_MS = 5_000;
/** Answers of one round. */
const MOST_PAGES = 50;
/** Values that are copied at a time. */
const COPIES = 16;
/** Values of which one round asks whether others have them. */
const DROPS_A_ROUND = 200;

/** Copies of a bucket without space are tried again after this time. */
const FULL_MS = 30_000;

interface Peer {
  epoch: string;
  sequence: number;
  /** Monotonic time at which the request was sent whose answer completed the knowledge; -Infinity: it is not complete. */
  completeAtMs: number;
  isUninformed: boolean;
  isRunning: boolean;
  /** Identifies its member list, by its last answer. Empty: unknown. */
  listHash: string;
}

export interface ValueSyncOptions {
  readonly holder: ValueHolder;
  readonly members: ValueMembers;
  readonly placement: Placement;
  readonly versions: HybridClock;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Keeps the copies of values alike: each member asks all others for changes twice a second, and copies what it lacks. After the member
 * list has changed, it asks for everything. A member that is not asked for a while knows nothing for sure, and asks for each value.
 */
export class ValueSync implements Freshness {
  readonly #options: ValueSyncOptions;
  #service: ValueService | undefined;
  readonly #peers = new Map<string, Peer>();
  /** Versions to copy, by URL. */
  readonly #requested = new Map<string, { readonly entry: ValueEntry; readonly source: MemberInfo }>();
  /** Buckets without space for copies, with the monotonic time at which they are tried again. */
  readonly #fullUntilMs = new Map<string, number>();
  #state: MemberState = { listHash: "", unreachable: new Set(), hash: "" };
  #lastContactMs: number;
  #isUninformed = false;
  /** Members whose changes this member has taken completely, since it lost its own values. */
  readonly #heardAll = new Set<string>();
  /** The members with other lists than `hash`, this member's. Undefined: a member has another list since. */
  #otherLists: { readonly hash: string; readonly lists: readonly OtherList[] } | undefined;
  #sweeping: IterableIterator<KnownEntry> | undefined;

  constructor(options: ValueSyncOptions) {
    this.#options = options;
    this.#lastContactMs = options.clock.monotonicMs();
    options.placement.onPassedOver = (name) => {
      const peer = this.#peers.get(name);
      if (peer !== undefined) peer.completeAtMs = Number.NEGATIVE_INFINITY;
    };
  }

  get intervalMs(): number {
    return INTERVAL_MS;
  }

  /** `isEmpty`: the member has no values of an earlier life. */
  start(service: ValueService, isEmpty: boolean): void {
    this.#service = service;
    this.#isUninformed = isEmpty;
  }

  get isUninformed(): boolean {
    return this.#isUninformed;
  }

  get uninformed(): number {
    let uninformed = this.#isUninformed ? 1 : 0;
    for (const peer of this.#peers.values()) if (peer.isUninformed) uninformed++;
    return uninformed;
  }

  get otherLists(): readonly OtherList[] {
    const { hash, members } = this.#options.members;
    if (this.#otherLists?.hash === hash) return this.#reachable(this.#otherLists.lists);
    const lists = members.flatMap((member) => {
      const { listHash = "" } = this.#peers.get(member.name) ?? {};
      return listHash === "" || listHash === hash ? [] : [{ hash: listHash, member }];
    });
    this.#otherLists = { hash, lists };
    return this.#reachable(lists);
  }

  hasList(name: string, hash: string): void {
    const peer = this.#peers.get(name);
    if (peer === undefined || peer.listHash === hash) return;
    peer.listHash = hash;
    this.#otherLists = undefined;
  }

  isSettled(url: string): boolean {
    const { members, placement, clock } = this.#options;
    if (members.members.length <= 1) return true;
    if (!placement.isHolder(url) || !placement.isAsIn(this.#state, url) || this.otherLists.length > 0) return false;
    const leastMs = clock.monotonicMs() - FRESH_MS;
    return placement.everyOther(url, (name) => (this.#peers.get(name)?.completeAtMs ?? Number.NEGATIVE_INFINITY) > leastMs);
  }

  /** One round: changes of all others, and values that others keep now. Never rejects. */
  async round(): Promise<void> {
    const { members, placement } = this.#options;
    const { state } = placement;
    if (state.hash !== this.#state.hash) {
      // Which values concern this member has changed.
      this.#state = state;
      for (const peer of this.#peers.values()) [peer.sequence, peer.epoch, peer.completeAtMs] = [0, "", Number.NEGATIVE_INFINITY];
    }
    const others = members.members.filter((member) => !placement.isSelf(member));
    for (const name of this.#peers.keys()) if (!others.some((member) => member.name === name)) this.#peers.delete(name);
    await this.#forgetIfLongAway(others);
    await Promise.all(others.map((member) => this.#ask(member).catch(() => {})));
    await this.#dropSurplus().catch(() => {});
  }

  async #ask(member: MemberInfo): Promise<void> {
    const { members, clock, signal } = this.#options;
    const peer = this.#peers.get(member.name) ?? {
      epoch: "",
      sequence: 0,
      completeAtMs: Number.NEGATIVE_INFINITY,
      isUninformed: false,
      isRunning: false,
      listHash: "",
    };
    this.#peers.set(member.name, peer);
    if (peer.isRunning) return;
    peer.isRunning = true;
    try {
      for (let page = 0; page < MOST_PAGES; page++) {
        const sentMs = clock.monotonicMs();
        const { hash } = this.#state;
        const changes = { epoch: peer.epoch, sequence: peer.sequence, hash };
        const answer = await members.call(member, { changes }, signal, CHANGES_TIMEOUT_MS);
        this.hasList(member.name, answer.hash);
        // The request was for another list.
        if (hash !== this.#state.hash) return;
        // Together, so that the journal takes them in one write. An answer names each value once.
        await Promise.all(answer.entries.map((entry) => this.#apply(entry, member)));
        [peer.epoch, peer.sequence, peer.isUninformed] = [answer.epoch, answer.sequence, answer.uninformed];
        this.#lastContactMs = clock.monotonicMs();
        if (!answer.ended) continue;
        peer.completeAtMs = sentMs;
        this.#heard(member);
        return;
      }
    } finally {
      peer.isRunning = false;
    }
  }

  /** One member that can be reached for each list. */
  #reachable(all: readonly OtherList[]): readonly OtherList[] {
    if (all.length === 0) return all;
    const lists = new Map<string, OtherList>();
    for (const list of all) if (!this.#options.members.isUnreachable(list.member)) lists.set(list.hash, list);
    return [...lists.values()];
  }

  #heard({ name }: MemberInfo): void {
    if (!this.#isUninformed) return;
    const { members, placement } = this.#options;
    this.#heardAll.add(name);
    if (members.members.every((each) => placement.isSelf(each) || this.#heardAll.has(each.name))) this.#isUninformed = false;
  }

  /** Takes note of a version that another member has. */
  async #apply(entry: ValueEntry, source: MemberInfo): Promise<void> {
    const { holder, placement, versions } = this.#options;
    const { url, version } = entry;
    const known = holder.entries.get(url);
    const knownVersion = known?.entry.version ?? "";
    if (knownVersion > version || (known === undefined && !placement.isHolder(url))) return;
    try {
      versions.observe(version);
    } catch {
      return;
    }
    if (knownVersion === version) {
      // A copy that was evicted returns when it is read: otherwise members would copy and evict in turn.
      const isMissed = known !== undefined && !known.entry.deleted && !known.entry.present && !known.isEvicted;
      const lacks = isMissed && placement.isHolder(url);
      if (lacks && entry.present) this.#requested.set(url, { entry, source });
      return;
    }
    if (!isLive(entry, holder.nowMs)) {
      await holder.offer(entry.deleted ? entry : { ...entry, deleted: true, present: false });
      return;
    }
    await holder.offer(entry);
    if (entry.present && placement.isHolder(url)) this.#requested.set(url, { entry, source });
  }

  /**
   * Copies what this member lacks. Never rejects. Runs beside the rounds: while many values are copied, the member must not lose sight of
   * the others' changes.
   */
  async copy(): Promise<void> {
    const { holder, placement, signal } = this.#options;
    await forEachConcurrent(this.#due(), COPIES, async ({ entry, source }) => {
      const { url, version } = entry;
      const known = holder.entries.get(url);
      const isOver = known === undefined || known.entry.version !== version || known.entry.present || known.entry.deleted;
      if (isOver || !placement.isHolder(url)) {
        this.#requested.delete(url);
        return;
      }
      // Its writer may still complete it here.
      if (holder.drafts.get(url, version)?.options.isCopy === false) return;
      const isCopied = await this.#service!.copies.copy(entry, [source]).catch((error: unknown) => this.#notCopied(url, error));
      // Another member may have the bytes, or nobody any more.
      if (isCopied === false) await Promise.resolve(this.#service!.copies.ensure(url, signal)).catch(() => undefined);
      const latest = this.#requested.get(url);
      if (latest?.entry !== entry) return;
      this.#requested.delete(url);
      // Behind all others, which may succeed.
      if (holder.entries.get(url)?.entry.present === false) this.#requested.set(url, latest);
    });
  }

  /** Values to copy, none of a bucket that is full for now. */
  *#due(): Generator<{ readonly entry: ValueEntry; readonly source: MemberInfo }> {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [bucket, untilMs] of this.#fullUntilMs) if (untilMs <= nowMs) this.#fullUntilMs.delete(bucket);
    for (const each of [...this.#requested.values()]) {
      if (this.#fullUntilMs.size > 0 && this.#fullUntilMs.has(bucketOf(each.entry.url))) continue;
      yield each;
    }
  }

  /** Resolves with false if another member may be asked; with undefined if there is no space here. */
  #notCopied(url: string, error: unknown): false | undefined {
    if (!(error instanceof NotCopied) || !error.isFull) return false;
    this.#fullUntilMs.set(bucketOf(url), this.#options.clock.monotonicMs() + FULL_MS);
    return undefined;
  }

  /** Removes values whose holders are others, when these have them. */
  async #dropSurplus(): Promise<void> {
    const { holder, placement, signal } = this.#options;
    this.#sweeping ??= holder.entries.values();
    const surplus: KnownEntry[] = [];
    for (let looked = 0; looked < MOST_SWEPT && surplus.length < DROPS_A_ROUND; looked++) {
      const next = this.#sweeping.next();
      if (next.done === true) {
        this.#sweeping = undefined;
        break;
      }
      const { entry } = next.value;
      if (!entry.deleted && !placement.isHolder(entry.url) && !holder.locks.isLocked(entry.url)) surplus.push(next.value);
    }
    const kept = new Map<string, number>();
    const questions = new Map<string, { readonly member: MemberInfo; readonly urls: string[] }>();
    for (const { entry } of surplus) {
      for (const member of placement.holders(entry.url)) {
        const question = questions.get(member.name) ?? { member, urls: [] };
        questions.set(member.name, question);
        question.urls.push(entry.url);
      }
    }
    for (const { member, urls } of questions.values()) {
      for (let at = 0; at < urls.length; at += MOST_URLS) {
        const lookUp = { urls: urls.slice(at, at + MOST_URLS) };
        const { entries } = await this.#service!.ask(member, { lookUp }, signal);
        for (const entry of entries) {
          const own = holder.entries.get(entry.url)?.entry;
          const isKept = own !== undefined && entry.version >= own.version && (entry.present || entry.deleted);
          if (isKept) kept.set(entry.url, (kept.get(entry.url) ?? 0) + 1);
        }
      }
    }
    for (const known of surplus) {
      const holders = placement.holders(known.entry.url).length;
      if (!placement.isHolder(known.entry.url) && kept.get(known.entry.url) === holders) holder.drop(known);
    }
  }

  /** Others may have forgotten deletions that this member has missed. */
  async #forgetIfLongAway(others: readonly MemberInfo[]): Promise<void> {
    const { clock, holder } = this.#options;
    if (others.length === 0) this.#lastContactMs = clock.monotonicMs();
    if (clock.monotonicMs() - this.#lastContactMs < KEEP_DELETED_MS) return;
    this.#lastContactMs = clock.monotonicMs();
    for (const known of [...holder.entries.values()]) holder.drop(known);
    this.#isUninformed = true;
    this.#heardAll.clear();
  }
}

function bucketOf(url: string): string {
  return url.slice(0, url.indexOf("/", "cache://".length));
}

/** Entries that one round looks at for those of other holders. */
const MOST_SWEPT = 2_000;
