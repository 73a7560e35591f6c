import { describe, expect, it } from "vitest";
import { etagOf, namesExactly, namesWeakly, parseTags } from "./entity-tag.js";

describe("an ETag", () => {
  it("is the version in quotes, the mark of a weak one before them", () => {
    expect(etagOf("abc-2")).toBe('"abc-2"');
    expect(etagOf("W/abc")).toBe('W/"abc"');
  });
});

describe("a list of ETags", () => {
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
  ])("%j is %j", (header, expected) => {
    expect(parseTags(header)).toEqual(expected);
  });

  it("is read in time that grows with its length alone", () => {
    const began = performance.now();
    for (const part of ['"', "W/", " ", ",", 'a"', "\t,"]) parseTags(part.repeat(16_384 / part.length));
    expect(performance.now() - began).toBeLessThan(500);
  });

  it("names the very version where bytes may depend on it", () => {
    expect(namesExactly(["a", "b"], "b")).toBe(true);
    expect(namesExactly(["W/a"], "a")).toBe(false);
    expect(namesExactly(["a"], "W/a")).toBe(false);
    expect(namesExactly("*", "a")).toBe(true);
    expect(namesExactly([], "a")).toBe(false);
  });

  it("names a version weakly where it only saves an answer", () => {
    expect(namesWeakly(["W/a"], "a")).toBe(true);
    expect(namesWeakly(["a"], "W/a")).toBe(true);
    expect(namesWeakly(["b"], "a")).toBe(false);
    expect(namesWeakly("*", "a")).toBe(true);
  });
});
