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

/** Changes a block file of a ramp object as members do, one step at a time. */
export class BlockFileWriter {
  readonly id: BlockId;
  readonly #objectSize: number;
  readonly #geometry: Geometry;

  readonly path: string;
  readonly #fd: number;
  readonly #crcs: (number | undefined)[];
  drops = 0;

  /** Creates a file without cached segments. */
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

  /** Adds segments: writes their bytes, then the footer. */
  addSegments(...segments: readonly number[]): void {
    for (const segment of segments) this.writeSegment(segment);
    this.writeFooter();
  }

  /** Writes the correct bytes of a segment. The footer does not contain it yet. */
  writeSegment(segment: number): void {
    const { segmentBytes } = this.#geometry;
    const start = segment * segmentBytes;
    const length = segmentLength(segment, blockLength(this.id.offset, this.#objectSize, this.#geometry), this.#geometry);
    const bytes = ramp(this.id.offset + start, length);
    writeSync(this.#fd, bytes, 0, length, start);
    this.#crcs[segment] = crc32(bytes);
  }

  /** Drops a segment. The footer still contains it. */
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

  /** Overwrites bytes at a position. */
  overwrite(position: number, bytes: Buffer): void {
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
