import { TransientMap } from "@frontcache/proto/runtime";

/** A frequently read object. Both figures are estimates for the last minutes. */
export interface HotObject {
  readonly url: string;
  readonly reads: number;
  readonly bytes: number;
}

interface Entry {
  url: string;
  reads: number;
  bytes: number;
}

/** From this number of reads per interval on, only a sample is counted. */
const SAMPLE_FROM = 10_000;
/** One of this many reads is counted; a power of two. */
const SAMPLE = 16;

/**
 * The most read objects in bounded memory: the space-saving algorithm (Metwally et al., 2005). A new object replaces the least
 * read one and inherits its count, so no frequent object is missed. Figures are halved every interval, so old objects make room.
 */
export class HottestObjects {
  readonly #capacity: number;

  readonly #entries: Entry[] = [];
  readonly #byUrl = new TransientMap<Entry>();
  #reads = 0;
  #weight = 1;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Counts a read of an object. */
  touch(url: string, bytes: number): void {
    this.#reads++;
    const weight = this.#weight;
    if (weight > 1 && this.#reads % SAMPLE !== 0) return;
    const entry = this.#byUrl.get(url) ?? this.#enter(url);
    entry.reads += weight;
    entry.bytes += weight * bytes;
  }

  /** Ends an interval. */
  decay(): void {
    this.#weight = this.#reads >= SAMPLE_FROM ? SAMPLE : 1;
    this.#reads = 0;
    const entries = this.#entries.splice(0);
    for (const entry of entries) {
      entry.reads /= 2;
      entry.bytes /= 2;
      if (entry.reads < 0.5) this.#byUrl.delete(entry.url);
      else this.#entries.push(entry);
    }
  }

  /** The `count` most read, the most read first. */
  top(count: number): HotObject[] {
    const all = this.#entries.map(({ url, reads, bytes }) => ({
      url,
      reads: Math.round(reads),
      bytes: Math.round(bytes),
    }));
    return all.sort((a, b) => b.reads - a.reads).slice(0, count);
  }

  #enter(url: string): Entry {
    const entry = this.#entries.length < this.#capacity ? { url, reads: 0, bytes: 0 } : this.#replaceLeast(url);
    if (this.#entries.length < this.#capacity) this.#entries.push(entry);
    this.#byUrl.set(url, entry);
    return entry;
  }

  /** The least read object's entry for another object. Each object that is read for the first time takes one. */
  #replaceLeast(url: string): Entry {
    let least = this.#entries[0]!;
    for (const entry of this.#entries) if (entry.reads < least.reads) least = entry;
    this.#byUrl.delete(least.url);
    least.url = url;
    // The bytes are not inherited: the guarantee needs only the count.
    least.bytes = 0;
    return least;
  }
}
