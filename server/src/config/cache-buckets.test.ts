import { describe, expect, it } from "vitest";
import { cacheBuckets } from "./cache-buckets.js";

describe("the buckets of values", () => {
  const plain = { ttlSeconds: 0, share: undefined, isPinned: false };

  it("have names and times to live", () => {
    expect(cacheBuckets.parse("")).toEqual([]);
    expect(cacheBuckets.parse("builds, thumbs:36h,a.b-c:90s")).toEqual([
      { ...plain, name: "builds" },
      { ...plain, name: "thumbs", ttlSeconds: 36 * 3_600 },
      { ...plain, name: "a.b-c", ttlSeconds: 90 },
    ]);
  });

  it("may have a share, in percent or bytes, and a pin, in any order", () => {
    expect(cacheBuckets.parse("one:share=20%,two:1h:share=50GiB:pin,three:pin:share=0.5%")).toEqual([
      { ...plain, name: "one", share: { fraction: 0.2 } },
      { name: "two", ttlSeconds: 3_600, share: { bytes: 50 * 2 ** 30 }, isPinned: true },
      { ...plain, name: "three", share: { fraction: 0.005 }, isPinned: true },
    ]);
  });

  it("need a share for a pin, and the message says so", () => {
    expect(() => cacheBuckets.parse("builds:pin")).toThrow("pin requires a share");
  });

  it.each([
    "a",
    "-ab",
    "ab/c",
    "abc:",
    "abc:1",
    "abc:10ms",
    "abc:1h:2h",
    "abc,abc:1h",
    "frontcache-multipart",
    "s3://abc",
    "abc:share=",
    "abc:share=0%",
    "abc:share=101%",
    "abc:share=0",
    "abc:share=1GiB:share=2GiB",
    "abc:share=10%:pin:pin",
    "abc:pinned",
    "abc:pin=1:share=10%",
  ])("%j is rejected", (text) => {
    expect(() => cacheBuckets.parse(text)).toThrow();
  });
});
