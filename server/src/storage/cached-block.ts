import { blockDigest, blockLength, blockPath, FOOTER_BYTES, type Geometry, type ObjectInfo } from "@frontcache/proto";
import type { SingleFlight } from "@frontcache/proto/runtime";
import type { BlockId } from "./block.js";
import type { Evictable, EvictionPolicy } from "./eviction/eviction-policy.js";
import type { OpenFile } from "./open-file.js";
import { SegmentTable } from "./segment-table.js";
import type { Space } from "./space.js";
import type { Volume } from "./volume.js";

/** File systems allocate space in pages of this size on all known systems. */
const PAGE_BYTES = 4096;

/** Returns the space of `bytes` of a segment on a volume: whole pages, except in geometries with segments smaller than a page. */
export function segmentCharge(bytes: number, geometry: Geometry): number {
  const unit = Math.min(PAGE_BYTES, geometry.segmentBytes);
  return Math.ceil(bytes / unit) * unit;
}

/** Returns the maximum space of `bytes` of one block's segments on a volume, including the footer of a new block. */
export function mostCharged(bytes: number, geometry: Geometry): number {
  return segmentCharge(bytes, geometry) + FOOTER_BYTES;
}

/** The first 48 bits of a digest. */
const FINGERPRINT_DIGITS = 12;

export interface CachedBlockFields {
  readonly id: BlockId;
  readonly info: ObjectInfo;
  readonly createdAtMs: number;
  /** Creation and last use of its file; wall time. */
  readonly firstUsedMs: number;
  readonly lastUsedMs: number;
  readonly volume: Volume;
  /** The digest of its identity. */
  readonly digest: string;
  readonly geometry: Geometry;
}

/** The cached blocks of one volume, or of one bucket on it, managed by BlockIndex. */
export interface VolumeBlocks {
  readonly order: EvictionPolicy<CachedBlock>;
  /** Blocks of the volume used since their files' times were last written. */
  readonly used: Set<CachedBlock>;
  /** The number of all blocks of the volume. */
  readonly count: { blocks: number };
  /** Counts their bytes. */
  readonly space: Space;
}

/** A cached block: one object per file, from the file's completion until its removal. */
export class CachedBlock implements Evictable {
  readonly id: BlockId;
  /** The last observed metadata of the version. Set only by BlockIndex. */
  info: ObjectInfo;
  readonly createdAtMs: number;
  readonly volume: Volume;
  readonly fingerprint: number;
  readonly segments: SegmentTable;
  readonly firstUsedMs: number;
  /** Wall time of the last pin or write. */
  lastUsedMs: number;
  /** Number of pins and running writes. */
  pins = 0;
  /** Number of dropped segments according to its file's footer. Set only by BlockWriter. */
  footerDrops = 0;
  /** Bytes after its file's footer, for headers that do not fit into it. Set only by BlockWriter and recovery. */
  behindFooterBytes = 0;
  /** Whether a write of its changed headers is waiting. Set only by BlockWriter. */
  isDescriptionDue = false;
  /** The blocks of its volume, or of its bucket on the volume, including this one. Set only by BlockIndex. */
  siblings: VolumeBlocks | undefined;
  /** Its file, if it is open. Set only by OpenFiles. */
  open: OpenFile | undefined;
  /** Resolves when its file, which was open, is closed. Set only by OpenFiles, while it closes the file. */
  closing: Promise<void> | undefined;
  /** Running checks of segments. Set only by BlockReader. */
  checks: SingleFlight<number, boolean> | undefined;
  /** Whether it was removed from the index. Running reads may finish. */
  retired = false;
  #whenReleased: (() => void) | undefined;

  constructor(fields: CachedBlockFields) {
    this.id = fields.id;
    this.info = fields.info;
    this.createdAtMs = fields.createdAtMs;
    this.volume = fields.volume;
    this.fingerprint = Number.parseInt(fields.digest.slice(0, FINGERPRINT_DIGITS), 16);
    this.firstUsedMs = fields.firstUsedMs;
    this.lastUsedMs = fields.lastUsedMs;
    this.segments = new SegmentTable(blockLength(fields.id.offset, fields.info.objectSize, fields.geometry), fields.geometry);
  }

  /** Its file. Computed each time: a cached block is opened and removed rarely, and all paths together would need much memory. */
  get path(): string {
    return blockPath(this.volume.path, blockDigest(this.id, this.segments.geometry.blockBytes));
  }

  /** Counts its bytes. */
  get space(): Space {
    return this.siblings?.space ?? this.volume;
  }

  acquire(): void {
    this.pins++;
  }

  release(): void {
    this.pins--;
    if (this.pins === 0) this.#whenReleased?.();
  }

  /** Resolves when the last pin is released. Call once, on a retired block, which gets no new pins. */
  released(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenReleased = resolve;
      if (this.pins === 0) resolve();
    });
  }

  /** Whether a read or write uses it. */
  get isBusy(): boolean {
    return this.pins > 0 || (this.open?.users ?? 0) > 0;
  }

  /** Bytes of its file on the volume. */
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
    this.space.freed(this.segmentCharge(segment));
  }

  segmentCharge(segment: number): number {
    return segmentCharge(this.segments.lengthOf(segment), this.segments.geometry);
  }
}
