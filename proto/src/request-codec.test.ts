import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { describe, expect, it } from "vitest";
import { checkRange } from "./blocks.js";
import { LookupOwnerRequest, ReadRangeRequest } from "./gen/cache.js";
import { decodeLookupOwnerRequest, decodeReadRangeRequest } from "./request-codec.js";

describe("requests on the wire", () => {
  it.each([
    {},
    { key: "s3://bucket/ä%20+//..", offset: 1, length: 2, version: "v", forwarded: true, cachedOnly: true },
    { key: "s3://b/k", offset: Number.MAX_SAFE_INTEGER, length: 2 ** 32 },
  ])("are decoded as by the generated code: %j", (fields) => {
    const read = ReadRangeRequest.create(fields);
    expect(decodeReadRangeRequest(Buffer.from(ReadRangeRequest.encode(read).finish()))).toEqual(read);
    const lookup = LookupOwnerRequest.create(fields);
    expect(decodeLookupOwnerRequest(Buffer.from(LookupOwnerRequest.encode(lookup).finish()))).toEqual(lookup);
  });

  it("are decoded without the fields of newer clients", () => {
    const wire = Buffer.from(
      new BinaryWriter()
        .uint32((99 << 3) | 2)
        .string("new")
        .uint32(16)
        .uint64(7)
        .finish(),
    );
    expect(decodeReadRangeRequest(wire).offset).toBe(7);
    expect(decodeLookupOwnerRequest(wire).offset).toBe(7);
  });

  it.each([
    [2n ** 53n, "offset 9007199254740992 is not a whole number from 0 to 2^53 - 1"],
    [2n ** 63n - 1n, "offset 9223372036854776000 is not a whole number"],
    [2n ** 64n - 1n, "offset -1 is not a whole number"],
  ])("are decoded with the invalid number %d instead of failing", (offset, message) => {
    const wire = Buffer.from(new BinaryWriter().uint32(16).uint64(offset).finish());
    const request = decodeReadRangeRequest(wire);
    expect(() => checkRange("s3://b/k", request.offset, request.length)).toThrow(message);
    expect(decodeLookupOwnerRequest(wire).offset).toBe(request.offset);
  });

  it("are rejected if they are truncated", () => {
    const wire = Buffer.from(ReadRangeRequest.encode(ReadRangeRequest.create({ key: "s3://bucket/key" })).finish());
    expect(() => decodeReadRangeRequest(wire.subarray(0, -1))).toThrow();
  });
});
