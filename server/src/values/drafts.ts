import { CacheError, type ValueEntry } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import { Draft } from "./draft.js";
import type { ValueBlocks } from "./value-blocks.js";
import { WriteMemory } from "./write-memory.js";

/** A writer that is silent for so long is dead. Members repeat a sign of life more often. */
export const WRITER_TIMEOUT_MS = 15_000;
/** An upload without a write for so long is aborted. */
export const UPLOAD_TIMEOUT_MS = 3_600_000;
/** Values that are being written at a time. */
const MOST_DRAFTS = 4_096;

/** How a value is written. */
export interface DraftKind {
  /** The size is that of the entry. */
  readonly isSized: boolean;
  readonly isUpload: boolean;
  /** Another member has the value: this one copies it. */
  readonly isCopy: boolean;
  readonly isExclusive: boolean;
  /** Of an upload: the members at which it began. */
  readonly members: readonly string[];
}

/** The values that are being written at this member: uploads by URL, all others by URL and version. */
export class Drafts {
  readonly #blocks: ValueBlocks;
  readonly #clock: Pick<Clock, "nowMs">;
  readonly #memory = new WriteMemory();
  readonly #drafts = new Map<string, Map<string, Draft>>();
  readonly #uploads = new Map<string, Draft>();
  #size = 0;

  constructor(blocks: ValueBlocks, clock: Pick<Clock, "nowMs">) {
    this.#blocks = blocks;
    this.#clock = clock;
  }

  get size(): number {
    return this.#size;
  }

  /** Begins to write a value. Throws RESOURCE_EXHAUSTED if too many are being written. */
  begin(entry: ValueEntry, kind: DraftKind): Draft {
    const { url, version } = entry;
    if (this.#size >= MOST_DRAFTS) {
      throw new CacheError("RESOURCE_EXHAUSTED", `${url}: this member writes ${MOST_DRAFTS} values already: try again`);
    }
    const [blocks, memory, nowMs] = [this.#blocks, this.#memory, () => this.#clock.nowMs()];
    const draft = new Draft({ entry, ...kind, blocks, memory, nowMs });
    if (kind.isUpload) this.#uploads.set(url, draft);
    else {
      const drafts = this.#drafts.get(url) ?? new Map<string, Draft>();
      this.#drafts.set(url, drafts.set(version, draft));
    }
    this.#size++;
    return draft;
  }

  /** An empty version is that of the upload. */
  get(url: string, version: string): Draft | undefined {
    return version === "" ? this.#uploads.get(url) : this.#drafts.get(url)?.get(version);
  }

  uploadOf(url: string): Draft | undefined {
    return this.#uploads.get(url);
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

  /** Forgets a draft, which its caller ends. */
  remove(draft: Draft): void {
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
    this.#size--;
  }

  /** Ends a draft without a value: its readers get the reason. */
  async abandon(draft: Draft, reason: CacheError): Promise<void> {
    this.remove(draft);
    await draft.close(reason);
  }

  /** Ends drafts whose writers are silent. */
  async endSilent(): Promise<void> {
    for (const draft of this.#all()) {
      const timeoutMs = draft.options.isUpload ? UPLOAD_TIMEOUT_MS : WRITER_TIMEOUT_MS;
      if (this.#clock.nowMs() - draft.heardMs < timeoutMs) continue;
      await this.abandon(draft, new CacheError("UNAVAILABLE", `${draft.entry.url}: its writer does not answer`));
    }
  }

  /** Ends all drafts. */
  async close(): Promise<void> {
    const reason = new CacheError("UNAVAILABLE", "the member is closing");
    for (const draft of this.#all()) await this.abandon(draft, reason);
  }

  #all(): Draft[] {
    return [...this.#uploads.values(), ...[...this.#drafts.values()].flatMap((drafts) => [...drafts.values()])];
  }
}
