import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import {
  type BlockId,
  blockDigest,
  blockLength,
  blockPath,
  encodeFooter,
  type Geometry,
  segmentCount,
  segmentLength,
} from "@frontcache/proto";
import { ramp } from "./ramp.js";

/** Does to a block file of a ramp object what members do to theirs, one step at a time. */
export class BlockFileWriter {
  readonly id: BlockId;
  readonly #objectSize: number;
  readonly #geometry: Geometry;

  readonly path: string;
  readonly #fd: number;
  readonly #crcs: (number | undefined)[];
  drops = 0;

  /** A new file that holds nothing yet. */
  constructor(volumePath: string, id: BlockId, objectSize: number, geometry: Geometry) {
    this.id = id;
    this.#objectSize = objectSize;
    this.#geometry = geometry;
    this.path = blockPath(volumePath, blockDigest(id, geometry.blockBytes));
    mkdirSync(dirname(this.path), { recursive: true });
    this.#fd = openSync(this.path, "w+");
    this.#crcs = Array.from({ length: segmentCount(blockLength(id.offset, objectSize, geometry), geometry) });
    this.writeFooter();
  }

  /** Bytes first, then the footer. */
  hold(...segments: readonly number[]): void {
    for (const segment of segments) this.writeSegment(segment);
    this.writeFooter();
  }

  /** The right bytes of a segment; the footer does not tell of it yet. */
  writeSegment(segment: number): void {
    const { segmentBytes } = this.#geometry;
    const start = segment * segmentBytes;
    const length = segmentLength(segment, blockLength(this.id.offset, this.#objectSize, this.#geometry), this.#geometry);
    const bytes = ramp(this.id.offset + start, length);
    writeSync(this.#fd, bytes, 0, length, start);
    this.#crcs[segment] = crc32(bytes);
  }

  /** Gives a segment up; the footer does not tell of it yet. */
  drop(segment: number): void {
    this.#crcs[segment] = undefined;
    this.drops++;
  }

  writeFooter(of: Partial<BlockId> = {}): void {
    const footer = {
      id: { ...this.id, ...of },
      info: { version: this.id.version, objectSize: this.#objectSize },
      createdAtMs: 0,
      crcs: this.#crcs,
      drops: this.drops,
    };
    writeSync(this.#fd, encodeFooter(footer, this.#geometry)!, 0, undefined, this.#geometry.blockBytes);
  }

  /** Writes anything anywhere. */
  spoil(position: number, bytes: Buffer): void {
    writeSync(this.#fd, bytes, 0, bytes.length, position);
  }

  cutShort(bytes: number): void {
    ftruncateSync(this.#fd, bytes);
  }

  evict(): void {
    rmSync(this.path);
  }

  close(): void {
    closeSync(this.#fd);
  }
}
