import { CacheError, outOfRange, type ValueEntry } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import type { BodyPieces } from "./body-tee.js";
import { DraftSegments, type DraftSegmentsOptions } from "./draft-segments.js";
import { UploadWrites } from "./upload-writes.js";

export interface DraftOptions extends DraftSegmentsOptions {
  /** The value comes from another member. */
  readonly isCopy: boolean;
  /** Of an upload: the members at which it began. */
  readonly members: readonly string[];
  /** The value must not exist when the draft is finished. */
  readonly isExclusive: boolean;
  readonly nowMs: () => number;
}

/** Segments that are written to the disk while more are received. The block store combines those that wait for each other. */
const RUNNING_SEGMENTS = 6;

/** A value that is being written: its writer's progress, its readers that follow, and how it ends. */
export class Draft {
  readonly options: DraftOptions;
  /** Its bytes. */
  readonly segments: DraftSegments;
  /** Wall time of the last call of its writer. */
  heardMs: number;
  /** Of an upload: which writes it has. */
  readonly writes: UploadWrites;
  /** Its value is being completed. */
  isFinishing = false;
  #end: "ready" | CacheError | undefined;
  readonly #watchers = new Set<() => void>();

  constructor(options: DraftOptions) {
    this.options = options;
    this.segments = new DraftSegments(options);
    this.writes = new UploadWrites(this.segments.spans);
    this.heardMs = options.nowMs();
  }

  get entry(): ValueEntry {
    return this.options.entry;
  }

  /** How the draft has ended; undefined: it has not. */
  get end(): "ready" | CacheError | undefined {
    return this.#end;
  }

  /**
   * Takes bytes from an offset on, as they arrive. Resolves with their number when all are in memory or on the disk. `stamp`: of a write of
   * an upload.
   */
  async writeAll(offset: number, bytes: Uint8Array | BodyPieces, stamp = ""): Promise<number> {
    const write = this.writes.begin(offset, stamp);
    let received = 0;
    const onPiece = (length: number): void => {
      received += length;
    };
    let isWhole = false;
    try {
      await this.#receive(offset, bytes, onPiece);
      isWhole = true;
      return received;
    } finally {
      this.writes.end(write, offset + received, isWhole);
    }
  }

  async #receive(offset: number, bytes: Uint8Array | BodyPieces, onPiece: (length: number) => void): Promise<void> {
    const { segmentBytes } = this.options.blocks.geometry;
    // Bytes of an upload may replace others of the same block, so its segments are written one after the other.
    const mostBytes = (this.options.isUpload ? 1 : RUNNING_SEGMENTS) * segmentBytes;
    // While segments are written to the disk, the next ones are received.
    const running: { readonly written: Promise<void>; readonly piece: Uint8Array }[] = [];
    const body: BodyPieces | undefined = bytes instanceof Uint8Array ? undefined : bytes;
    let [at, runningBytes] = [offset, 0];
    try {
      for await (const piece of bytes instanceof Uint8Array ? cutAt(bytes, offset, segmentBytes) : bytes) {
        const written = this.write(at, piece);
        written.catch(() => {});
        running.push({ written, piece });
        at += piece.length;
        onPiece(piece.length);
        runningBytes += piece.length;
        while (runningBytes > mostBytes) {
          const oldest = running.shift()!;
          await oldest.written;
          runningBytes -= oldest.piece.length;
          body?.taken?.(oldest.piece);
        }
      }
      if (at === offset) await this.write(at, new Uint8Array());
    } finally {
      await Promise.allSettled(running.map(({ written }) => written));
    }
    for (const { written } of running) await written;
  }

  /** Takes bytes at an offset. Resolves when they are in memory or on the disk. */
  async write(offset: number, data: Uint8Array): Promise<void> {
    const { entry, isSized, nowMs } = this.options;
    this.heardMs = nowMs();
    if (this.#end !== undefined) throw this.#gone();
    if (isSized && offset + data.length > entry.size) throw outOfRange(entry.url, offset + data.length, entry.size);
    const before = (): void => {
      if (this.#end !== undefined) throw this.#gone();
    };
    await this.segments.write(offset, data, before, () => this.#wake());
  }

  /** Stores all bytes. `size` is that of the value. Bytes must not be missing. */
  async finish(size: number): Promise<void> {
    await this.segments.storeAll(size);
    if (this.#end !== undefined) throw this.#gone();
  }

  /** Ends the draft: its value can be read, or its bytes are removed. */
  async close(end: "ready" | CacheError): Promise<void> {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#wake();
    await this.segments.close();
    if (end !== "ready") await this.segments.discard();
  }

  /** Resolves when more bytes have arrived, or the draft has ended. */
  async changed(signal: AbortSignal): Promise<void> {
    let wake = (): void => {};
    const changed = new Promise<void>((resolve) => {
      wake = resolve;
      this.#watchers.add(wake);
    });
    await untilAborted(changed, signal).finally(() => this.#watchers.delete(wake));
  }

  #gone(): CacheError {
    return this.#end instanceof CacheError ? this.#end : new CacheError("NOT_FOUND", `${this.entry.url}: the write has ended`);
  }

  #wake(): void {
    for (const wake of [...this.#watchers]) wake();
    this.#watchers.clear();
  }
}

/** Cuts bytes where the segments of a value begin. */
function* cutAt(bytes: Uint8Array, offset: number, segmentBytes: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + segmentBytes - ((offset + at) % segmentBytes));
    yield bytes.subarray(at, end);
    at = end;
  }
}
