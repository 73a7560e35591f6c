import { describe, expect, it } from "vitest";
import { bucketPatterns, covers, parseBucketPattern } from "./bucket-pattern.js";

describe("bucket patterns", () => {
  it("are names, prefixes, or all buckets of a scheme", () => {
    expect(bucketPatterns.parse("s3://lake, gs://logs-*,s3://*")).toEqual([
      { scheme: "s3", bucket: "lake" },
      { scheme: "gs", bucket: "logs-*" },
      { scheme: "s3", bucket: "*" },
    ]);
  });

  it.each(["", "lake", "s3://", "s3://a*b", "s3://lake/key", "http://lake", "s3://lake,,gs://x*", "s3://la ke"])(
    "are rejected: %j",
    (text) => {
      expect(() => bucketPatterns.parse(text)).toThrow("is not a bucket: use s3://name");
    },
  );

  it.each([
    ["s3://lake", "s3://lake", true],
    ["s3://lake", "s3://lake-2", false],
    ["s3://lake", "gs://lake", false],
    ["s3://lake*", "s3://lake-2", true],
    ["s3://lake*", "s3://lake-*", true],
    ["s3://lake-*", "s3://lake*", false],
    ["s3://lake", "s3://lake*", false],
    ["s3://*", "s3://any", true],
  ])("%s includes %s: %s", (first, second, expected) => {
    expect(covers(parseBucketPattern(first), parseBucketPattern(second))).toBe(expected);
  });
});
