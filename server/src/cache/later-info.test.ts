import type { ObjectInfo } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { laterInfo } from "./later-info.js";

const head: ObjectInfo = {
  version: "v1",
  objectSize: 5,
  lastModifiedMs: 1_000,
  headers: "x-amz-checksum-crc32: abc=\r\nx-amz-meta-a: 1\r\n",
};

/** As a read of S3 brings it. */
function read(metadata: string, changes: Partial<ObjectInfo> = {}): ObjectInfo {
  return { ...head, headers: `x-amz-meta-a: ${metadata}\r\n`, lacks: "checksums", ...changes };
}

/** As a read of GCS brings it. */
function media(metageneration: string | undefined): ObjectInfo {
  const headers = metageneration === undefined ? "" : `x-goog-metageneration: ${metageneration}\r\n`;
  return { version: "7", objectSize: 5, headers: `content-encoding: gzip\r\n${headers}`, lacks: "metadata" };
}

const resource: ObjectInfo = {
  version: "7",
  objectSize: 5,
  headers: "content-encoding: gzip\r\nx-goog-meta-a: 1\r\nx-goog-metageneration: 2\r\n",
};

describe("what is known of an object after a later observation", () => {
  it("is the known object itself if nothing has changed", () => {
    expect(laterInfo(head, { ...head })).toBe(head);
    expect(laterInfo(head, read("1"))).toBe(head);
    expect(laterInfo(resource, media("2"))).toBe(resource);
  });

  it("is the later observation, also of the same version", () => {
    const changed = { ...head, headers: "x-amz-meta-a: 2\r\n" };
    expect(laterInfo(head, changed)).toBe(changed);
    expect(laterInfo(undefined, head)).toBe(head);
    expect(laterInfo(head, { ...read("1"), version: "v2" })).toEqual({ ...read("1"), version: "v2" });
  });

  it("keeps the checksums of a version that a read of bytes cannot have", () => {
    expect(laterInfo(head, read("2"))).toEqual({ ...head, headers: "x-amz-checksum-crc32: abc=\r\nx-amz-meta-a: 2\r\n" });
    expect(laterInfo(read("1"), read("2"))).toEqual(read("2"));
  });

  it("drops the checksums of an object that was written again with the same bytes", () => {
    const again = read("1", { lastModifiedMs: 2_000 });
    expect(laterInfo(head, again)).toEqual(again);
  });

  it("keeps GCS's user metadata unless the metageneration has changed", () => {
    expect(laterInfo(resource, media(undefined))).toEqual(resource);
    expect(laterInfo(resource, media("3"))).toEqual(media("3"));
    expect(laterInfo(media("2"), resource)).toBe(resource);
  });
});
