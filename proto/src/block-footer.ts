import { crc32 } from "node:zlib";
import type { BlockId } from "./block-file.js";
import { blockLength, type Geometry, segmentCount } from "./blocks.js";
import { isWellFormed, MAX_OBJECT_HEADERS_LENGTH } from "./object-headers.js";
import type { ObjectInfo } from "./object-info.js";

/** Bytes of a footer. It is at the file position `blockBytes`. Headers that do not fit into it are behind it. */
export const FOOTER_BYTES = 4096;

/** The most that a file has behind its footer: whole pages. */
export const MAX_BYTES_BEHIND_FOOTER = Math.ceil(MAX_OBJECT_HEADERS_LENGTH / FOOTER_BYTES) * FOOTER_BYTES;

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

/** The layout without the object's headers. It is still written if they are not known. */
const WITHOUT_HEADERS = 1;

/** The layout with them. A change of the layout needs another number. Files of an unknown format are removed. */
const WITH_HEADERS = 2;

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
 *   24  u64      offset in the object    Format 2:
 *   32  u64      bytes of this block     72  u16  bytes of the headers
 *   40  u64      bytes of the object     74  u16  what the headers lack: 0 nothing, 1 checksums, 2 more
 *   48  f64      last modified, ms, -1: none   76  u32  CRC-32 of the headers' bytes behind the footer
 *   56  f64      created at, ms
 *   then one bit a segment (1: cached, lowest bit first), then one u32 a segment (its CRC-32, 0: not cached),
 *   then URL, version, content type in UTF-8, in format 2 headers in Latin-1 as far as they fit, then zeros
 *   4088  u32  drops
 *   4092  u32  CRC-32 of the 4092 bytes before
 *   4096  in format 2 the rest of the headers, then zeros up to a whole page
 */
const CRCS_AT = { [WITHOUT_HEADERS]: 72, [WITH_HEADERS]: 80 } as const;

/** By number in format 2. */
const LACKS = [undefined, "checksums", "metadata"] as const;

/**
 * The footer as 4,096 bytes, and whole pages more if the headers do not fit and the block is the object's first one; other blocks
 * are stored without their headers then. Undefined if the rest does not fit (a version of thousands of characters): the block is
 * not stored.
 */
export function encodeFooter(footer: BlockFooter, geometry: Geometry): Buffer | undefined {
  const { id, info, crcs } = footer;
  const isKnown = info.lacks !== "metadata" || info.headers !== undefined;
  const format = isKnown ? WITH_HEADERS : WITHOUT_HEADERS;
  const [urlBytes, versionBytes] = [Buffer.byteLength(id.url), Buffer.byteLength(id.version)];
  const typeBytes = info.contentType === undefined ? 0 : Buffer.byteLength(info.contentType);
  const bitsAt = CRCS_AT[format];
  const crcsAt = bitsAt + Math.ceil(crcs.length / 8);
  const textAt = crcsAt + 4 * crcs.length;
  const headersAt = textAt + urlBytes + versionBytes + typeBytes;
  const { headers = "" } = info;
  const behind = Buffer.from(headers.slice(Math.max(0, DROPS_AT - headersAt)), "latin1");
  if (isKnown && (headersAt > DROPS_AT || (behind.length > 0 && id.offset > 0))) {
    const { headers: _headers, ...bare } = info;
    return encodeFooter({ ...footer, info: { ...bare, lacks: "metadata" } }, geometry);
  }
  if (headersAt > DROPS_AT) return undefined;

  const bytes = Buffer.alloc(FOOTER_BYTES + Math.ceil(behind.length / FOOTER_BYTES) * FOOTER_BYTES);
  MAGIC.copy(bytes);
  bytes.writeUInt32LE(format, 8);
  bytes.writeUInt32LE(geometry.segmentBytes, 12);
  writeU64(bytes, geometry.blockBytes, 16);
  writeU64(bytes, id.offset, 24);
  writeU64(bytes, blockLength(id.offset, info.objectSize, geometry), 32);
  writeU64(bytes, info.objectSize, 40);
  bytes.writeDoubleLE(info.lastModifiedMs ?? NO_TIME, 48);
  bytes.writeDoubleLE(footer.createdAtMs, 56);
  bytes.writeUInt16LE(urlBytes, 64);
  bytes.writeUInt16LE(versionBytes, 66);
  bytes.writeUInt16LE(info.contentType === undefined ? ABSENT : typeBytes, 68);
  bytes.writeUInt16LE(crcs.length, 70);
  if (format === WITH_HEADERS) {
    bytes.writeUInt16LE(headers.length, 72);
    bytes.writeUInt16LE(LACKS.indexOf(info.lacks), 74);
    bytes.writeUInt32LE(crc32(behind), 76);
  }
  crcs.forEach((crc, segment) => {
    if (crc === undefined) return;
    bytes[bitsAt + (segment >> 3)]! |= 1 << (segment & 7);
    bytes.writeUInt32LE(crc, crcsAt + 4 * segment);
  });
  bytes.write(id.url, textAt);
  bytes.write(id.version, textAt + urlBytes);
  bytes.write(info.contentType ?? "", textAt + urlBytes + versionBytes);
  bytes.write(headers, headersAt, DROPS_AT - headersAt, "latin1");
  bytes.set(behind, FOOTER_BYTES);
  bytes.writeUInt32LE(footer.drops, DROPS_AT);
  bytes.writeUInt32LE(checksum(bytes), CHECKSUM_AT);
  return bytes;
}

/** Bytes that a file has behind its footer: whole pages. */
export function bytesBehindFooter(footer: Buffer): number {
  const headers = footer.readUInt32LE(8) === WITH_HEADERS ? headersOf(footer) : undefined;
  return headers === undefined ? 0 : Math.ceil(headers.behindBytes / FOOTER_BYTES) * FOOTER_BYTES;
}

/**
 * Reads a footer. Undefined for anything but a complete footer of a known format and this geometry. `bytes` may have more than the
 * footer: what the file has behind it. If the headers are not complete, the object's information lacks them.
 */
export function decodeFooter(bytes: Buffer, geometry: Geometry): BlockFooter | undefined {
  if (bytes.length < FOOTER_BYTES || bytes.compare(MAGIC, 0, MAGIC.length, 0, MAGIC.length) !== 0) return undefined;
  const format = bytes.readUInt32LE(8);
  if (format !== WITHOUT_HEADERS && format !== WITH_HEADERS) return undefined;
  if (bytes.readUInt32LE(CHECKSUM_AT) !== checksum(bytes)) return undefined;
  if (bytes.readUInt32LE(12) !== geometry.segmentBytes || readU64(bytes, 16) !== geometry.blockBytes) return undefined;

  const [offset, objectSize, segments] = [readU64(bytes, 24), readU64(bytes, 40), bytes.readUInt16LE(70)];
  const length = blockLength(offset, objectSize, geometry);
  if (offset % geometry.blockBytes !== 0 || readU64(bytes, 32) !== length) return undefined;
  if (length === 0 || segments !== segmentCount(length, geometry)) return undefined;

  const text = texts(bytes, textPosition(bytes));
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
      ...(format === WITH_HEADERS ? storedHeaders(bytes) : { lacks: "metadata" as const }),
    },
    createdAtMs: bytes.readDoubleLE(56),
    crcs: checksums(bytes, segments),
    drops: bytes.readUInt32LE(DROPS_AT),
  };
}

/** Where the bits of the segments begin. */
function bitsPosition(bytes: Buffer): number {
  return CRCS_AT[bytes.readUInt32LE(8) as keyof typeof CRCS_AT];
}

/** Where the checksums of the segments begin. */
function crcsPosition(bytes: Buffer): number {
  return bitsPosition(bytes) + Math.ceil(bytes.readUInt16LE(70) / 8);
}

/** Where the texts begin. */
function textPosition(bytes: Buffer): number {
  return crcsPosition(bytes) + 4 * bytes.readUInt16LE(70);
}

/** Where the headers of format 2 are: in the footer from `start` to `end`, and `behindBytes` behind it. */
function headersOf(bytes: Buffer): { readonly start: number; readonly end: number; readonly behindBytes: number } {
  const contentTypeLength = bytes.readUInt16LE(68);
  const before = bytes.readUInt16LE(64) + bytes.readUInt16LE(66) + (contentTypeLength === ABSENT ? 0 : contentTypeLength);
  const start = Math.min(DROPS_AT, textPosition(bytes) + before);
  const end = Math.min(DROPS_AT, start + bytes.readUInt16LE(72));
  return { start, end, behindBytes: start + bytes.readUInt16LE(72) - end };
}

function storedHeaders(bytes: Buffer): Pick<ObjectInfo, "headers" | "lacks"> {
  const { start, end, behindBytes } = headersOf(bytes);
  const behind = bytes.subarray(FOOTER_BYTES, FOOTER_BYTES + behindBytes);
  const lacks = LACKS[bytes.readUInt16LE(74)];
  if (behind.length < behindBytes || crc32(behind) !== bytes.readUInt32LE(76)) return { lacks: "metadata" };
  const headers = bytes.toString("latin1", start, end) + behind.toString("latin1");
  if (!isWellFormed(headers)) return { lacks: "metadata" };
  return { ...(headers !== "" && { headers }), ...(lacks !== undefined && { lacks }) };
}

function checksums(bytes: Buffer, segments: number): (number | undefined)[] {
  const [bitsAt, crcsAt] = [bitsPosition(bytes), crcsPosition(bytes)];
  const crcs = new Array<number | undefined>(segments);
  for (let segment = 0; segment < segments; segment++) {
    const isCached = ((bytes[bitsAt + (segment >> 3)]! >> (segment & 7)) & 1) === 1;
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
