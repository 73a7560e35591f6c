import { crc32 as crc32OfBytes } from "node:zlib";

/** A CRC that is computed piece by piece. */
export interface Crc {
  update(bytes: Uint8Array): void;
  /** The value of all bytes so far, most significant byte first. */
  digest(): Buffer;
}

/** CRC32 as zlib and S3 use it. */
export class Crc32 implements Crc {
  #value = 0;

  update(bytes: Uint8Array): void {
    this.#value = crc32OfBytes(bytes, this.#value);
  }

  digest(): Buffer {
    const result = Buffer.allocUnsafe(4);
    result.writeUInt32BE(this.#value);
    return result;
  }
}

/** Tables for eight bytes at a time: table k has the effect of a byte that is followed by k zero bytes. */
const TABLES = 8;

/** The reflected Castagnoli polynomial. */
const CASTAGNOLI = 0x82f63b78;

let castagnoli: Uint32Array | undefined;

function castagnoliTables(): Uint32Array {
  const tables = new Uint32Array(TABLES * 256);
  for (let byte = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ CASTAGNOLI : value >>> 1;
    tables[byte] = value;
  }
  for (let at = 256; at < tables.length; at++) {
    const before = tables[at - 256]!;
    tables[at] = (before >>> 8) ^ tables[before & 0xff]!;
  }
  return tables;
}

/** CRC32C (Castagnoli), RFC 3720. Node has no native one. */
export class Crc32c implements Crc {
  #value = -1;

  update(bytes: Uint8Array): void {
    castagnoli ??= castagnoliTables();
    const t = castagnoli;
    let crc = this.#value;
    let at = 0;
    for (const end = bytes.length - 7; at < end; at += 8) {
      crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
      crc =
        t[1792 + (crc & 0xff)]! ^
        t[1536 + ((crc >>> 8) & 0xff)]! ^
        t[1280 + ((crc >>> 16) & 0xff)]! ^
        t[1024 + (crc >>> 24)]! ^
        t[768 + bytes[at + 4]!]! ^
        t[512 + bytes[at + 5]!]! ^
        t[256 + bytes[at + 6]!]! ^
        t[bytes[at + 7]!]!;
    }
    for (; at < bytes.length; at++) crc = (crc >>> 8) ^ t[(crc ^ bytes[at]!) & 0xff]!;
    this.#value = crc;
  }

  digest(): Buffer {
    const result = Buffer.allocUnsafe(4);
    result.writeUInt32BE(~this.#value >>> 0);
    return result;
  }
}

/** The reflected polynomial of NVMe, as S3's CRC64NVME has it. */
const NVME = 0x9a6c9329ac4bc9b5n;

/** Lower and upper halves of the tables. */
let nvme: { readonly low: Uint32Array; readonly high: Uint32Array } | undefined;

function nvmeTables() {
  const [low, high] = [new Uint32Array(TABLES * 256), new Uint32Array(TABLES * 256)];
  const set = (at: number, value: bigint): void => {
    low[at] = Number(value & 0xffffffffn);
    high[at] = Number(value >> 32n);
  };
  for (let byte = 0; byte < 256; byte++) {
    let value = BigInt(byte);
    for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ NVME : value >> 1n;
    set(byte, value);
  }
  for (let at = 256; at < low.length; at++) {
    const [lower, upper] = [low[at - 256]!, high[at - 256]!];
    low[at] = (((lower >>> 8) | (upper << 24)) ^ low[lower & 0xff]!) >>> 0;
    high[at] = ((upper >>> 8) ^ high[lower & 0xff]!) >>> 0;
  }
  return { low, high };
}

/** CRC64NVME. Node has no native one. */
export class Crc64Nvme implements Crc {
  #low = -1;
  #high = -1;

  update(bytes: Uint8Array): void {
    nvme ??= nvmeTables();
    const { low: l, high: h } = nvme;
    let [low, high] = [this.#low, this.#high];
    let at = 0;
    for (const end = bytes.length - 7; at < end; at += 8) {
      low ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
      high ^= bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24);
      const a = 1792 + (low & 0xff);
      const b = 1536 + ((low >>> 8) & 0xff);
      const c = 1280 + ((low >>> 16) & 0xff);
      const d = 1024 + (low >>> 24);
      const e = 768 + (high & 0xff);
      const f = 512 + ((high >>> 8) & 0xff);
      const g = 256 + ((high >>> 16) & 0xff);
      const i = high >>> 24;
      low = l[a]! ^ l[b]! ^ l[c]! ^ l[d]! ^ l[e]! ^ l[f]! ^ l[g]! ^ l[i]!;
      high = h[a]! ^ h[b]! ^ h[c]! ^ h[d]! ^ h[e]! ^ h[f]! ^ h[g]! ^ h[i]!;
    }
    for (; at < bytes.length; at++) {
      const index = (low ^ bytes[at]!) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ l[index]!;
      high = (high >>> 8) ^ h[index]!;
    }
    [this.#low, this.#high] = [low, high];
  }

  digest(): Buffer {
    const result = Buffer.allocUnsafe(8);
    result.writeUInt32BE(~this.#high >>> 0);
    result.writeUInt32BE(~this.#low >>> 0, 4);
    return result;
  }
}
