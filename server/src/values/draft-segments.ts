import { CacheError, segmentCount, type ValueEntry } from "@frontcache/proto";
import { TransientMap } from "@frontcache/proto/runtime";
import type { BlockPin } from "../storage/block.js";
import { SpanSet } from "./span-set.js";
import type { ValueBlocks } from "./value-blocks.js";
import type { WriteMemory } from "./write-memory.js";

export interface DraftSegmentsOptions {
  readonly entry: ValueEntry;
  /** The size is `entry.size`; false: it is known at the end, and all bytes come in order. */
  readonly isSized: boolean;
  /** Bytes may be replaced by others. */
  readonly isUpload: boolean;
  readonly blocks: Pick<ValueBlocks, "geometry" | "write" | "drop" | "pinWritten" | "remove">;
  readonly memory: WriteMemory;
}

/** The bytes of a value that is being written. Whole segments go to the block store; the others are in memory. */
export class DraftSegments {
  /** The bytes that are there. */
  readonly spans = new SpanSet();
  readonly #options: DraftSegmentsOptions;
  readonly #buffers = new Map<number, Buffer>();
  /** Segments that came in one piece: their buffer is the piece, not memory of the draft. */
  readonly #borrowed = new Set<number>();
  readonly #stored = new Set<number>();
  readonly #pins = new Map<number, BlockPin>();
  readonly #tails = new TransientMap<Promise<void>>();

  constructor(options: DraftSegmentsOptions) {
    this.#options = options;
  }

  /**
   * Writes bytes from an offset on, in the order of the calls for one segment. `before` is called before each segment is written, and may
   * throw; `after` when its bytes are in memory or on the disk.
   */
  async write(offset: number, data: Uint8Array, before: () => void, after: () => void): Promise<void> {
    const { segmentBytes } = this.#geometry;
    for (let at = 0; at < data.length; ) {
      const segment = Math.floor((offset + at) / segmentBytes);
      const from = offset + at - segment * segmentBytes;
      const piece = data.subarray(at, at + segmentBytes - from);
      await this.#inOrder(segment, async () => {
        before();
        await this.#write(segment, from, piece);
        after();
      });
      at += piece.length;
    }
  }

  /** Stores all bytes. `size` is that of the value. Bytes must not be missing. */
  async storeAll(size: number): Promise<void> {
    for (const segment of [...this.#buffers.keys()]) {
      await this.#inOrder(segment, () => this.#store(segment, size));
    }
  }

  /** Takes note that stored segments are lost, because a disk failed: their bytes are missing. */
  forgetLost(): void {
    const { entry, blocks } = this.#options;
    for (const pin of this.#pins.values()) pin.release();
    this.#pins.clear();
    for (const segment of [...this.#stored]) {
      const { block, index } = this.#placeOf(segment);
      const pin = this.#pins.get(block) ?? blocks.pinWritten(entry.url, entry.version, block);
      if (pin !== undefined) this.#pins.set(block, pin);
      if (pin?.has(index) === true) continue;
      this.#stored.delete(segment);
      const start = segment * this.#geometry.segmentBytes;
      this.spans.remove(start, start + this.#lengthOf(segment));
    }
  }

  /** Frees all memory when running writes have ended. */
  async close(): Promise<void> {
    await Promise.all(this.#tails.values());
    for (const segment of [...this.#buffers.keys()]) this.#release(segment);
    for (const pin of this.#pins.values()) pin.release();
  }

  /** Removes the stored bytes. */
  async discard(): Promise<void> {
    const { entry, blocks } = this.#options;
    const last = Math.max(-1, ...this.#stored);
    await blocks.remove(entry.url, entry.version, last < 0 ? 0 : this.#placeOf(last).block + 1);
  }

  /** Bytes from an offset that are there already, at most `most`; undefined: none. */
  async read(offset: number, most: number): Promise<Buffer | undefined> {
    const span = this.spans.present().find(({ start, end }) => start <= offset && offset < end);
    if (span === undefined) return undefined;
    const { segmentBytes } = this.#geometry;
    const segment = Math.floor(offset / segmentBytes);
    const from = offset - segment * segmentBytes;
    const end = Math.min(span.end - segment * segmentBytes, segmentBytes, from + most);
    const buffer = this.#buffers.get(segment);
    if (buffer !== undefined) return Buffer.from(buffer.subarray(from, end));
    return this.#load(segment, from, end);
  }

  get #geometry() {
    return this.#options.blocks.geometry;
  }

  #inOrder(segment: number, work: () => Promise<void>): Promise<void> {
    const key = String(segment);
    const result = (this.#tails.get(key) ?? Promise.resolve()).then(work);
    const ended = (): void => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    };
    const tail: Promise<void> = result.then(ended, ended);
    this.#tails.set(key, tail);
    return result;
  }

  async #write(segment: number, from: number, piece: Uint8Array): Promise<void> {
    let buffer = this.#buffers.get(segment);
    if (buffer === undefined && !this.#stored.has(segment) && piece.length === this.#lengthOf(segment)) {
      buffer = Buffer.from(piece.buffer, piece.byteOffset, piece.length);
      this.#buffers.set(segment, buffer);
      this.#borrowed.add(segment);
    } else {
      if (buffer === undefined) buffer = await this.#openFor(segment, from, piece);
      else if (this.#borrowed.has(segment)) {
        // It could not be stored. The body's memory must not be changed.
        buffer = Buffer.from(buffer);
        this.#buffers.set(segment, buffer);
      }
      buffer.set(piece, from);
    }
    const start = segment * this.#geometry.segmentBytes;
    this.spans.add(start + from, start + from + piece.length);
    if (this.spans.has(start, start + buffer.length)) await this.#store(segment, undefined);
  }

  /** As `#open`. If it fails, the bytes that the piece was to replace are missing: they must not count as the newest ones. */
  async #openFor(segment: number, from: number, piece: Uint8Array): Promise<Buffer> {
    try {
      return await this.#open(segment);
    } catch (error) {
      const start = segment * this.#geometry.segmentBytes + from;
      this.spans.remove(start, start + piece.length);
      throw error;
    }
  }

  /** The memory of a segment, with the bytes that are stored of it. */
  async #open(segment: number): Promise<Buffer> {
    const { entry, memory, isUpload, isSized } = this.#options;
    const length = this.#lengthOf(segment);
    let buffer = memory.take(length);
    if (buffer === undefined) {
      const oldest = [...this.#buffers.keys()].find((each) => !this.#borrowed.has(each));
      if (isUpload && oldest !== undefined) await this.#spill(oldest);
      buffer = memory.take(length);
    }
    if (buffer === undefined) {
      throw new CacheError("RESOURCE_EXHAUSTED", `${entry.url}: too many values are being written: try again`);
    }
    // A segment may be stored before all of its bytes have arrived.
    if (isUpload || !isSized) buffer.fill(0);
    if (this.#stored.has(segment)) {
      const loaded = await this.#load(segment, 0, length);
      if (loaded === undefined) {
        memory.give(buffer);
        this.forgetLost();
        throw new CacheError("UNAVAILABLE", `${entry.url}: bytes of the upload are lost: write those again that are missing`);
      }
      loaded.copy(buffer);
      const { block, index } = this.#placeOf(segment);
      await this.#options.blocks.drop(entry.url, entry.version, block, index);
      this.#stored.delete(segment);
    }
    this.#buffers.set(segment, buffer);
    return buffer;
  }

  /** Frees the memory of a segment that is not complete. */
  #spill(segment: number): Promise<void> {
    return this.#inOrder(segment, async () => {
      if (this.#buffers.has(segment)) await this.#store(segment, undefined);
    });
  }

  /** Writes a segment to the block store. `finalSize`: the value ends there. */
  async #store(segment: number, finalSize: number | undefined): Promise<void> {
    const { entry, blocks, isSized } = this.#options;
    const buffer = this.#buffers.get(segment);
    if (buffer === undefined) return;
    const { block, index } = this.#placeOf(segment);
    const { blockBytes } = this.#geometry;
    const blockStart = block * blockBytes;
    let blockLength = isSized ? Math.min(blockBytes, entry.size - blockStart) : blockBytes;
    let bytes = buffer;
    // The last block of a value of unknown size keeps its announced length if it has a file already: zeros follow the value's last byte.
    if (finalSize !== undefined && !isSized && index === 0) {
      blockLength = finalSize - blockStart;
      bytes = buffer.subarray(0, blockLength);
    }
    await blocks.write(entry.url, entry.version, block, blockLength, index, bytes);
    this.#stored.add(segment);
    this.#release(segment);
    if (this.#pins.has(block)) return;
    const pin = blocks.pinWritten(entry.url, entry.version, block);
    if (pin !== undefined) this.#pins.set(block, pin);
  }

  async #load(segment: number, from: number, to: number): Promise<Buffer | undefined> {
    const { block, index } = this.#placeOf(segment);
    const pin = this.#pins.get(block);
    const start = index * this.#geometry.segmentBytes;
    const pieces: Buffer[] = [];
    for (let at = from; at < to; ) {
      const slice = await pin?.read(start + at, start + to);
      if (slice === undefined) return undefined;
      pieces.push(Buffer.from(slice.bytes));
      at += slice.bytes.length;
      slice.release();
    }
    return Buffer.concat(pieces);
  }

  #release(segment: number): void {
    const buffer = this.#buffers.get(segment);
    if (buffer === undefined) return;
    this.#buffers.delete(segment);
    if (!this.#borrowed.delete(segment)) this.#options.memory.give(buffer);
  }

  #placeOf(segment: number): { readonly block: number; readonly index: number } {
    const { blockBytes } = this.#geometry;
    const segments = segmentCount(blockBytes, this.#geometry);
    const block = Math.floor(segment / segments);
    return { block, index: segment - block * segments };
  }

  /** Segments of a value of unknown size are whole until its end is known. */
  #lengthOf(segment: number): number {
    const { entry, isSized } = this.#options;
    const { segmentBytes } = this.#geometry;
    return isSized ? Math.min(segmentBytes, entry.size - segment * segmentBytes) : segmentBytes;
  }
}
