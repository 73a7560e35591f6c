import { crc32 } from "node:zlib";
import {
  CacheError,
  FOOTER_BYTES,
  type Geometry,
  segmentCount,
  type ValueEntry,
  valueBlock,
  valueBlockUrl,
} from "@frontcache/proto";
import type { BlockPin } from "../storage/block.js";
import type { BlockStore, PurgeRun } from "../storage/block-store.js";

/** The blocks of values in the block store. Each is an object of its own there, because the size of a value may be unknown at first. */
export class ValueBlocks {
  readonly geometry: Geometry;
  readonly #store: BlockStore;
  /** Versions that are being read. */
  readonly #uses = new Map<string, { count: number; readonly onUnused: (() => void)[] }>();

  /** Versions of which a block was evicted, until their value is found incomplete. */
  readonly #evicted = new Set<string>();
  readonly #stopListening: () => void;

  constructor(store: BlockStore, geometry: Geometry) {
    this.#store = store;
    this.geometry = geometry;
    this.#stopListening = store.onPurged(({ victims }) => this.#noteEvicted(victims));
  }

  close(): void {
    this.#stopListening();
  }

  /** Whether a block of a version was evicted, rather than damaged or lost with its volume. Answers once. */
  wasEvicted(url: string, stored: string): boolean {
    return this.#evicted.delete(nameOf(valueBlockUrl(url), stored));
  }

  #noteEvicted(victims: PurgeRun["victims"]): void {
    for (const { id } of victims) {
      if (!id.url.startsWith("cache://")) continue;
      this.#evicted.add(nameOf(id.url, storedOf(id.version)));
      for (const name of this.#evicted) {
        if (this.#evicted.size <= MOST_EVICTED) break;
        this.#evicted.delete(name);
      }
    }
  }

  /** Whether all bytes of a value are cached here. */
  hasAll({ url, size }: Pick<ValueEntry, "url" | "size">, stored: string): boolean {
    const { blockBytes } = this.geometry;
    for (let index = 0, start = 0; start < size; index++, start += blockBytes) {
      const segments = segmentCount(Math.min(blockBytes, size - start), this.geometry);
      if (!this.#store.contains(valueBlock(url, stored, index), segments)) return false;
    }
    return true;
  }

  /** Pins a block that is read. */
  pin(url: string, stored: string, index: number): BlockPin | undefined {
    return this.#store.pin(valueBlock(url, stored, index));
  }

  /** As `pin`, of a block that is written. That is no use of it, as reads are. */
  pinWritten(url: string, stored: string, index: number): BlockPin | undefined {
    return this.#store.pin(valueBlock(url, stored, index), false);
  }

  /** Keeps all blocks of a value from being evicted until the returned function is called. */
  pinAll({ url, size }: ValueEntry, stored: string): () => void {
    const pins: BlockPin[] = [];
    for (let index = 0; index < this.blocksOf(size); index++) {
      const pin = this.pin(url, stored, index);
      if (pin !== undefined) pins.push(pin);
    }
    return () => {
      for (const pin of pins.splice(0)) pin.release();
    };
  }

  /** Whether a value of this size may fit into the share of its bucket now. */
  hasRoom(url: string, size: number): boolean {
    const bucket = this.#store.bucketOf(url);
    if (bucket?.limitBytes === undefined) return true;
    const { limitBytes, usedBytes, isPinned } = bucket;
    const neededBytes = size + (this.blocksOf(size) + SEGMENTS_IN_FLIGHT) * FOOTER_BYTES;
    return neededBytes <= limitBytes - (isPinned ? usedBytes : 0);
  }

  /** There is no space for a value. */
  full(url: string): CacheError {
    const bucket = this.#store.bucketOf(url);
    if (bucket?.limitBytes === undefined) {
      return new CacheError("RESOURCE_EXHAUSTED", `${url}: no space on this member's volumes: lower the size, or delete values`);
    }
    const used = `${bucket.url} uses ${bucket.usedBytes} of the ${bucket.limitBytes} bytes that are its share of this member's volumes`;
    const how = bucket.isPinned ? "delete values, or raise the share" : "lower the size, or raise the share";
    return new CacheError("RESOURCE_EXHAUSTED", `${url}: no space: ${used}: ${how}`, { s3Code: "QuotaExceeded" });
  }

  /** Writes a segment of a block of `blockLength` bytes. Rejects with RESOURCE_EXHAUSTED if there is no space. */
  async write(url: string, stored: string, index: number, blockLength: number, segment: number, bytes: Buffer): Promise<void> {
    const id = valueBlock(url, stored, index);
    const reservation = await this.#store.reserve(id, bytes.length);
    if (reservation !== undefined) {
      try {
        const info = { version: id.version, objectSize: blockLength };
        const filled = { index: segment, bytes, crc: crc32(bytes) };
        if (await this.#store.write({ id, info, createdAtMs: 0 }, [filled], reservation, true)) return;
      } finally {
        reservation.release();
      }
    }
    throw this.full(url);
  }

  /** Drops a segment, which will be written anew. */
  drop(url: string, stored: string, index: number, segment: number): Promise<void> {
    return this.#store.drop(valueBlock(url, stored, index), segment);
  }

  /** Marks a version as being read: `remove` waits for the returned function. */
  use(url: string, stored: string): () => void {
    const name = nameOf(url, stored);
    const use = this.#uses.get(name) ?? { count: 0, onUnused: [] };
    this.#uses.set(name, use);
    use.count++;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      use.count--;
      if (use.count > 0) return;
      this.#uses.delete(name);
      for (const onUnused of use.onUnused) onUnused();
    };
  }

  /** Removes the blocks of a version, or has them removed when the last read of it is closed. */
  async remove(url: string, stored: string, blocks: number): Promise<void> {
    const use = this.#uses.get(nameOf(url, stored));
    if (use === undefined) return this.#remove(url, stored, blocks);
    use.onUnused.push(() => void this.#remove(url, stored, blocks));
  }

  async #remove(url: string, stored: string, blocks: number): Promise<void> {
    for (let index = 0; index < blocks; index++) await this.#store.remove(valueBlock(url, stored, index));
  }

  blocksOf(size: number): number {
    return Math.ceil(size / this.geometry.blockBytes);
  }

  /** Removes the blocks of all other versions than these. */
  async removeUnknown(known: Iterable<{ readonly url: string; readonly stored: string }>): Promise<void> {
    const names = new Set<string>();
    for (const { url, stored } of known) names.add(`${valueBlockUrl(url)} ${stored}`);
    const unknown = [...this.#store.ids("cache://")].filter(({ url, version }) => {
      return !names.has(`${url} ${storedOf(version)}`);
    });
    for (const id of unknown) await this.#store.remove(id);
  }

  /** Bytes of all volumes: what is used, and what may be. */
  space(): { readonly usedBytes: number; readonly limitBytes: number } {
    const { volumes } = this.#store.status();
    const sum = (of: "usedBytes" | "limitBytes"): number => volumes.reduce((total, volume) => total + volume[of], 0);
    return { usedBytes: sum("usedBytes"), limitBytes: sum("limitBytes") };
  }
}

/** Each segment that is being written reserves space for a footer. */
const SEGMENTS_IN_FLIGHT = 8;

/** Evicted versions that are remembered until a sweep finds their values: it looks at 2,000 values a second. */
const MOST_EVICTED = 100_000;

/** The version that a block's version belongs to: that of a block ends with its index. */
function storedOf(version: string): string {
  return version.slice(0, version.lastIndexOf("."));
}

function nameOf(url: string, stored: string): string {
  return `${stored} ${url}`;
}
