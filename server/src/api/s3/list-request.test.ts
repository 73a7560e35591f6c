import { describe, expect, it } from "vitest";
import { Query } from "../../runtime/query.js";
import { isCommonPrefix, parseFirstListRequest, parseListRequest } from "./list-request.js";

const bucket = { url: "s3://bucket", scheme: "s3", bucket: "bucket" } as const;

const second = (query: string) => parseListRequest(bucket, new Query(query));
const first = (query: string) => parseFirstListRequest(bucket, new Query(query));

describe("the query of ListObjectsV2", () => {
  it("asks for a page of objects, by default the first thousand of all", () => {
    expect(second("list-type=2")).toEqual({
      ref: { ...bucket, url: "s3://bucket/", prefix: "" },
      page: { delimiter: "", maxKeys: 1000 },
      isEscaped: false,
      token: undefined,
    });
  });

  it("names prefix, delimiter and beginning as forms escape them, in any UTF-8", () => {
    expect(
      second("prefix=a+b%2B/\u00c3\u00bc&list-type=2&delimiter=%F0%9F%90%98&start-after=%00&encoding-type=url"),
    ).toMatchObject({
      ref: { url: "s3://bucket/a b+/ü", prefix: "a b+/ü" },
      page: { delimiter: "🐘", startAfter: "\0" },
      isEscaped: true,
    });
  });

  it("takes an empty token for the first page", () => {
    expect(second("list-type=2&continuation-token=")).toMatchObject({ token: "", page: { delimiter: "", maxKeys: 1000 } });
    expect(second("list-type=2&continuation-token=").page).not.toHaveProperty("token");
    expect(second("list-type=2&continuation-token=t").page.token).toBe("t");
  });

  it("asks for owners, and for Ceph's unordered listing", () => {
    expect(second("list-type=2&fetch-owner=true&allow-unordered=true").page).toMatchObject({
      withOwners: true,
      isUnordered: true,
    });
    expect(second("list-type=2&fetch-owner=false").page).not.toHaveProperty("withOwners");
  });

  it.each(["prefix=%", "prefix=%FF", "delimiter=%zz", "max-keys=%C3", "list-type=1", "max-keys=2147483648", "max-keys=+1"])(
    "is rejected with %s",
    (part) => {
      const query = part.startsWith("list-type") ? part : `list-type=2&${part}`;
      expect(() => second(query)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    },
  );

  it("may have parameters that S3 does not know", () => {
    expect(second("&&=&x&list-type=2&X-Amz-Date=%zz").page.maxKeys).toBe(1000);
  });
});

describe("the query of ListObjects", () => {
  it("asks for owners always, and for what follows the marker", () => {
    expect(first("marker=a%20b&max-keys=7")).toMatchObject({
      marker: "a b",
      page: { startAfter: "a b", withOwners: true, maxKeys: 7 },
    });
    expect(first("").page).not.toHaveProperty("startAfter");
  });

  it("asks for what follows all keys of a marker that is a common prefix", () => {
    expect(first("delimiter=/&prefix=a/&marker=a/b/").page.startAfter).toBe("a/b/\u{10ffff}");
    expect(first("delimiter=/&prefix=a/&marker=a/b/c").page.startAfter).toBe("a/b/c");
    expect(first("marker=a/b/").page.startAfter).toBe("a/b/");
  });

  it.each([
    ["a/", "", "/", true],
    ["a/b/", "", "/", false],
    ["a/b/", "a/", "/", true],
    ["a/", "a/", "/", false],
    ["x/", "a/", "/", false],
    ["a--", "", "--", true],
  ])("%j is a common prefix of %j by %j: %j", (name, prefix, delimiter, expected) => {
    expect(isCommonPrefix(name, prefix, delimiter)).toBe(expected);
  });
});
