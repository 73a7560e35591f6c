import { BinaryReader } from "@bufbuild/protobuf/wire";
import type { ReadRangeResponse } from "./gen/cache.js";
import { readTag } from "./read-tag.js";

/** Protobuf tags of ReadRangeResponse: field number << 3 | wire type (2 = length-delimited, 0 = varint). */
const DATA_TAG = (1 << 3) | 2;
const OBJECT_SIZE_TAG = 2 << 3;
const VERSION_TAG = (3 << 3) | 2;

/**
 * Serialises a ReadRangeResponse with a single copy of its bytes. The generated code copies them three times: into the writer's
 * list of chunks, into the joined array and into a Buffer. The encoding is the same; a test compares them.
 */
export function encodeReadRangeResponse(message: ReadRangeResponse): Buffer {
  const out = Buffer.allocUnsafe(readRangeResponseBytes(message));
  writeReadRangeResponse(message, out, 0);
  return out;
}

/** Returns the encoded size of a message, bytes. */
export function readRangeResponseBytes({ data, version, objectSize }: ReadRangeResponse): number {
  const versionBytes = version === "" ? 0 : Buffer.byteLength(version);
  return (
    (data.length === 0 ? 0 : 1 + varintLength(data.length) + data.length) +
    (objectSize === 0 ? 0 : 1 + varintLength(objectSize)) +
    (versionBytes === 0 ? 0 : 1 + varintLength(versionBytes) + versionBytes)
  );
}

/** Writes a message into `out` at `start`, which must have room for `readRangeResponseBytes`. */
export function writeReadRangeResponse({ data, version, objectSize }: ReadRangeResponse, out: Buffer, start: number): void {
  let at = start;
  if (data.length !== 0) {
    out[at++] = DATA_TAG;
    at = writeVarint(out, at, data.length);
    out.set(data, at);
    at += data.length;
  }
  if (objectSize !== 0) {
    out[at++] = OBJECT_SIZE_TAG;
    at = writeVarint(out, at, objectSize);
  }
  if (version !== "") {
    out[at++] = VERSION_TAG;
    // Its length precedes it, in one byte if it is short.
    const lengthAt = at;
    const written = version.length < 0x80 / 3 ? out.write(version, at + 1) : -1;
    if (written >= 0) out[lengthAt] = written;
    else out.write(version, writeVarint(out, at, Buffer.byteLength(version)));
  }
}

/**
 * Decodes a ReadRangeResponse without copying: `data` is a view of `input`. All messages of a stream except the first contain
 * only data and take a fast path. Other messages use the general decoder.
 */
export function decodeReadRangeResponse(input: Buffer): ReadRangeResponse {
  if (input[0] === DATA_TAG) {
    let length = 0;
    let shift = 0;
    for (let at = 1; at < input.length && shift <= 28; at++, shift += 7) {
      const byte = input[at]!;
      length |= (byte & 0x7f) << shift;
      if (byte >= 0x80) continue;
      if (at + 1 + length === input.length) return { data: input.subarray(at + 1), version: "", objectSize: 0 };
      break;
    }
  }
  return decodeFields(input);
}

function decodeFields(input: Buffer): ReadRangeResponse {
  const reader = new BinaryReader(input);
  const message: ReadRangeResponse = { data: Buffer.alloc(0), version: "", objectSize: 0 };
  while (reader.pos < reader.len) {
    const tag = readTag(reader);
    if (tag === DATA_TAG) {
      const bytes = reader.bytes();
      message.data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    } else if (tag === VERSION_TAG) message.version = reader.string();
    else if (tag === OBJECT_SIZE_TAG) message.objectSize = safeNumber(reader.uint64());
    else reader.skip(tag & 7);
  }
  return message;
}

function safeNumber(value: bigint | string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new RangeError(`object_size ${value} is beyond 2^53 - 1`);
  return number;
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) length++;
  return length;
}

/** Writes a whole number up to 2^53 - 1 (shifts would cut it to 32 bits). Returns the position after it. */
function writeVarint(out: Buffer, at: number, value: number): number {
  let to = at;
  let rest = value;
  while (rest >= 0x80) {
    out[to++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  out[to++] = rest;
  return to;
}
