import { describe, expect, it } from "vitest";
import { cacheBuckets } from "./cache-buckets.js";

describe("the buckets of values", () => {
  it("have names and times to live", () => {
    expect(cacheBuckets.parse("")).toEqual([]);
    expect(cacheBuckets.parse("builds, thumbs:36h,a.b-c:90s")).toEqual([
      { name: "builds", ttlSeconds: 0 },
      { name: "thumbs", ttlSeconds: 36 * 3_600 },
      { name: "a.b-c", ttlSeconds: 90 },
    ]);
  });

  it.each(["a", "-ab", "ab/c", "abc:", "abc:1", "abc:10ms", "abc:1h:2h", "abc,abc:1h", "frontcache-multipart", "s3://abc"])(
    "%j is rejected",
    (text) => {
      expect(() => cacheBuckets.parse(text)).toThrow();
    },
  );
});
