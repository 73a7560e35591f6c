import type { CacheClient } from "@frontcache/client";
import { CacheError } from "@frontcache/proto";
import { seededRandom } from "../seeded-random.js";
import { isWhollyOf, LEAST_BYTES, type OverwrittenObject, type Put } from "./overwritten-object.js";

const MiB = 1 << 20;

/** How a reader reads. */
export interface ReaderKind {
  readonly versioned: boolean;
  readonly streamed: boolean;
}

/** What all reads of one kind came to. */
export interface Tally {
  /** Whole answers, and those of them of a version that was not current any more when the read began. */
  whole: number;
  old: number;
  /** FAILED_PRECONDITION, and those of them after some bytes. */
  refused: number;
  brokenOff: number;
}

/** Reads of an object that is overwritten meanwhile, each answer compared with what the object was. */
export class VersionReaders {
  readonly #object: OverwrittenObject;

  readonly tallies: Record<string, Tally> = {};
  /** What must not be, one line each. */
  readonly wrong: string[] = [];
  /** Longest that an unversioned answer was behind: between its version's end and the read's beginning, milliseconds. */
  stalestMs = 0;
  /** Whole answers so far. */
  #whole = 0;
  #stopped = false;
  readonly #waiting: { readonly whole: number; readonly resolve: () => void }[] = [];

  constructor(object: OverwrittenObject) {
    this.#object = object;
  }

  /** Resolves when this many more whole answers have come. One call at a time. */
  more(answers: number): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ whole: this.#whole + answers, resolve }));
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Reads ranges over several blocks, one after the other, until `stop`. */
  async run(client: CacheClient, kind: ReaderKind, seed: number): Promise<void> {
    const random = seededRandom(seed);
    while (!this.#stopped) {
      const offset = Math.floor(random() * (LEAST_BYTES - 1));
      const length = MiB + 1 + Math.floor(random() * 1.5 * MiB);
      const { puts } = this.#object;
      const asked = kind.versioned ? puts[Math.max(0, puts.length - 1 - Math.floor(random() ** 3 * 6))] : undefined;
      await this.#read(client, kind, { offset, length }, asked);
      while (this.#waiting.length > 0 && this.#waiting[0]!.whole <= this.#whole) this.#waiting.shift()!.resolve();
    }
  }

  async #read(
    client: CacheClient,
    kind: ReaderKind,
    range: { offset: number; length: number },
    asked: Put | undefined,
  ): Promise<void> {
    const beganMs = performance.now();
    const pieces: Buffer[] = [];
    let failure: CacheError | undefined;
    try {
      const { url } = this.#object;
      if (!kind.streamed) pieces.push(await client.readRange(url, range.offset, range.length, asked?.version));
      else
        for await (const piece of client.stream(url, range.offset, range.length, asked?.version)) pieces.push(Buffer.from(piece));
    } catch (error) {
      failure = CacheError.from(error);
    }
    this.#judge(kind, range, asked, { bytes: Buffer.concat(pieces), failure, beganMs });
  }

  #judge(
    kind: ReaderKind,
    range: { offset: number; length: number },
    asked: Put | undefined,
    { bytes, failure, beganMs }: { bytes: Buffer; failure: CacheError | undefined; beganMs: number },
  ): void {
    const name = `${kind.versioned ? "versioned" : "unversioned"} ${kind.streamed ? "stream" : "range"}`;
    const where = `${name} of ${range.length} at ${range.offset}${asked === undefined ? "" : ` of seed ${asked.seed}`}`;
    this.tallies[name] ??= { whole: 0, old: 0, refused: 0, brokenOff: 0 };
    const tally = this.tallies[name];
    if (failure !== undefined && failure.code !== "FAILED_PRECONDITION")
      this.wrong.push(`${where}: ${failure.code} ${failure.message}`);
    const put = bytes.length === 0 ? undefined : (asked ?? this.#object.beginningOf(bytes, range.offset));
    if (put !== undefined && !isWhollyOf(put, bytes, range, failure !== undefined)) {
      this.wrong.push(`${where}: ${bytes.length} bytes that are not wholly of seed ${put.seed}`);
    }
    if (failure !== undefined) {
      tally.refused++;
      if (bytes.length > 0) tally.brokenOff++;
      return;
    }
    if (put === undefined) return void this.wrong.push(`${where}: no bytes`);
    tally.whole++;
    this.#whole++;
    const behindMs = beganMs - this.#object.replacedAtMs(put);
    if (behindMs > 0) tally.old++;
    if (asked === undefined) this.stalestMs = Math.max(this.stalestMs, behindMs);
  }
}
