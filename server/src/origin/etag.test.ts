import { parseObjectUrl } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { etagOfVersion, versionOfEtag } from "./etag.js";

const ref = parseObjectUrl("s3://bucket/key");

describe("an ETag", () => {
  it.each([
    ['"abc"', "abc"],
    ['W/"abc"', "W/abc"],
    ['"abc-12"', "abc-12"],
  ])("%s is the version %s and comes back from it", (etag, version) => {
    expect(versionOfEtag(etag)).toBe(version);
    expect(etagOfVersion(ref, version)).toBe(etag);
  });

  it("without quotes is a version too, as some stores send it", () => {
    expect(versionOfEtag("abc")).toBe("abc");
  });

  it.each([undefined, "", '""', 'W/""'])("that is empty (%j) is no version", (etag) => {
    expect(versionOfEtag(etag)).toBeUndefined();
  });

  it.each(['a"b', "a\nb", "", "ü€"])("cannot be made of %j, which no object has", (version) => {
    expect(() => etagOfVersion(ref, version)).toThrow(expect.objectContaining({ code: "FAILED_PRECONDITION" }));
  });
});
