import { CacheError, type Geometry, outOfRange, type ValueEntry } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import type { BlockPin } from "../storage/block.js";
import type { BlockStore } from "../storage/block-store.js";
import { Draft, DraftMemory } from "./draft.js";
import type { HybridClock } from "./hybrid-clock.js";
import { Locks } from "./locks.js";
import { ValueBlocks } from "./value-blocks.js";
import { type HeldEntry, MOST_DELETIONS, ValueEntries } from "./value-entries.js";
import { deletedEntry, forgottenMs, isLive } from "./value-entry.js";
import type { Completion, ConflictReason } from "./values.js";

/** A writer that is silent for so long is dead. Members repeat a sign of life more often. */
export const WRITER_TIMEOUT_MS = 15_000;
/** An upload without a write for so long is aborted. */
export const UPLOAD_TIMEOUT_MS = 3_600_000;
/** Values that are being written at a time. */
const MOST_DRAFTS = 4_096;
/** A version that was replaced can be read for so long after its last read. */
const RETIRED_MS = 30_000;
const MOST_RETIRED = 1_000;
/** Entries that one sweep looks at. */
const SWEPT_ENTRIES = 2_000;

export interface ValueCounts {
  bytesWritten: number;
  evictions: number;
  expirations: number;
  lost: number;
}

/** What a draft begins as. */
export interface Beginning {
  readonly entry: ValueEntry;
  readonly isSized: boolean;
  readonly isUpload: boolean;
  /** Another member has the value: this one copies it. */
  readonly isCopy: boolean;
  readonly isExclusive: boolean;
  readonly whileWritten: "refuse" | "wait" | "";
}

/** Why a step was refused. `older`: the member knows a larger version. */
export type Refusal = { readonly conflict: ConflictReason | "older"; readonly completion?: Completion };

export interface ValueHolderOptions {
  readonly store: BlockStore;
  readonly geometry: Geometry;
  readonly clock: Clock;
  readonly versions: HybridClock;
  /** Called when a value has expired, or is not readable here any more. */
  readonly onGone: (held: HeldEntry, why: "expired" | "lost") => void;
}

/** The values of this member: entries, blocks, drafts and locks. Knows nothing of other members. */
export class ValueHolder {
  readonly entries = new ValueEntries();
  readonly locks: Locks;
  readonly blocks: ValueBlocks;
  readonly counts: ValueCounts = { bytesWritten: 0, evictions: 0, expirations: 0, lost: 0 };
  readonly #options: ValueHolderOptions;
  readonly #memory = new DraftMemory();
  /** Drafts of puts and copies by URL, then by version. */
  readonly #drafts = new Map<string, Map<string, Draft>>();
  readonly #uploads = new Map<string, Draft>();
  /** Pins of locked values by URL. */
  readonly #pins = new Map<string, BlockPin[]>();
  /** Replaced versions by version and URL. */
  readonly #retired = new Map<string, { readonly held: HeldEntry; untilMs: number }>();
  #draftCount = 0;
  #sweeping: IterableIterator<HeldEntry> | undefined;

  constructor(options: ValueHolderOptions) {
    this.#options = options;
    this.locks = new Locks(options.clock);
    this.blocks = new ValueBlocks(options.store, options.geometry);
  }

  get nowMs(): number {
    return this.#options.clock.nowMs();
  }

  get writers(): number {
    return this.#draftCount;
  }

  /** The value with its bytes; undefined: it is missing, or has expired, or its bytes are not here. Finds out that blocks are gone. */
  readable(url: string): HeldEntry | undefined {
    const held = this.entries.live(url, this.nowMs);
    if (held?.entry.present !== true) return undefined;
    if (this.blocks.hasAll(held.entry, held.stored)) return held;
    this.lose(held);
    return undefined;
  }

  /** The newest draft of a value that a client sends. */
  writerOf(url: string): Draft | undefined {
    let newest: Draft | undefined;
    for (const draft of this.#drafts.get(url)?.values() ?? []) {
      if (draft.options.isCopy) continue;
      if (newest === undefined || draft.entry.version > newest.entry.version) newest = draft;
    }
    return newest;
  }

  uploadOf(url: string): Draft | undefined {
    return this.#uploads.get(url);
  }

  draft(url: string, version: string): Draft | undefined {
    return version === "" ? this.#uploads.get(url) : this.#drafts.get(url)?.get(version);
  }

  /** Begins to write a value. */
  async begin(beginning: Beginning, signal: AbortSignal): Promise<Refusal | Draft> {
    const { entry, isUpload, isCopy, isExclusive, whileWritten, isSized } = beginning;
    const { url, version } = entry;
    while (!isUpload && whileWritten !== "") {
      const other = this.writerOf(url);
      if (other === undefined) break;
      if (whileWritten === "refuse") return { conflict: "already_started" };
      await other.changed(signal);
    }
    if (isUpload && this.#uploads.has(url)) return { conflict: "already_started" };
    if (!isUpload && !isCopy && this.locks.isLocked(url)) return { conflict: "locked" };
    if (isExclusive && this.entries.live(url, this.nowMs) !== undefined) return { conflict: "exists" };
    const known = this.entries.get(url)?.entry;
    const completes = isCopy && known?.version === version && !known.present && !known.deleted;
    if ((known?.version ?? "") >= version && !completes) return { conflict: "older" };
    if (this.#draftCount >= MOST_DRAFTS) {
      throw new CacheError("RESOURCE_EXHAUSTED", `${url}: this member writes ${MOST_DRAFTS} values already: try again`);
    }
    const draft = new Draft({
      entry,
      isSized,
      isUpload,
      isCopy,
      isExclusive,
      blocks: this.blocks,
      memory: this.#memory,
      nowMs: () => this.nowMs,
    });
    if (isUpload) this.#uploads.set(url, draft);
    else {
      const drafts = this.#drafts.get(url) ?? new Map<string, Draft>();
      this.#drafts.set(url, drafts.set(version, draft));
    }
    this.#draftCount++;
    return draft;
  }

  async write(draft: Draft, offset: number, data: Uint8Array): Promise<void> {
    await draft.write(offset, data);
    this.counts.bytesWritten += data.length;
  }

  /** Makes a draft the value, of this version and size. */
  async commit(
    draft: Draft,
    { version, size, expiresMs }: { version: string; size: number; expiresMs?: number | undefined },
  ): Promise<Refusal | undefined> {
    const { entry, options } = draft;
    const { url } = entry;
    const completion = draft.spans.completion(size);
    if (completion.missing.length > 0) return { conflict: "incomplete", completion };
    if (options.isUpload && this.locks.isLocked(url)) return { conflict: "locked" };
    if (options.isExclusive && this.entries.live(url, this.nowMs) !== undefined) {
      await this.abandon(draft, new CacheError("FAILED_PRECONDITION", `${url} exists`));
      return { conflict: "exists" };
    }
    if (draft.isFinishing) return { conflict: "finalizing" };
    draft.isFinishing = true;
    try {
      await draft.finish(size);
      this.#remove(draft);
      const value = { ...entry, version, size, present: true, expiresMs: expiresMs ?? entry.expiresMs };
      if (await this.#adopt(value, entry.version)) await draft.close("ready");
      else {
        await draft.close("ready");
        await draft.discard();
      }
      return undefined;
    } catch (error) {
      draft.isFinishing = false;
      // An upload may be finalized again: its bytes are still there.
      if (!options.isUpload || this.#uploads.get(url) !== draft) await this.abandon(draft, CacheError.from(error));
      throw error;
    }
  }

  /** Ends a draft without a value. */
  async abandon(draft: Draft, reason: CacheError): Promise<void> {
    this.#remove(draft);
    await draft.close(reason);
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
  lose(held: HeldEntry): void {
    const current = this.entries.get(held.entry.url);
    if (current?.sequence !== held.sequence) return;
    this.counts.evictions++;
    void this.entries.set({ ...held.entry, present: false }, held.stored).catch(() => {});
    void this.blocks.remove(held.entry.url, held.stored, this.blocks.blocksOf(held.entry.size));
    this.#options.onGone(held, "lost");
  }

  /** No member has the bytes: the value is missing from now on, everywhere. */
  async miss({ entry }: HeldEntry): Promise<void> {
    if (this.entries.get(entry.url)?.entry.version !== entry.version || entry.deleted) return;
    this.counts.lost++;
    await this.entries.set(deletedEntry(entry.url, entry.version, entry.expiresMs), entry.version);
  }

  /** Removes a value of which other members have enough copies. */
  drop({ entry, stored, sequence }: HeldEntry): void {
    if (this.entries.get(entry.url)?.sequence !== sequence) return;
    this.entries.forget(entry.url);
    void this.blocks.remove(entry.url, stored, this.blocks.blocksOf(entry.size));
  }

  /** Locks a value against eviction, deletion and overwriting; 0 seconds: unlocks it. Returns when the lock ends. */
  lock(url: string, holder: string, seconds: number): number {
    if (seconds === 0) {
      this.locks.unlock(url, holder);
      if (!this.locks.isLocked(url)) this.#unpin(url);
      return 0;
    }
    const held = this.readable(url);
    if (held === undefined) throw new CacheError("NOT_FOUND", `${url}: no such value`);
    const endsMs = this.locks.lock(url, holder, seconds);
    if (!this.#pins.has(url)) {
      const pins: BlockPin[] = [];
      for (let index = 0; index < this.blocks.blocksOf(held.entry.size); index++) {
        const pin = this.blocks.pin(url, held.stored, index);
        if (pin !== undefined) pins.push(pin);
      }
      this.#pins.set(url, pins);
    }
    return endsMs;
  }

  /** Bytes of a value from an offset, at most `most`, and whether they are the last. Waits for those of a draft if `follow`. */
  async read(
    { url, version, offset, most, follow }: { url: string; version: string; offset: number; most: number; follow: boolean },
    signal: AbortSignal,
  ): Promise<{ readonly entry: ValueEntry; readonly data: Uint8Array; readonly ended: boolean; readonly size: number }> {
    for (;;) {
      const held = this.readable(url);
      if (held !== undefined && (version === "" || version === held.entry.version)) {
        const { entry } = held;
        if (follow && offset === entry.size) return { entry, data: new Uint8Array(), ended: true, size: entry.size };
        return this.#readHeld(held, offset, most);
      }
      const retired = this.#retired.get(`${version} ${url}`);
      if (retired !== undefined) {
        retired.untilMs = this.nowMs + RETIRED_MS;
        return this.#readHeld(retired.held, offset, most);
      }
      const draft = follow ? (version === "" ? this.writerOf(url) : this.#anyDraft(url, version)) : undefined;
      if (draft === undefined) throw new CacheError("NOT_FOUND", `${url}: no such value`);
      const { entry, end } = draft;
      if (end instanceof CacheError) throw writerDied(url);
      const { isSized } = draft.options;
      if (isSized && offset >= entry.size && entry.size > 0) throw outOfRange(url, offset, entry.size);
      const data = end === undefined ? await draft.read(offset, most) : undefined;
      const size = isSized ? entry.size : draft.spans.bytes;
      if (data !== undefined) return { entry, data, ended: false, size };
      if (version === "") return { entry, data: new Uint8Array(), ended: false, size };
      if (draft.end === undefined) await draft.changed(signal);
      if (draft.end === "ready" && this.readable(url)?.entry.version !== version) {
        throw new CacheError("UNAVAILABLE", `${url}: the value was replaced while it was read: read again`);
      }
      if (draft.end instanceof CacheError) throw writerDied(url);
    }
  }

  /** Bounded work of every second: expired and lost values, silent writers, ended locks. */
  async sweep(): Promise<void> {
    for (const url of this.#pins.keys()) if (!this.locks.isLocked(url)) this.#unpin(url);
    for (const [name, { untilMs }] of this.#retired) if (untilMs <= this.nowMs) this.#removeRetired(name);
    await this.#endSilentDrafts();
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

  async #sweepOne(held: HeldEntry): Promise<void> {
    const { entry, stored } = held;
    const { nowMs } = this;
    if (entry.deleted) {
      if (forgottenMs(entry) <= nowMs || this.entries.size > 2 * MOST_DELETIONS) this.entries.forget(entry.url);
    } else if (!isLive(entry, nowMs)) {
      this.counts.expirations++;
      // Remembered as long as a deletion: an older version at a member that was away must not come back.
      await this.entries.set(deletedEntry(entry.url, entry.version, entry.expiresMs), stored).catch(() => {});
      await this.blocks.remove(entry.url, stored, this.blocks.blocksOf(entry.size));
      this.#options.onGone(held, "expired");
    } else if (entry.present && !this.blocks.hasAll(entry, stored)) this.lose(held);
  }

  async #endSilentDrafts(): Promise<void> {
    const all = [...this.#uploads.values(), ...[...this.#drafts.values()].flatMap((drafts) => [...drafts.values()])];
    for (const draft of all) {
      const timeoutMs = draft.options.isUpload ? UPLOAD_TIMEOUT_MS : WRITER_TIMEOUT_MS;
      if (this.nowMs - draft.heardMs < timeoutMs) continue;
      await this.abandon(draft, new CacheError("UNAVAILABLE", `${draft.entry.url}: its writer does not answer`));
    }
  }

  /** Ends all drafts; the member closes. */
  async close(): Promise<void> {
    const reason = new CacheError("UNAVAILABLE", "the member is closing");
    const all = [...this.#uploads.values(), ...[...this.#drafts.values()].flatMap((drafts) => [...drafts.values()])];
    for (const draft of all) await this.abandon(draft, reason);
    for (const url of [...this.#pins.keys()]) this.#unpin(url);
  }

  /** Replaces the entry if the version is larger, and removes what it replaces. Resolves with whether it was. */
  async #adopt(entry: ValueEntry, stored: string): Promise<boolean> {
    const before = this.entries.get(entry.url);
    const isNewer = before === undefined || before.entry.version < entry.version;
    const completes = before?.entry.version === entry.version && !before.entry.present && !before.entry.deleted && entry.present;
    if (!isNewer && !completes) return before.stored === stored && before.entry.version === entry.version;
    const written = this.entries.set(entry, stored);
    if (before !== undefined && !before.entry.deleted && before.stored !== stored) this.#retire(before);
    await written;
    return true;
  }

  /** Keeps a version that was replaced for a while, because other members may be reading it. */
  #retire(held: HeldEntry): void {
    const { url, version } = held.entry;
    this.#retired.set(`${version} ${url}`, { held, untilMs: this.nowMs + RETIRED_MS });
    for (const name of this.#retired.keys()) {
      if (this.#retired.size <= MOST_RETIRED) return;
      this.#removeRetired(name);
    }
  }

  #removeRetired(name: string): void {
    const { entry, stored } = this.#retired.get(name)!.held;
    this.#retired.delete(name);
    void this.blocks.remove(entry.url, stored, this.blocks.blocksOf(entry.size));
  }

  #remove(draft: Draft): void {
    const { url, version } = draft.entry;
    if (draft.options.isUpload) {
      if (this.#uploads.get(url) !== draft) return;
      this.#uploads.delete(url);
    } else {
      const drafts = this.#drafts.get(url);
      if (drafts?.get(version) !== draft) return;
      drafts.delete(version);
      if (drafts.size === 0) this.#drafts.delete(url);
    }
    this.#draftCount--;
  }

  #anyDraft(url: string, version: string): Draft | undefined {
    return this.#drafts.get(url)?.get(version);
  }

  async #readHeld(held: HeldEntry, offset: number, most: number) {
    const { entry, stored } = held;
    const { url, size } = entry;
    if (size === 0 && offset === 0) return { entry, data: new Uint8Array(), ended: true, size };
    if (offset >= size) throw outOfRange(url, offset, size);
    const { blockBytes } = this.blocks.geometry;
    const pieces: Uint8Array[] = [];
    const end = Math.min(size, offset + most);
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / blockBytes);
      const pin = this.blocks.pin(url, stored, index);
      const start = index * blockBytes;
      const slice = await pin?.read(at - start, Math.min(blockBytes, end - start));
      if (slice !== undefined) pieces.push(Buffer.from(slice.bytes));
      slice?.release();
      pin?.release();
      if (slice === undefined) {
        this.lose(held);
        throw new CacheError("UNAVAILABLE", `${url}: bytes of the value are gone at this member`);
      }
      at += slice.bytes.length;
    }
    return { entry, data: Buffer.concat(pieces), ended: end === size, size };
  }

  #unpin(url: string): void {
    for (const pin of this.#pins.get(url) ?? []) pin.release();
    this.#pins.delete(url);
  }
}

function writerDied(url: string): CacheError {
  return new CacheError("UNAVAILABLE", `${url}: its writer has ended early`);
}
