import type { ObjectInfo } from "@frontcache/proto";
import { fillWithRamp } from "./ramp.js";

/** One version of an object in memory, or made on the fly. */
export interface MemoryObject {
  readonly info: ObjectInfo;
  /** Fills `memory` with the bytes from `offset` on; there must be as many. */
  copy(offset: number, memory: Buffer): void;
}

/** What a simulated store holds; several members' origins may share it. Each put makes a new version: v1, v2, ... */
export class MemoryObjects {
  readonly #objects = new Map<string, MemoryObject>();
  #versions = 0;

  /** Returns the new version. */
  put(url: string, bytes: Uint8Array | string, contentType?: string): string {
    const content = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
    return this.#store(url, content.length, contentType, (offset, memory) => {
      memory.set(content.subarray(offset, offset + memory.length));
    });
  }

  /** Puts an object of any size whose byte i is (i + seed) % 251; returns the new version. */
  putRamp(url: string, size: number, seed: number): string {
    return this.#store(url, size, undefined, (offset, memory) => fillWithRamp(memory, offset, seed));
  }

  delete(url: string): void {
    this.#objects.delete(url);
  }

  /** The current version. */
  get(url: string): MemoryObject | undefined {
    return this.#objects.get(url);
  }

  /** URLs that begin with `url`, in the order of their bytes. */
  under(url: string): string[] {
    const found = [...this.#objects.keys()].filter((name) => name.startsWith(url));
    return found.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  }

  #store(url: string, objectSize: number, contentType: string | undefined, copy: MemoryObject["copy"]): string {
    const version = `v${++this.#versions}`;
    // Times of change are as far apart as versions, from a fixed day on: a simulated run has no clock on the wall.
    const lastModifiedMs = Date.UTC(2024, 0, 1) + this.#versions * 1000;
    this.#objects.set(url, {
      info: { version, objectSize, lastModifiedMs, ...(contentType !== undefined && { contentType }) },
      copy,
    });
    return version;
  }
}
