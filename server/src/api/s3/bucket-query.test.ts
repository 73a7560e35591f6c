import { describe, expect, it } from "vitest";
import { type ListRequest, parseListQuery } from "./bucket-query.js";
import { Query } from "./query.js";

const bucket = { url: "s3://bucket", scheme: "s3", bucket: "bucket" } as const;

function parse(query: string): ListRequest {
  return parseListQuery(bucket, new Query(query));
}

describe("the query of a bucket", () => {
  it("asks for a page of objects, by default the first thousand of all", () => {
    expect(parse("list-type=2")).toEqual({
      ref: { ...bucket, url: "s3://bucket/", prefix: "" },
      page: { delimiter: "", maxKeys: 1000 },
      escaped: false,
    });
  });

  it("names prefix, delimiter and beginning as forms escape them, in any UTF-8", () => {
    expect(
      parse("prefix=a+b%2B/\u00c3\u00bc&list-type=2&delimiter=%F0%9F%90%98&start-after=%00&encoding-type=url"),
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
      expect(() => parse(query)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    },
  );

  it("may have parameters that S3 does not know", () => {
    expect(parse("&&=&x&list-type=2&X-Amz-Date=%zz").page.maxKeys).toBe(1000);
  });
});
