import { crc32 } from "node:zlib";
import type { BlockId } from "./block-file.js";
import { blockLength, type Geometry, segmentCount } from "./blocks.js";
import type { ObjectInfo } from "./object-info.js";

/** Bytes of a footer. It is at the file position `blockBytes`. */
export const FOOTER_BYTES = 4096;

/** The footer of a block file, by which the file describes itself. */
export interface BlockFooter {
  readonly id: BlockId;
  readonly info: ObjectInfo;
  readonly createdAtMs: number;
  /** One CRC-32 for each segment of the block; undefined for a segment that is not cached. */
  readonly crcs: readonly (number | undefined)[];
  /**
   * How many cached segments of this file were dropped (damage) since the file was made. It is raised before the bytes change. A
   * client that reads the file itself, and finds the same number afterwards, has read cached bytes.
   */
  readonly drops: number;
}

const MAGIC = Buffer.from("frcblock", "latin1");

/** Raise it with any change of the layout. Files of another format are removed. */
const FORMAT = 1;

const ABSENT = 0xffff;
const NO_TIME = -1;
const DROPS_AT = FOOTER_BYTES - 8;
const CHECKSUM_AT = FOOTER_BYTES - 4;

/** The footer's last bytes: drops and checksum. They change with every change of the footer. */
export const FOOTER_TAIL_BYTES = FOOTER_BYTES - DROPS_AT;

/*
 * Little endian:
 *    0  8 bytes  magic "frcblock"        64  u16  bytes of the URL
 *    8  u32      format                  66  u16  bytes of the version
 *   12  u32      bytes of a segment      68  u16  bytes of the content type, 0xffff: none
 *   16  u64      bytes of a block        70  u16  segments of this block
 *   24  u64      offset in the object    72  one bit a segment, 1: cached, lowest bit first
 *   32  u64      bytes of this block         then one u32 a segment, its CRC-32, 0: not cached
 *   40  u64      bytes of the object         then URL, version, content type in UTF-8, then zeros
 *   48  f64      last modified, ms, -1: none   4088  u32  drops
 *   56  f64      created at, ms       4092  u32  CRC-32 of the 4092 bytes before
 */
const VARIABLE_AT = 72;

/** The footer as 4,096 bytes. Undefined if it does not fit (a version of thousands of characters): the block is not stored. */
export function encodeFooter(footer: BlockFooter, geometry: Geometry): Buffer | undefined {
  const { id, info, crcs } = footer;
  const [url, version] = [Buffer.from(id.url), Buffer.from(id.version)];
  const contentType = info.contentType === undefined ? undefined : Buffer.from(info.contentType);
  const crcsAt = VARIABLE_AT + Math.ceil(crcs.length / 8);
  const textAt = crcsAt + 4 * crcs.length;
  if (textAt + url.length + version.length + (contentType?.length ?? 0) > DROPS_AT) return undefined;

  const bytes = Buffer.alloc(FOOTER_BYTES);
  MAGIC.copy(bytes);
  bytes.writeUInt32LE(FORMAT, 8);
  bytes.writeUInt32LE(geometry.segmentBytes, 12);
  writeU64(bytes, geometry.blockBytes, 16);
  writeU64(bytes, id.offset, 24);
  writeU64(bytes, blockLength(id.offset, info.objectSize, geometry), 32);
  writeU64(bytes, info.objectSize, 40);
  bytes.writeDoubleLE(info.lastModifiedMs ?? NO_TIME, 48);
  bytes.writeDoubleLE(footer.createdAtMs, 56);
  bytes.writeUInt16LE(url.length, 64);
  bytes.writeUInt16LE(version.length, 66);
  bytes.writeUInt16LE(contentType?.length ?? ABSENT, 68);
  bytes.writeUInt16LE(crcs.length, 70);
  crcs.forEach((crc, segment) => {
    if (crc === undefined) return;
    bytes[VARIABLE_AT + (segment >> 3)]! |= 1 << (segment & 7);
    bytes.writeUInt32LE(crc, crcsAt + 4 * segment);
  });
  bytes.set(Buffer.concat([url, version, contentType ?? Buffer.alloc(0)]), textAt);
  bytes.writeUInt32LE(footer.drops, DROPS_AT);
  bytes.writeUInt32LE(checksum(bytes), CHECKSUM_AT);
  return bytes;
}

/** Reads a footer. Undefined for anything but a complete footer of this format and geometry. */
export function decodeFooter(bytes: Buffer, geometry: Geometry): BlockFooter | undefined {
  if (bytes.length !== FOOTER_BYTES || bytes.compare(MAGIC, 0, MAGIC.length, 0, MAGIC.length) !== 0) return undefined;
  if (bytes.readUInt32LE(8) !== FORMAT || bytes.readUInt32LE(CHECKSUM_AT) !== checksum(bytes)) return undefined;
  if (bytes.readUInt32LE(12) !== geometry.segmentBytes || readU64(bytes, 16) !== geometry.blockBytes) return undefined;

  const [offset, objectSize, segments] = [readU64(bytes, 24), readU64(bytes, 40), bytes.readUInt16LE(70)];
  const length = blockLength(offset, objectSize, geometry);
  if (offset % geometry.blockBytes !== 0 || readU64(bytes, 32) !== length) return undefined;
  if (length === 0 || segments !== segmentCount(length, geometry)) return undefined;

  const crcsAt = VARIABLE_AT + Math.ceil(segments / 8);
  const text = texts(bytes, crcsAt + 4 * segments);
  if (text === undefined) return undefined;
  const { url, version, contentType } = text;
  const lastModifiedMs = bytes.readDoubleLE(48);
  return {
    id: { url, version, offset },
    info: {
      version,
      objectSize,
      ...(contentType === undefined ? {} : { contentType }),
      ...(lastModifiedMs === NO_TIME ? {} : { lastModifiedMs }),
    },
    createdAtMs: bytes.readDoubleLE(56),
    crcs: checksums(bytes, segments, crcsAt),
    drops: bytes.readUInt32LE(DROPS_AT),
  };
}

function checksums(bytes: Buffer, segments: number, crcsAt: number): (number | undefined)[] {
  const crcs = new Array<number | undefined>(segments);
  for (let segment = 0; segment < segments; segment++) {
    const isCached = ((bytes[VARIABLE_AT + (segment >> 3)]! >> (segment & 7)) & 1) === 1;
    crcs[segment] = isCached ? bytes.readUInt32LE(crcsAt + 4 * segment) : undefined;
  }
  return crcs;
}

function texts(bytes: Buffer, at: number): { url: string; version: string; contentType?: string } | undefined {
  const versionAt = at + bytes.readUInt16LE(64);
  const contentTypeAt = versionAt + bytes.readUInt16LE(66);
  const contentTypeLength = bytes.readUInt16LE(68);
  const end = contentTypeAt + (contentTypeLength === ABSENT ? 0 : contentTypeLength);
  if (end > DROPS_AT) return undefined;
  const url = bytes.toString("utf8", at, versionAt);
  const version = bytes.toString("utf8", versionAt, contentTypeAt);
  return contentTypeLength === ABSENT
    ? { url, version }
    : { url, version, contentType: bytes.toString("utf8", contentTypeAt, end) };
}

function checksum(bytes: Buffer): number {
  return crc32(bytes.subarray(0, CHECKSUM_AT));
}

/** Writes a number up to 2^53 - 1 without a BigInt. */
function writeU64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32LE(value % 2 ** 32, at);
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

function readU64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
}
