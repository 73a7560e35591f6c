/** One version of an object: a ramp modulo 251. */
export interface PutVersion {
  readonly version: string;
  readonly size: number;
  readonly seed: number;
  /** The value of a header that may change although the version does not. */
  readonly contentType?: string | undefined;
}

interface Era {
  /** Undefined: there was no such object. */
  readonly put: PutVersion | undefined;
  readonly fromMs: number;
}

/**
 * What each object was, and when: the model that answers are held against. Eras are counted: the first one of an object is
 * number 0. A version may have several eras, because an object may be overwritten with what it was before.
 */
export class VersionHistory {
  readonly #eras = new Map<string, Era[]>();

  put(url: string, put: PutVersion, nowMs: number): void {
    this.#begin(url, { put, fromMs: nowMs });
  }

  delete(url: string, nowMs: number): void {
    this.#begin(url, { put: undefined, fromMs: nowMs });
  }

  version(url: string, version: string): PutVersion | undefined {
    return this.#of(url).find(({ put }) => put?.version === version)?.put;
  }

  /** All versions that ever were, the current one last. */
  versions(url: string): PutVersion[] {
    return this.#of(url).flatMap(({ put }) => put ?? []);
  }

  /** The current version; undefined: there is no such object. */
  current(url: string): PutVersion | undefined {
    return this.#of(url).at(-1)!.put;
  }

  /** Number of the first era, not before one, in which the object was like this. Undefined: none. */
  eraSince(url: string, number: number, is: (put: PutVersion | undefined) => boolean): number | undefined {
    const eras = this.#of(url);
    for (let at = number; at < eras.length; at++) if (is(eras[at]!.put)) return at;
    return undefined;
  }

  /** Number of the era that lasts. */
  lastEra(url: string): number {
    return this.#of(url).length - 1;
  }

  /** Whether the version was current at some time between two moments, both included. */
  wasCurrent(url: string, version: string, fromMs: number, toMs: number): boolean {
    return this.#during(url, fromMs, toMs).some(({ put }) => put?.version === version);
  }

  wasMissing(url: string, fromMs: number, toMs: number): boolean {
    return this.#during(url, fromMs, toMs).some(({ put }) => put === undefined);
  }

  /** Whether the version (or one that was current meanwhile) does not reach to the offset. */
  hadEnded(url: string, version: string | undefined, offset: number, fromMs: number, toMs: number): boolean {
    const puts = version === undefined ? this.#during(url, fromMs, toMs).map(({ put }) => put) : [this.version(url, version)];
    return puts.some((put) => put === undefined || put.size <= offset);
  }

  /** Whether the version was not current at some time; without one, whether the object changed. */
  changed(url: string, version: string | undefined, fromMs: number, toMs: number): boolean {
    const eras = this.#during(url, fromMs, toMs);
    if (version === undefined) return new Set(eras.map(({ put }) => put?.version)).size > 1;
    return eras.some(({ put }) => put?.version !== version);
  }

  /** When the object became another version, or came into being, or was deleted, the last time. */
  changedMs(url: string): number {
    const eras = this.#of(url);
    const last = eras.findLastIndex(({ put }, at) => put?.version !== eras[at - 1]?.put?.version || at === 0);
    return eras[last]!.fromMs;
  }

  #begin(url: string, era: Era): void {
    this.#eras.set(url, [...this.#of(url), era]);
  }

  #of(url: string): readonly Era[] {
    return this.#eras.get(url) ?? [{ put: undefined, fromMs: Number.NEGATIVE_INFINITY }];
  }

  #during(url: string, fromMs: number, toMs: number): Era[] {
    const eras = this.#of(url);
    return eras.filter(({ fromMs: begin }, i) => begin <= toMs && (eras[i + 1]?.fromMs ?? Number.POSITIVE_INFINITY) >= fromMs);
  }
}
