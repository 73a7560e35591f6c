/** One version of an object: a ramp modulo 251. */
export interface PutVersion {
  readonly version: string;
  readonly size: number;
  readonly seed: number;
}

interface Era {
  /** Undefined: there was no such object. */
  readonly put: PutVersion | undefined;
  readonly fromMs: number;
}

/** What each object was, and when: the model that answers are held against. */
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
    return version === undefined ? eras.length > 1 : eras.some(({ put }) => put?.version !== version);
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
