import type { ObjectInfo } from "@frontcache/proto";

/**
 * The memory for headers of cached objects. If it is used up, further objects are kept without their headers, which count as not
 * known then: their block files have them, and the origin can be asked.
 */
export class HeaderMemory {
  readonly #limitBytes: number;
  #usedBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** What may be kept of an object's information, to be released later. */
  keep(info: ObjectInfo): ObjectInfo {
    const { headers } = info;
    if (headers === undefined) return info;
    if (this.#usedBytes + headers.length > this.#limitBytes) {
      const { headers: _, ...bare } = info;
      return { ...bare, lacks: "metadata" };
    }
    this.#usedBytes += headers.length;
    return info;
  }

  /** The information of `keep` is not kept any more. */
  release({ headers = "" }: ObjectInfo): void {
    this.#usedBytes -= headers.length;
  }
}
