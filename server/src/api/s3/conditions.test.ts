import { describe, expect, it } from "vitest";
import { judge, needsObject, parseConditions, rangeCounts, requiredVersion } from "./conditions.js";

const DATE = "Fri, 01 Nov 2024 12:00:00 GMT";
const EARLIER = "Fri, 01 Nov 2024 11:59:59 GMT";
const LATER = "Fri, 01 Nov 2024 12:00:01 GMT";
const info = { version: "v1", objectSize: 10, lastModifiedMs: Date.parse(DATE) + 789 };

describe("the conditions of a request", () => {
  it.each([
    [{}, "answer"],
    [{ "if-match": '"v1"' }, "answer"],
    [{ "if-match": "*" }, "answer"],
    [{ "if-match": '"v0", "v1"' }, "answer"],
    [{ "if-match": '"v0"' }, "failed"],
    [{ "if-match": "" }, "failed"],
    [{ "if-match": 'W/"v1"' }, "failed"],
    [{ "if-none-match": '"v1"' }, "not-modified"],
    [{ "if-none-match": 'W/"v1"' }, "not-modified"],
    [{ "if-none-match": "*" }, "not-modified"],
    [{ "if-none-match": '"v0", "v2"' }, "answer"],
    [{ "if-modified-since": DATE }, "not-modified"],
    [{ "if-modified-since": LATER }, "not-modified"],
    [{ "if-modified-since": EARLIER }, "answer"],
    [{ "if-unmodified-since": DATE }, "answer"],
    [{ "if-unmodified-since": LATER }, "answer"],
    [{ "if-unmodified-since": EARLIER }, "failed"],
  ])("%j: %s", (headers, verdict) => {
    expect(judge(parseConditions(headers), info)).toBe(verdict);
  });

  it.each([
    ["an If-Match that holds outweighs a date that doesn't", { "if-match": '"v1"', "if-unmodified-since": EARLIER }, "answer"],
    ["an If-Match that fails outweighs a date that holds", { "if-match": '"v0"', "if-unmodified-since": LATER }, "failed"],
    ["an If-None-Match that holds outweighs a date", { "if-none-match": '"v0"', "if-modified-since": LATER }, "answer"],
    ["what fails outweighs what was not modified", { "if-match": '"v0"', "if-none-match": '"v1"' }, "failed"],
    ["both kinds of ETags are looked at", { "if-match": '"v1"', "if-none-match": '"v1"' }, "not-modified"],
  ])("%s", (_, headers, verdict) => {
    expect(judge(parseConditions(headers), info)).toBe(verdict);
  });

  it.each(["yesterday", "", "2024-11-01T12:00:00Z", "1730462400", "Fri, 32 Nov 2099 12:00:00 GMT", "Fri, 01 Nov 2099 12:00:00"])(
    "%j is no date and ignored",
    (date) => {
      const conditions = parseConditions({ "if-modified-since": date, "if-unmodified-since": date });
      expect(judge(conditions, info)).toBe("answer");
      expect(needsObject(conditions)).toBe(false);
    },
  );

  it.each(["Fri, 01 Nov 2024 12:00:00 GMT", "Friday, 01-Nov-24 12:00:00 GMT", "Fri Nov  1 12:00:00 2024"])(
    "%j is a date",
    (date) => {
      expect(parseConditions({ "if-modified-since": date }).modifiedSinceMs).toBe(Date.parse(DATE));
    },
  );

  it("by dates are ignored for an object that has none", () => {
    const { version, objectSize } = info;
    for (const headers of [{ "if-modified-since": LATER }, { "if-unmodified-since": EARLIER }]) {
      expect(judge(parseConditions(headers), { version, objectSize })).toBe("answer");
    }
  });

  it("are one version to be read where If-Match names one", () => {
    expect(requiredVersion(parseConditions({ "if-match": '"v1"' }))).toBe("v1");
    expect(requiredVersion(parseConditions({ "if-match": "*" }))).toBeUndefined();
    expect(requiredVersion(parseConditions({ "if-match": '"v1", "v2"' }))).toBeUndefined();
    expect(requiredVersion(parseConditions({ "if-none-match": '"v1"' }))).toBeUndefined();
  });

  it("need the object unless they are one version, or nothing to be checked", () => {
    for (const headers of [{}, { "if-match": '"v1"' }, { "if-match": "*" }])
      expect(needsObject(parseConditions(headers))).toBe(false);
    for (const header of ["if-none-match", "if-modified-since", "if-unmodified-since", "if-range"]) {
      expect(needsObject(parseConditions({ "if-match": '"v1"', [header]: DATE }))).toBe(true);
    }
    expect(needsObject(parseConditions({ "if-match": '"v1", "v2"' }))).toBe(true);
    expect(needsObject(parseConditions({ "if-match": "" }))).toBe(true);
  });
});

describe("If-Range", () => {
  it.each([
    ['"v1"', true],
    ['"v0"', false],
    ['W/"v1"', false],
    ["*", false],
    ["", false],
    [DATE, true],
    [EARLIER, false],
    [LATER, false],
  ])("%j has the range count: %s", (header, expected) => {
    expect(rangeCounts(parseConditions({ "if-range": header }), info)).toBe(expected);
  });

  it("never holds for a weak version, by ETag", () => {
    expect(rangeCounts(parseConditions({ "if-range": 'W/"v1"' }), { ...info, version: "W/v1" })).toBe(false);
  });
});
