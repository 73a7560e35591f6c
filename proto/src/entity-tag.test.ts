import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  canBeEntityTag,
  entityTagOf,
  matchesExactly,
  matchesWeakly,
  parseEntityTags,
  versionOfEntityTag,
  versionOfStoreTag,
} from "./entity-tag.js";

describe("the entity tag of a version", () => {
  it("is parsed to the same version", () => {
    const version = fc.string({
      unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code)),
      minLength: 1,
    });
    fc.assert(
      fc.property(fc.tuple(fc.constantFrom("", "W/"), version), ([weak, name]) => {
        if (canBeEntityTag(weak + name)) expect(versionOfEntityTag(entityTagOf(weak + name))).toBe(weak + name);
      }),
      { numRuns: 500, seed: 20_260_222 },
    );
  });

  it("is the version in quotes, after the mark of a weak tag", () => {
    expect(entityTagOf("d41d8cd98f00b204e9800998ecf8427e-3")).toBe('"d41d8cd98f00b204e9800998ecf8427e-3"');
    expect(entityTagOf("W/abc")).toBe('W/"abc"');
  });

  it.each(["", "a b", 'a"b', "a\r\nHost: b", "a\nb", "\u0000", "\u0100", "ü€", 'W/"', "W/"])(
    "does not exist for %j",
    (version) => {
      expect(canBeEntityTag(version)).toBe(false);
    },
  );

  it.each(["v1", '"', '""', '"a b"', '"a"b"', 'w/"a"', '"a', 'a"', '"a", "b"', "*"])("cannot be %j", (etag) => {
    expect(versionOfEntityTag(etag)).toBeUndefined();
  });
});

describe("an object store's ETag", () => {
  it.each([
    ['"abc"', "abc"],
    ['W/"abc"', "W/abc"],
    ['"abc-12"', "abc-12"],
  ])("%s is the version %s, whose entity tag is the same", (etag, version) => {
    expect(versionOfStoreTag(etag)).toBe(version);
    expect(entityTagOf(version)).toBe(etag);
  });

  it("may lack its quotes, as some stores send it", () => {
    expect(versionOfStoreTag("abc")).toBe("abc");
  });

  it.each([undefined, "", '""', 'W/""'])("is not a version if it is empty or missing (%j)", (etag) => {
    expect(versionOfStoreTag(etag)).toBeUndefined();
  });
});

describe("a list of entity tags", () => {
  it.each([
    ['"a"', ["a"]],
    ['"a","b" , W/"c"', ["a", "b", "W/c"]],
    ['"a,b", "c d"', ["a,b", "c d"]],
    [' "a"\t,, "b",', ["a", "b"]],
    ["*", "*"],
    [" * ", "*"],
    ['"*"', ["*"]],
    ["a", ["a"]],
    ["a, b", ["a", "b"]],
    ["", []],
    [",", []],
    ['""', []],
    ['"a', []],
    ['"a"b, "c"', ["c"]],
    ['a"b", "c"', ["c"]],
  ])("is parsed from %j to %j", (header, expected) => {
    expect(parseEntityTags(header)).toEqual(expected);
  });

  it("is parsed from hostile headers of 16 KiB to their end", () => {
    for (const part of ['"', "W/", " ", ",", 'a"', "\t,"]) {
      expect(() => parseEntityTags(part.repeat(16_384 / part.length))).not.toThrow();
    }
  });

  it("matches exactly for If-Match", () => {
    expect(matchesExactly(["a", "b"], "b")).toBe(true);
    expect(matchesExactly(["W/a"], "a")).toBe(false);
    expect(matchesExactly(["a"], "W/a")).toBe(false);
    expect(matchesExactly("*", "a")).toBe(true);
    expect(matchesExactly([], "a")).toBe(false);
  });

  it("matches weakly for If-None-Match", () => {
    expect(matchesWeakly(["W/a"], "a")).toBe(true);
    expect(matchesWeakly(["a"], "W/a")).toBe(true);
    expect(matchesWeakly(["b"], "a")).toBe(false);
    expect(matchesWeakly("*", "a")).toBe(true);
  });
});
