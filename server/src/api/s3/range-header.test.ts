import { describe, expect, it } from "vitest";
import { parseRange, spanOf } from "./range-header.js";

/** What the header means in an object of 100 bytes: `[start, end)`, all of it, or nothing. */
function of100(header: string | undefined): [number, number] | "whole" | "nothing" {
  const range = parseRange(header);
  if (range === undefined) return "whole";
  const span = spanOf(range, 100);
  return span === undefined ? "nothing" : [span.start, span.end];
}

describe("a Range header", () => {
  it.each([
    ["bytes=0-0", [0, 1]],
    ["bytes=0-99", [0, 100]],
    ["bytes=10-19", [10, 20]],
    ["bytes=99-99", [99, 100]],
    ["bytes=90-1000", [90, 100]],
    ["bytes=90-99999999999999999999999", [90, 100]],
    ["bytes=0-", [0, 100]],
    ["bytes=99-", [99, 100]],
    ["bytes=-1", [99, 100]],
    ["bytes=-100", [0, 100]],
    ["bytes=-1000", [0, 100]],
    ["bytes=-99999999999999999999999", [0, 100]],
    ["bytes=00010-019", [10, 20]],
    ["Bytes=1-2", [1, 3]],
  ])("%s asks for %j of 100 bytes", (header, expected) => {
    expect(of100(header)).toEqual(expected);
  });

  it.each(["bytes=100-", "bytes=100-200", "bytes=99999999999999999999999-", "bytes=-0"])(
    "%s can't be had of 100 bytes",
    (header) => {
      expect(of100(header)).toBe("nothing");
    },
  );

  it.each([
    undefined,
    "",
    "bytes",
    "bytes=",
    "bytes=-",
    "bytes=20-10",
    "bytes=a-b",
    "bytes=1-2,4-5",
    "bytes=1-2, ",
    "bytes=--1",
    "bytes=+1-2",
    "bytes=1 - 2",
    "bytes = 1-2",
    "bytes=0x1-2",
    "bytes=1.5-2",
    "lines=1-2",
    "bytes=1-2\n",
  ])("%j is ignored, which asks for all of it", (header) => {
    expect(of100(header)).toBe("whole");
  });

  it("asks for nothing of an object without bytes", () => {
    for (const header of ["bytes=0-", "bytes=0-0", "bytes=-1"]) expect(spanOf(parseRange(header)!, 0)).toBeUndefined();
  });
});
