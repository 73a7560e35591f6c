import { parsePrefixUrl } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { listingOf } from "./s3-listing.js";

const ref = parsePrefixUrl("s3://bucket/a");
const $metadata = {};

describe("a page of S3's listing", () => {
  it("has unchanged names if the store does not name the encoding", () => {
    const Contents = [{ Key: "a+b%20c", Size: 0 }];
    expect(listingOf(ref, { $metadata, Contents }).objects).toEqual([{ key: "a+b%20c", objectSize: 0 }]);
    expect(listingOf(ref, { $metadata, Contents, EncodingType: "url" }).objects).toEqual([{ key: "a b c", objectSize: 0 }]);
  });

  it.each([
    ["more pages but no token", { IsTruncated: true }],
    ["an object without a size", { Contents: [{ Key: "a" }] }],
    ["an object without a name", { Contents: [{ Size: 1 }] }],
    ["a name that is escaped wrongly", { EncodingType: "url" as const, CommonPrefixes: [{ Prefix: "%F" }] }],
  ])("is not believed with %s", (_, output) => {
    expect(() => listingOf(ref, { $metadata, ...output })).toThrow(expect.objectContaining({ code: "UNAVAILABLE" }));
  });

  it("is the last page unless it is truncated, even if it has a token", () => {
    expect(listingOf(ref, { $metadata, IsTruncated: false, NextContinuationToken: "more" })).toEqual({
      objects: [],
      prefixes: [],
    });
  });
});
