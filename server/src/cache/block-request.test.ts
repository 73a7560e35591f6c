import { type ObjectInfo, parseObjectUrl } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { type BlockRequest, describedBy } from "./block-request.js";

const found: ObjectInfo = { version: "v1", objectSize: 5, headers: "x-amz-meta-a: 1\r\n" };

function readWith(record: ObjectInfo | undefined): BlockRequest {
  const ref = parseObjectUrl("s3://bucket/key");
  const range = { blockOffset: 0, start: 0, end: 5, openEnded: false, cachedOnly: false };
  return { ref, version: "v1", record, ...range, signal: new AbortController().signal };
}

describe("what a read says of its object", () => {
  it("is the record, whose headers are newer than those that came with the block", () => {
    const record = { ...found, headers: "x-amz-meta-a: 2\r\n" };
    expect(describedBy(readWith(record), found)).toBe(record);
  });

  it("is what came with the block if there is no record, or one of another version, or one that lacks headers", () => {
    const others = [
      undefined,
      { ...found, version: "v2" },
      { ...found, objectSize: 6 },
      { ...found, lacks: "metadata" as const },
    ];
    for (const record of others) expect(describedBy(readWith(record), found)).toBe(found);
  });
});
