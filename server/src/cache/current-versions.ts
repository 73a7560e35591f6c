import { CacheError, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import type { Origin } from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import { SingleFlight } from "../runtime/single-flight.js";

export interface CurrentVersionSettings {
  /** How old a seen version may be to count as current; 0: never, Infinity: for ever. */
  readonly revalidateAfterMs: number;
  /** How long "no such object" is believed. */
  readonly negativeTtlMs: number;
}

export interface CurrentVersionsOptions extends CurrentVersionSettings {
  readonly clock: Clock;
  readonly origin: Pick<Origin, "stat">;
}

/** Objects remembered, about 300 bytes each; beyond it the one seen longest ago is forgotten. */
const CAPACITY = 100_000;

interface Sighting {
  /** Undefined: there was no such object. */
  readonly info: ObjectInfo | undefined;
  readonly seenAtMs: number;
  /** The origin could not be asked at this time, later than `seenAtMs`. */
  unaskableAtMs?: number;
}

/** What the origin last said is the current version of each object, and when. */
export class CurrentVersions {
  readonly #seen = new Map<string, Sighting>();

  readonly #questions = new SingleFlight<ObjectInfo>();

  constructor(
    private readonly options: CurrentVersionsOptions,
    /** Aborted when the member closes. */
    private readonly signal: AbortSignal,
  ) {}

  /** Asks the origin for the current version, once for all who ask meanwhile, and remembers the answer. */
  ask(ref: ObjectRef): Promise<ObjectInfo> {
    return this.#questions.run(ref.url, async () => {
      try {
        const info = await this.options.origin.stat(ref, this.signal);
        this.see(ref.url, info);
        return info;
      } catch (error) {
        const failure = CacheError.from(error);
        if (failure.code === "NOT_FOUND") this.seeMissing(ref.url);
        else if (failure.retryable) this.#couldNotAsk(ref.url);
        throw failure;
      }
    });
  }

  /** The current version, seen recently enough. Throws NOT_FOUND where its absence was seen recently enough. */
  fresh(url: string): ObjectInfo | undefined {
    const sighting = this.#seen.get(url);
    if (sighting === undefined) return undefined;
    const ageMs = this.options.clock.nowMs() - sighting.seenAtMs;
    if (sighting.info === undefined) {
      if (ageMs < this.options.negativeTtlMs) throw notFound(url);
      return undefined;
    }
    // A clock that was set back makes a sighting look younger than 0: ask again rather than believe it for long.
    return ageMs >= 0 && ageMs < this.options.revalidateAfterMs ? sighting.info : undefined;
  }

  /** The origin could not be asked: don't ask again for each read. */
  #couldNotAsk(url: string): void {
    const sighting = this.#seen.get(url);
    if (sighting !== undefined) sighting.unaskableAtMs = this.options.clock.nowMs();
  }

  /** Whether the origin was out of reach for this object a moment (`negativeTtlMs`) ago. */
  wasUnaskable(url: string): boolean {
    const atMs = this.#seen.get(url)?.unaskableAtMs;
    return atMs !== undefined && this.options.clock.nowMs() - atMs < this.options.negativeTtlMs;
  }

  /** The version seen last, however long ago. */
  last(url: string): ObjectInfo | undefined {
    return this.#seen.get(url)?.info;
  }

  /** The origin said this now, or said it at `seenAtMs` (a block file's creation, after a restart). */
  see(url: string, info: ObjectInfo, seenAtMs = this.options.clock.nowMs()): void {
    this.#remember(url, { info, seenAtMs });
  }

  /** The origin said now that there is no such object. */
  seeMissing(url: string): void {
    this.#remember(url, { info: undefined, seenAtMs: this.options.clock.nowMs() });
  }

  /** The origin no longer has this version. */
  forget(url: string, version: string): void {
    if (this.#seen.get(url)?.info?.version === version) this.#seen.delete(url);
  }

  #remember(url: string, sighting: Sighting): void {
    this.#seen.delete(url);
    this.#seen.set(url, sighting);
    if (this.#seen.size > CAPACITY) this.#seen.delete(this.#seen.keys().next().value!);
  }
}

function notFound(url: string): CacheError {
  return new CacheError("NOT_FOUND", `${url}: no such object`);
}
