import type { ValueEntry } from "@frontcache/proto";
import type { Journal, JournalRecord } from "./journal.js";
import { infoOf, isLive } from "./value-entry.js";
import type { ValueInfo } from "./values.js";

/** What this member knows of a value. */
export class KnownEntry implements JournalRecord {
  readonly entry: ValueEntry;
  readonly stored: string;
  readonly isEvicted: boolean;
  /** Position in the order of changes at this member. */
  readonly sequence: number;
  #info: ValueInfo | undefined;

  constructor({ entry, stored, isEvicted }: JournalRecord, sequence: number) {
    this.entry = entry;
    this.stored = stored;
    this.isEvicted = isEvicted;
    this.sequence = sequence;
  }

  /** The entry as clients see it: the same object for all reads, by which they find what they have derived from it. */
  get info(): ValueInfo {
    this.#info ??= infoOf(this.entry);
    return this.#info;
  }
}

/** Deletions that are remembered; beyond that, the oldest are forgotten. */
export const MOST_DELETIONS = 200_000;
/** The log of changes is shortened when it has that many more than entries. */
const LOG_SLACK = 10_000;

/** The newest known version of each value at this member: in memory, in the order of changes, and in the journal. */
export class ValueEntries {
  readonly #known = new Map<string, KnownEntry>();
  /** Changes in order; those whose entry has changed again are skipped. */
  #log: { readonly sequence: number; readonly url: string }[] = [];
  #sequence = 0;
  #sorted: string[] | undefined;
  #journal: Pick<Journal, "append" | "forget"> | undefined;

  /** Takes over the content of a journal, and writes to it from now on. */
  recover(records: Iterable<JournalRecord>, journal: Pick<Journal, "append" | "forget">): void {
    for (const record of records) this.#set(record);
    this.#journal = journal;
  }

  get size(): number {
    return this.#known.size;
  }

  get sequence(): number {
    return this.#sequence;
  }

  get(url: string): KnownEntry | undefined {
    return this.#known.get(url);
  }

  live(url: string, nowMs: number): KnownEntry | undefined {
    const known = this.#known.get(url);
    return isLive(known?.entry, nowMs) ? known : undefined;
  }

  values(): IterableIterator<KnownEntry> {
    return this.#known.values();
  }

  /** Replaces an entry at once; resolves when the journal has it. */
  async set(entry: ValueEntry, stored: string, isEvicted = false): Promise<void> {
    const known = this.#set({ entry, stored, isEvicted });
    await this.#journal?.append(known);
  }

  forget(url: string): void {
    if (!this.#known.delete(url)) return;
    this.#sorted = undefined;
    this.#journal?.forget(url);
  }

  /** Entries that have changed after a sequence number, in the order of their last change. */
  *changedAfter(sequence: number): Generator<KnownEntry> {
    let [low, high] = [0, this.#log.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#log[middle]!.sequence <= sequence) low = middle + 1;
      else high = middle;
    }
    for (let at = low; at < this.#log.length; at++) {
      const change = this.#log[at]!;
      const known = this.#known.get(change.url);
      if (known?.sequence === change.sequence) yield known;
    }
  }

  /** Entries whose URL begins so and comes after another one, by the bytes of the URLs. */
  *listed(beginning: string, after: string): Generator<KnownEntry> {
    this.#sorted ??= [...this.#known.keys()].sort(compareBytes);
    const sorted = this.#sorted;
    const from = compareBytes(after, beginning) > 0 ? after : beginning;
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareBytes(sorted[middle]!, from) < 0) low = middle + 1;
      else high = middle;
    }
    for (let at = low; at < sorted.length && sorted[at]!.startsWith(beginning); at++) {
      const known = sorted[at] === after ? undefined : this.#known.get(sorted[at]!);
      if (known !== undefined) yield known;
    }
  }

  #set(record: JournalRecord): KnownEntry {
    const { url } = record.entry;
    if (!this.#known.has(url)) this.#sorted = undefined;
    const known = new KnownEntry(record, ++this.#sequence);
    this.#known.set(url, known);
    this.#log.push({ sequence: known.sequence, url });
    if (this.#log.length > 2 * this.#known.size + LOG_SLACK) {
      this.#log = this.#log.filter((change) => this.#known.get(change.url)?.sequence === change.sequence);
    }
    return known;
  }
}

/** Compares texts by their bytes in UTF-8. Surrogates come after all other characters there. */
export function compareBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const [one, other] = [a.charCodeAt(at), b.charCodeAt(at)];
    if (one !== other) return rank(one) - rank(other);
  }
  return a.length - b.length;
}

function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
