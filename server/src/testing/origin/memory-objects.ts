import { CacheError, type ObjectInfo, type PrefixRef } from "@frontcache/proto";
import type { ListedObject, Listing, ListPage } from "../../origin/origin.js";
import { fillWithRamp } from "./ramp.js";

/** One version of an object, in memory or generated. */
export interface MemoryObject {
  readonly info: ObjectInfo;
  /** Fills `memory` with the bytes from `offset`. The object must have that many. */
  copy(offset: number, memory: Buffer): void;
}

/** How an object is put. */
export interface PutAs {
  readonly contentType?: string | undefined;
  /** Absent: the next one. */
  readonly version?: string | undefined;
}

/**
 * The objects of a simulated store, which the origins of several members may share. Each put creates a new version: v1, v2, ...
 */
export class MemoryObjects {
  readonly #objects = new Map<string, MemoryObject>();
  /** Called when a member has written or deleted an object. */
  onWritten: (url: string, object: MemoryObject | undefined) => void = () => {};
  #versions = 0;

  /** Returns the new version. */
  put(url: string, bytes: Uint8Array | string, contentType?: string): string {
    const content = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
    return this.#store(url, content.length, { contentType }, (offset, memory) => {
      memory.set(content.subarray(offset, offset + memory.length));
    });
  }

  /**
   * Puts an object of any size whose byte i is (i + seed) % 251; returns the new version. With a version: the same object
   * again, as an overwrite with the same bytes that changes nothing but headers.
   */
  putRamp(url: string, size: number, seed: number, as: PutAs = {}): string {
    return this.#store(url, size, as, (offset, memory) => fillWithRamp(memory, offset, seed));
  }

  delete(url: string): void {
    this.#objects.delete(url);
  }

  /** Returns the current version. */
  get(url: string): MemoryObject | undefined {
    return this.#objects.get(url);
  }

  /** Returns the URLs that begin with `url`, in byte order. */
  under(url: string): string[] {
    const found = [...this.#objects.keys()].filter((name) => name.startsWith(url));
    return found.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  }

  #store(url: string, objectSize: number, { contentType, version: same }: PutAs, copy: MemoryObject["copy"]): string {
    this.#versions++;
    const version = same ?? `v${this.#versions}`;
    // A modification time per version, from a fixed day: a simulated run has no wall clock.
    const lastModifiedMs = Date.UTC(2024, 0, 1) + this.#versions * 1000;
    this.#objects.set(url, {
      info: { version, objectSize, lastModifiedMs, ...(contentType !== undefined && { contentType }) },
      copy,
    });
    return version;
  }
}

/** A page of the listing of a simulated store; a token is the last name of a page. Throws NOT_FOUND if the bucket is empty. */
export function memoryListing(objects: MemoryObjects, ref: PrefixRef, page: ListPage): Listing {
  const root = `${ref.scheme}://${ref.bucket}/`;
  if (objects.under(root).length === 0) throw new CacheError("NOT_FOUND", `${ref.url}: no such bucket`);
  const { delimiter, maxKeys, token, startAfter } = page;
  const after = Buffer.from(token ?? startAfter ?? "");
  const listed: ListedObject[] = [];
  const prefixes = new Set<string>();
  let last = "";
  for (const url of objects.under(root + ref.prefix)) {
    const key = url.slice(root.length);
    const cut = delimiter === "" ? -1 : key.indexOf(delimiter, ref.prefix.length);
    const name = cut < 0 ? key : key.slice(0, cut + delimiter.length);
    if (Buffer.compare(Buffer.from(name), after) <= 0 || prefixes.has(name)) continue;
    if (listed.length + prefixes.size === maxKeys) return { objects: listed, prefixes: [...prefixes], nextToken: last };
    last = name;
    if (cut >= 0) prefixes.add(name);
    else {
      const { contentType: _, ...info } = objects.get(url)!.info;
      listed.push({ key, ...info });
    }
  }
  return { objects: listed, prefixes: [...prefixes] };
}
