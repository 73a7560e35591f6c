import { describe, expect, it } from "vitest";
import { parseByteRange } from "./byte-range.js";

describe("a byte range", () => {
  it.each([
    ["0-0", { offset: 0, length: 1 }],
    ["0-1023", { offset: 0, length: 1024 }],
    ["5-5", { offset: 5, length: 1 }],
    ["100-", { offset: 100 }],
    ["-500", { lastBytes: 500 }],
    ["9007199254740991-", { offset: Number.MAX_SAFE_INTEGER }],
  ])("is parsed from %s as in HTTP", (text, range) => {
    expect(parseByteRange(text)).toEqual(range);
  });

  it.each(["", "-", "-0", "5", "5-4", "a-b", "1-2,4-5", "bytes=0-1", "0 - 1", "-1-2", "9007199254740992-", "-9007199254740992"])(
    "is rejected in one line for %j",
    (text) => {
      expect(() => parseByteRange(text)).toThrow(/^--range: "[^\n]*" is not a range: use first-last/);
    },
  );
});
