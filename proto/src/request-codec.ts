import { BinaryReader } from "@bufbuild/protobuf/wire";
import { LookupOwnerRequest, type MessageFns, ReadRangeRequest } from "./gen/cache.js";
import { readTag } from "./read-tag.js";

/**
 * Decodes a LookupOwnerRequest. Unlike the generated code, it accepts numbers beyond 2^53 - 1; `checkRange` then throws a clear
 * INVALID_ARGUMENT. If a deserializer threw, grpc-js would answer INTERNAL without the reason.
 */
export function decodeLookupOwnerRequest(input: Buffer): LookupOwnerRequest {
  const message = LookupOwnerRequest.create();
  readFields(input, (field, reader) => {
    if (field === KEY) message.key = reader.string();
    else if (field === OFFSET) message.offset = wholeNumber(reader);
    else return false;
    return true;
  });
  return message;
}

/** Decodes a ReadRangeRequest, with numbers beyond 2^53 - 1 as in `decodeLookupOwnerRequest`. */
export function decodeReadRangeRequest(input: Buffer): ReadRangeRequest {
  const message = ReadRangeRequest.create();
  readFields(input, (field, reader) => {
    if (field === KEY) message.key = reader.string();
    else if (field === OFFSET) message.offset = wholeNumber(reader);
    else if (field === LENGTH) message.length = wholeNumber(reader);
    else if (field === VERSION) message.version = reader.string();
    else if (field === FORWARDED) message.forwarded = reader.bool();
    else if (field === CACHED_ONLY) message.cachedOnly = reader.bool();
    else return false;
    return true;
  });
  return message;
}

/**
 * Decodes a message whose numbers may be any: those beyond 2^53 - 1, and negative ones, which protobuf encodes as such, are read as
 * 2^53 - 1, which is beyond every limit. The generated code would throw.
 */
export function decodeAnyNumbers<Message>(type: MessageFns<Message>, input: Buffer): Message {
  return type.decode(new BoundedReader(input));
}

class BoundedReader extends BinaryReader {
  override uint64(): string | bigint {
    const value = super.uint64();
    return Number(value) <= Number.MAX_SAFE_INTEGER ? value : String(Number.MAX_SAFE_INTEGER);
  }
}

/** Protobuf tags: field number << 3 | wire type (2: length-delimited, 0: varint). The first two are equal in both messages. */
const KEY = (1 << 3) | 2;
const OFFSET = 2 << 3;
const LENGTH = 3 << 3;
const VERSION = (4 << 3) | 2;
const FORWARDED = 5 << 3;
const CACHED_ONLY = 6 << 3;

/** Calls `read` for each field; it returns whether it knows the tag. Unknown fields are skipped. */
function readFields(input: Buffer, read: (tag: number, reader: BinaryReader) => boolean): void {
  const reader = new BinaryReader(input);
  while (reader.pos < reader.len) {
    const tag = readTag(reader);
    if (!read(tag, reader)) reader.skip(tag & 7);
  }
}

/** Reads a uint64 as the nearest number. Values from 2^63 on encode negative numbers and are read as such. */
function wholeNumber(reader: BinaryReader): number {
  return Number(reader.int64());
}
