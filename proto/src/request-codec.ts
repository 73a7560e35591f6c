import { BinaryReader } from "@bufbuild/protobuf/wire";
import { LookupOwnerRequest, ReadRangeRequest } from "./gen/cache.js";
import { readTag } from "./read-tag.js";

/**
 * Reads a LookupOwnerRequest. Unlike the generated code it takes numbers beyond 2^53 - 1, which `checkRange` refuses with
 * a clear INVALID_ARGUMENT; what a deserialiser throws, grpc-js answers with INTERNAL and no word of the reason.
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

/** Reads a ReadRangeRequest, with numbers beyond 2^53 - 1 as in `decodeLookupOwnerRequest`. */
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

/** Protobuf tags, field number << 3 | wire type (2 = length-delimited, 0 = varint); the first two are alike in both messages. */
const KEY = (1 << 3) | 2;
const OFFSET = 2 << 3;
const LENGTH = 3 << 3;
const VERSION = (4 << 3) | 2;
const FORWARDED = 5 << 3;
const CACHED_ONLY = 6 << 3;

/** `read` says whether it knew the tag; unknown fields are skipped, as protobuf has it. */
function readFields(input: Buffer, read: (tag: number, reader: BinaryReader) => boolean): void {
  const reader = new BinaryReader(input);
  while (reader.pos < reader.len) {
    const tag = readTag(reader);
    if (!read(tag, reader)) reader.skip(tag & 7);
  }
}

/** A uint64 as the nearest number; one of 2^63 or more is what a negative number becomes on the wire, and is read as that. */
function wholeNumber(reader: BinaryReader): number {
  return Number(reader.int64());
}
