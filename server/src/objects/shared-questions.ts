import { CacheError } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import type { CurrentRecord } from "../cache/freshness.js";
import type { Needs } from "../cache/local-cache.js";

/** A question for a record that is on its way to another member. */
interface Asked {
  readonly url: string;
  /** Counts questions and reads. */
  readonly sequence: number;
  readonly record: Promise<CurrentRecord>;
  isVoid: boolean;
}

const ALL_NEEDS: readonly Needs[] = ["version", "metadata", "checksums"];

/**
 * Questions for records that reads of one object share. A read may share the answer to a question that was sent after the read
 * began: an earlier answer may be older than a version that somebody has received meanwhile.
 */
export class SharedQuestions {
  readonly #asked = new Map<string, Asked>();
  #sequence = 0;

  /**
   * The answer to a question of `ask`, or to one that is sent for another read. `leased` is asked for a record that a question which
   * ended meanwhile brought.
   */
  async share(
    of: { readonly url: string; readonly needs: Needs },
    ask: () => Promise<CurrentRecord>,
    leased: () => CurrentRecord | undefined,
    signal: AbortSignal,
  ): Promise<CurrentRecord> {
    const key = keyOf(of.url, of.needs);
    const began = ++this.#sequence;
    for (let running = this.#asked.get(key); running !== undefined; running = this.#asked.get(key)) {
      const record = untilAborted(running.record, signal);
      if (running.sequence > began && !running.isVoid) return record;
      await record.catch(() => {
        if (signal.aborted) throw CacheError.from(signal.reason);
      });
      const found = leased();
      if (found !== undefined) return found;
    }
    const asked: Asked = { url: of.url, sequence: ++this.#sequence, record: ask(), isVoid: false };
    this.#asked.set(key, asked);
    const forget = (): void => {
      if (this.#asked.get(key) === asked) this.#asked.delete(key);
    };
    asked.record.then(forget, forget);
    return untilAborted(asked.record, signal);
  }

  /** The object has changed: answers to questions that were sent before are not shared. */
  void(url: string): void {
    for (const needs of ALL_NEEDS) {
      const key = keyOf(url, needs);
      const asked = this.#asked.get(key);
      if (asked === undefined) continue;
      asked.isVoid = true;
      this.#asked.delete(key);
    }
  }

  /** The same for all objects whose URLs begin like this. */
  voidUnder(prefix: string): void {
    for (const { url } of [...this.#asked.values()]) if (url.startsWith(prefix)) this.void(url);
  }
}

/** Questions that need more are not shared with those that need less. A URL may contain spaces. */
function keyOf(url: string, needs: Needs): string {
  return needs === "version" ? url : `${needs} ${url}`;
}
