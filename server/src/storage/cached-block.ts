import { blockLength, FOOTER_BYTES, type Geometry, type ObjectInfo } from "@frontcache/proto";
import type { SingleFlight } from "@frontcache/proto/runtime";
import { type BlockId, blockKey } from "./block.js";
import type { Evictable, EvictionPolicy } from "./eviction/eviction-policy.js";
import type { OpenFile } from "./open-file.js";
import { SegmentTable } from "./segment-table.js";
import type { Volume } from "./volume.js";

/** File systems give space in pages of this size, on every system that we know of. */
const PAGE_BYTES = 4096;

/** What `bytes` of a segment take on a volume: whole pages, except in geometries of smaller segments than a page. */
export function segmentCharge(bytes: number, geometry: Geometry): number {
  const unit = Math.min(PAGE_BYTES, geometry.segmentBytes);
  return Math.ceil(bytes / unit) * unit;
}

/** The most that `bytes` of one block's segments take on a volume, the footer of a new block included. */
export function mostCharged(bytes: number, geometry: Geometry): number {
  return segmentCharge(bytes, geometry) + FOOTER_BYTES;
}

export interface CachedBlockFields {
  readonly id: BlockId;
  readonly info: ObjectInfo;
  readonly createdAtMs: number;
  /** When its file was made and last used; wall time. */
  readonly firstUsedMs: number;
  readonly lastUsedMs: number;
  readonly volume: Volume;
  readonly path: string;
  readonly geometry: Geometry;
}

/** The cached blocks of one volume. BlockIndex keeps them. */
export interface VolumeBlocks {
  readonly order: EvictionPolicy<CachedBlock>;
  /** Blocks used since their files' times were last written. */
  readonly used: Set<CachedBlock>;
}

/** A block file that is cached: one object per file, from the file's rename until its removal. */
export class CachedBlock implements Evictable {
  readonly key: string;
  readonly id: BlockId;
  /** What was observed of the version last. Set by BlockIndex alone. */
  info: ObjectInfo;
  readonly createdAtMs: number;
  readonly volume: Volume;
  readonly path: string;
  readonly segments: SegmentTable;
  readonly firstUsedMs: number;
  /** Wall time of the last pin or write. */
  lastUsedMs: number;
  /** Pins and writes under way. */
  pins = 0;
  /** The number of dropped segments that its file's footer records. Set by BlockWriter alone. */
  footerDrops = 0;
  /** Bytes behind its file's footer, for headers that do not fit into it. Set by BlockWriter and recovery alone. */
  behindFooterBytes = 0;
  /** A write of its changed headers is waiting. Set by BlockWriter alone. */
  isDescriptionDue = false;
  /** The blocks of its volume, this one among them. Set by BlockIndex alone. */
  siblings: VolumeBlocks | undefined;
  /** Its file, if it is open. Set by OpenFiles alone. */
  open: OpenFile | undefined;
  /** Checks of segments that are running. Set by BlockReader alone. */
  checks: SingleFlight<number, boolean> | undefined;
  /** Removed from the index for good. Running reads may finish. */
  retired = false;
  #whenReleased: (() => void) | undefined;

  constructor(fields: CachedBlockFields) {
    this.id = fields.id;
    this.info = fields.info;
    this.createdAtMs = fields.createdAtMs;
    this.volume = fields.volume;
    this.path = fields.path;
    this.key = blockKey(fields.id);
    this.firstUsedMs = fields.firstUsedMs;
    this.lastUsedMs = fields.lastUsedMs;
    this.segments = new SegmentTable(blockLength(fields.id.offset, fields.info.objectSize, fields.geometry), fields.geometry);
  }

  get fingerprint(): number {
    return digestNumber(this.path);
  }

  acquire(): void {
    this.pins++;
  }

  release(): void {
    this.pins--;
    if (this.pins === 0) this.#whenReleased?.();
  }

  /** Resolves when the last pin is gone. Once, of a retired block: no new pin comes then. */
  released(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenReleased = resolve;
      if (this.pins === 0) resolve();
    });
  }

  /** Whether a read or write uses it now. */
  get isBusy(): boolean {
    return this.pins > 0 || (this.open?.users ?? 0) > 0;
  }

  /** Bytes that its file takes on the volume. */
  get chargedBytes(): number {
    let bytes = FOOTER_BYTES + this.behindFooterBytes;
    for (let segment = 0; segment < this.segments.count; segment++) {
      if (this.segments.has(segment)) bytes += this.segmentCharge(segment);
    }
    return bytes;
  }

  /** Drops a segment and frees its bytes on the volume. */
  drop(segment: number): void {
    this.segments.drop(segment);
    this.volume.freed(this.segmentCharge(segment));
  }

  segmentCharge(segment: number): number {
    return segmentCharge(this.segments.lengthOf(segment), this.segments.geometry);
  }
}

/** The first 48 bits of the digest that a block file is named for. */
function digestNumber(path: string): number {
  const nameAt = path.length - "0123456789abcdef0123456789abcdef.blk".length;
  return Number.parseInt(path.slice(nameAt, nameAt + 12), 16);
}
