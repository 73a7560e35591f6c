import { describe, expect, it } from "vitest";
import { parseBucketQuery } from "./bucket-query.js";

const bucket = { url: "s3://bucket", scheme: "s3", bucket: "bucket" } as const;

describe("the query of a bucket", () => {
  it("asks for a page of objects, by default the first thousand of all", () => {
    expect(parseBucketQuery(bucket, "list-type=2")).toEqual({
      kind: "list",
      ref: { ...bucket, url: "s3://bucket/", prefix: "" },
      page: { delimiter: "", maxKeys: 1000 },
      escaped: false,
    });
  });

  it("names prefix, delimiter and beginning as forms escape them, in any UTF-8", () => {
    expect(
      parseBucketQuery(bucket, "prefix=a+b%2B/\u00c3\u00bc&list-type=2&delimiter=%F0%9F%90%98&start-after=%00&encoding-type=url"),
    ).toMatchObject({
      ref: { url: "s3://bucket/a b+/ü", prefix: "a b+/ü" },
      page: { delimiter: "🐘", startAfter: "\0" },
      escaped: true,
    });
  });

  it.each(["prefix=%", "prefix=%FF", "delimiter=%zz", "max-keys=%C3", "list-type=1", "max-keys=2147483648", "max-keys=+1"])(
    "can't be read with %s",
    (part) => {
      const query = part.startsWith("list-type") ? part : `list-type=2&${part}`;
      expect(() => parseBucketQuery(bucket, query)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    },
  );

  it("may say what S3 doesn't know, as long as it is not another question of S3's", () => {
    expect(parseBucketQuery(bucket, "&&=&x&list-type=2&X-Amz-Date=%zz").kind).toBe("list");
    expect(parseBucketQuery(bucket, "list-type=2&versions")).toEqual({ kind: "other", what: "versions" });
  });
});
