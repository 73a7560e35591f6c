import { rampChunks } from "@frontcache/server/testing";

/** Bytes that are generated on demand, so an object may be larger than memory. */
export interface Content {
  readonly size: number;
  /** Yields the bytes of `[start, end)` in order, in chunks of at most `chunkBytes`. */
  chunks(start: number, end: number, chunkBytes: number): Iterable<Uint8Array>;
}

/** One version of an object. */
export interface StoredObject extends Content {
  readonly key: string;
  /** The version in the store's headers: an ETag with its quotes, or a generation. */
  readonly version: string;
  readonly contentType: string;
  readonly lastModifiedMs: number;
  /** Further headers of its answers, names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

export function rampContent(size: number, seed: number): Content {
  return { size, chunks: (start, end, chunkBytes) => rampChunks(start, end - start, seed, chunkBytes) };
}

export function bytesContent(bytes: Uint8Array): Content {
  return {
    size: bytes.length,
    *chunks(start, end, chunkBytes) {
      for (let at = start; at < end; at += chunkBytes) yield bytes.subarray(at, Math.min(end, at + chunkBytes));
    },
  };
}

/** Buckets and their objects. Names are verbatim. */
export class ObjectTable {
  readonly #buckets = new Map<string, Map<string, StoredObject>>();

  createBucket(bucket: string): void {
    if (!this.#buckets.has(bucket)) this.#buckets.set(bucket, new Map());
  }

  /** Names of all buckets, sorted. */
  buckets(): string[] {
    return [...this.#buckets.keys()].sort();
  }

  hasBucket(bucket: string): boolean {
    return this.#buckets.has(bucket);
  }

  get(bucket: string, key: string): StoredObject | undefined {
    return this.#buckets.get(bucket)?.get(key);
  }

  /** Creates the bucket if it is missing. */
  put(bucket: string, object: StoredObject): void {
    this.createBucket(bucket);
    this.#buckets.get(bucket)!.set(object.key, object);
  }

  delete(bucket: string, key: string): void {
    this.#buckets.get(bucket)?.delete(key);
  }

  /** Returns the bucket's objects sorted by the UTF-8 bytes of their names, as stores list them. */
  list(bucket: string): StoredObject[] {
    const objects = [...(this.#buckets.get(bucket)?.values() ?? [])];
    return objects.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
  }
}
