import { CacheError, type Geometry, type ValueEntry } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import type { BlockStore } from "../storage/block-store.js";
import type { Draft } from "./draft.js";
import { type DraftKind, Drafts } from "./drafts.js";
import { Locks } from "./locks.js";
import { RetiredVersions } from "./retired-versions.js";
import { ValueBlocks } from "./value-blocks.js";
import { type KnownEntry, MOST_DELETIONS, ValueEntries } from "./value-entries.js";
import { deletedEntry, forgottenMs, isLive } from "./value-entry.js";
import type { Completion, ConflictReason } from "./values.js";

/** Entries that one sweep looks at. */
const SWEPT_ENTRIES = 2_000;

/** What a draft begins as. */
export interface Beginning extends DraftKind {
  readonly entry: ValueEntry;
  readonly whileWritten: "refuse" | "wait" | "";
}

/** Why a step was refused. `older`: the member knows a larger version. */
export type Refusal = { readonly conflict: ConflictReason | "older"; readonly completion?: Completion };

export interface ValueHolderOptions {
  readonly store: BlockStore;
  readonly geometry: Geometry;
  readonly clock: Clock;
  /** Called when a value has expired, or is not readable here any more. */
  readonly onGone: (known: KnownEntry, why: "expired" | "lost") => void;
}

/** The values of this member: entries, blocks, drafts and locks. Knows nothing of other members. */
export class ValueHolder {
  readonly entries = new ValueEntries();
  readonly blocks: ValueBlocks;
  readonly locks: Locks;
  readonly drafts: Drafts;
  readonly retired: RetiredVersions;
  readonly counts = { evictions: 0, expirations: 0, lost: 0 };
  readonly #options: ValueHolderOptions;
  #sweeping: IterableIterator<KnownEntry> | undefined;

  constructor(options: ValueHolderOptions) {
    const { store, geometry, clock } = options;
    this.#options = options;
    this.blocks = new ValueBlocks(store, geometry);
    this.locks = new Locks(clock);
    this.drafts = new Drafts(this.blocks, clock);
    this.retired = new RetiredVersions(this.blocks, clock);
  }

  get nowMs(): number {
    return this.#options.clock.nowMs();
  }

  /** The value with its bytes; undefined: it is missing, or has expired, or its bytes are not here. Finds out that blocks are gone. */
  readable(url: string): KnownEntry | undefined {
    const known = this.entries.live(url, this.nowMs);
    if (known?.entry.present !== true) return undefined;
    if (this.blocks.hasAll(known.entry, known.stored)) return known;
    this.lose(known);
    return undefined;
  }

  /** Begins to write a value. Rejects with RESOURCE_EXHAUSTED if it does not fit into the share of its bucket. */
  async begin({ entry, whileWritten, ...kind }: Beginning, signal: AbortSignal): Promise<Refusal | Draft> {
    const { url, version } = entry;
    const { isUpload, isCopy, isExclusive } = kind;
    while (!isUpload && whileWritten !== "") {
      const other = this.drafts.writerOf(url);
      if (other === undefined) break;
      if (whileWritten === "refuse") return { conflict: "already_started" };
      await other.changed(signal);
    }
    if (!isUpload) await this.#endOther(entry, signal);
    if (!this.blocks.hasRoom(url, entry.size)) {
      await this.retired.removeOf(url);
      if (!this.blocks.hasRoom(url, entry.size)) throw this.blocks.full(url);
    }
    if (isUpload && this.drafts.uploadOf(url) !== undefined) return { conflict: "already_started" };
    if (!isUpload && !isCopy && this.locks.isLocked(url)) return { conflict: "locked" };
    if (isExclusive && this.entries.live(url, this.nowMs) !== undefined) return { conflict: "exists" };
    const known = this.entries.get(url)?.entry;
    const completes = isCopy && known?.version === version && !known.present && !known.deleted;
    if ((known?.version ?? "") >= version && !completes) return { conflict: "older" };
    return this.drafts.begin(entry, kind);
  }

  /** Ends another draft of this version, whose blocks would be the same: its writer has left this member out, or repeats the write. */
  async #endOther({ url, version }: ValueEntry, signal: AbortSignal): Promise<void> {
    for (let other = this.drafts.get(url, version); other !== undefined; other = this.drafts.get(url, version)) {
      if (other.isFinishing) await other.changed(signal);
      else await this.drafts.abandon(other, new CacheError("UNAVAILABLE", `${url}: the write began anew`));
    }
  }

  /** Makes a draft the value, of this version and size. */
  async commit(
    draft: Draft,
    { version, size, expiresMs }: { version: string; size: number; expiresMs?: number | undefined },
  ): Promise<Refusal | undefined> {
    const { entry, options } = draft;
    const { url } = entry;
    const completion = draft.segments.spans.completion(size);
    if (completion.missing.length > 0) return { conflict: "incomplete", completion };
    if (options.isUpload && this.locks.isLocked(url)) return { conflict: "locked" };
    if (options.isExclusive && this.entries.live(url, this.nowMs) !== undefined) {
      await this.drafts.abandon(draft, new CacheError("FAILED_PRECONDITION", `${url} exists`));
      return { conflict: "exists" };
    }
    if (draft.isFinishing) return { conflict: "finalizing" };
    draft.isFinishing = true;
    try {
      await draft.finish(size);
      // A disk that failed may have taken segments with it that were stored before.
      if (!this.blocks.hasAll({ url, size }, entry.version)) {
        draft.segments.forgetLost();
        if (!options.isUpload) throw new CacheError("UNAVAILABLE", `${url}: a volume has lost bytes of the write: write again`);
        draft.isFinishing = false;
        return { conflict: "incomplete", completion: draft.segments.spans.completion(size) };
      }
      this.drafts.remove(draft);
      const value = { ...entry, version, size, present: true, expiresMs: expiresMs ?? entry.expiresMs };
      const isAdopted = await this.#adopt(value, entry.version);
      await draft.close("ready");
      if (!isAdopted) await draft.segments.discard();
      return undefined;
    } catch (error) {
      draft.isFinishing = false;
      // An upload may be finalized again: its bytes are still there.
      if (this.drafts.uploadOf(url) !== draft) await this.drafts.abandon(draft, CacheError.from(error));
      throw error;
    }
  }

  /**
   * Takes note of a version that was deleted, or whose bytes other members have. Resolves with whether there was a value before, and with
   * the largest version that is known.
   */
  async offer(entry: ValueEntry): Promise<{ readonly existed: boolean; readonly largest: string }> {
    const { url, version } = entry;
    const before = this.entries.get(url);
    const existed = isLive(before?.entry, this.nowMs);
    if (before !== undefined && before.entry.version >= version) return { existed, largest: before.entry.version };
    await this.#adopt({ ...entry, present: false }, version);
    return { existed, largest: version };
  }

  /** The bytes of a value are gone here. Its entry stays, because another member may have them. */
  lose(known: KnownEntry): void {
    const current = this.entries.get(known.entry.url);
    if (current?.sequence !== known.sequence) return;
    this.counts.evictions++;
    const isEvicted = this.blocks.wasEvicted(known.entry.url, known.stored);
    void this.entries.set({ ...known.entry, present: false }, known.stored, isEvicted).catch(() => {});
    void this.blocks.remove(known.entry.url, known.stored, this.blocks.blocksOf(known.entry.size));
    this.#options.onGone(known, "lost");
  }

  /** No member has the bytes: the value is missing from now on, everywhere. */
  async miss({ entry }: KnownEntry): Promise<void> {
    if (this.entries.get(entry.url)?.entry.version !== entry.version || entry.deleted) return;
    this.counts.lost++;
    await this.entries.set(deletedEntry(entry.url, entry.version, entry.expiresMs), entry.version);
  }

  /** Removes a value of which other members have enough copies. */
  drop({ entry, stored, sequence }: KnownEntry): void {
    if (this.entries.get(entry.url)?.sequence !== sequence) return;
    this.entries.forget(entry.url);
    void this.blocks.remove(entry.url, stored, this.blocks.blocksOf(entry.size));
  }

  /** Locks a value against eviction, deletion and overwriting; 0 seconds: unlocks it. Returns when the lock ends. */
  lock(url: string, holder: string, seconds: number): number {
    if (seconds === 0) {
      this.locks.unlock(url, holder);
      return 0;
    }
    const known = this.readable(url);
    if (known === undefined) throw new CacheError("NOT_FOUND", `${url}: no such value`);
    return this.locks.lock(url, holder, seconds, () => this.blocks.pinAll(known.entry, known.stored));
  }

  /** Bounded work of every second: expired and lost values, silent writers, ended locks. */
  async sweep(): Promise<void> {
    this.locks.expire();
    this.retired.expire();
    await this.drafts.endSilent();
    this.#sweeping ??= this.entries.values();
    for (let count = 0; count < Math.min(SWEPT_ENTRIES, this.entries.size); count++) {
      const next = this.#sweeping.next();
      if (next.done === true) {
        this.#sweeping = undefined;
        return;
      }
      await this.#sweepOne(next.value);
    }
  }

  async #sweepOne(known: KnownEntry): Promise<void> {
    const { entry, stored } = known;
    const { nowMs } = this;
    if (entry.deleted) {
      if (forgottenMs(entry) <= nowMs || this.entries.size > 2 * MOST_DELETIONS) this.entries.forget(entry.url);
    } else if (!isLive(entry, nowMs)) {
      this.counts.expirations++;
      // Remembered as long as a deletion: an older version at a member that was away must not come back.
      await this.entries.set(deletedEntry(entry.url, entry.version, entry.expiresMs), stored).catch(() => {});
      await this.blocks.remove(entry.url, stored, this.blocks.blocksOf(entry.size));
      this.#options.onGone(known, "expired");
    } else if (entry.present && !this.blocks.hasAll(entry, stored)) this.lose(known);
  }

  /** Ends all drafts and locks; the member closes. */
  async close(): Promise<void> {
    await this.drafts.close();
    this.locks.close();
    this.blocks.close();
  }

  /** Replaces the entry if the version is larger, and removes what it replaces. Resolves with whether it was. */
  async #adopt(entry: ValueEntry, stored: string): Promise<boolean> {
    const before = this.entries.get(entry.url);
    const isNewer = before === undefined || before.entry.version < entry.version;
    const completes = before?.entry.version === entry.version && !before.entry.present && !before.entry.deleted && entry.present;
    if (!isNewer && !completes) return before.stored === stored && before.entry.version === entry.version;
    const written = this.entries.set(entry, stored);
    if (before !== undefined && !before.entry.deleted && before.stored !== stored) this.retired.add(before);
    await written;
    return true;
  }
}
