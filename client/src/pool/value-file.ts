import { crc32 } from "node:zlib";

/**
 * A value's file: 16 bytes of head, then the encoded value. All numbers are little-endian.
 *
 * | offset | bytes | |
 * |---|---|---|
 * | 0 | 4 | `FCV1` |
 * | 4 | 8 | length of the value in bytes |
 * | 12 | 4 | CRC-32 of the value (the polynomial of zlib) |
 */
const HEAD_BYTES = 16;
const MAGIC = "FCV1";

/** Returns the head of a value's file. */
export function headOf(value: Uint8Array): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.write(MAGIC, "latin1");
  head.writeBigUInt64LE(BigInt(value.length), 4);
  head.writeUInt32LE(crc32(value), 12);
  return head;
}

/** Returns the encoded value in a file's bytes; undefined if the file is not exactly as it was written. */
export function valueIn(file: Buffer): Buffer | undefined {
  if (file.length < HEAD_BYTES || file.toString("latin1", 0, 4) !== MAGIC) return undefined;
  const value = file.subarray(HEAD_BYTES);
  if (file.readBigUInt64LE(4) !== BigInt(value.length) || file.readUInt32LE(12) !== crc32(value)) return undefined;
  return value;
}
