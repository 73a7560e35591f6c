import { expect, it } from "vitest";
import { contentRangeOf } from "./content-range.js";

it.each([
  [undefined, { length: undefined, mayComplete: true, isWhole: true }],
  ["bytes 0-99/200", { length: 100, mayComplete: false, isWhole: false }],
  ["bytes 0-99/*", { length: 100, mayComplete: false, isWhole: false }],
  ["bytes 0-199/200", { length: 200, mayComplete: true, isWhole: true }],
  ["bytes 100-199/200", { length: 100, mayComplete: true, isWhole: false }],
  ["bytes 0-*/*", { length: undefined, mayComplete: true, isWhole: true }],
  ["bytes 0-*/200", { length: 200, mayComplete: true, isWhole: true }],
  ["bytes 50-*/200", { length: 150, mayComplete: true, isWhole: false }],
  ["bytes */*", { length: 0, mayComplete: false, isWhole: false }],
  ["bytes */200", { length: 0, mayComplete: true, isWhole: false }],
  ["bytes */0", { length: 0, mayComplete: true, isWhole: true }],
])("reads %s", (header, expected) => {
  expect(contentRangeOf(header)).toEqual(expected);
});

it.each(["", "bytes", "bytes 0-1", "bytes 5-3/10", "bytes 0-10/5", "bytes 7-*/5", "items 0-1/2", "bytes a-b/c"])(
  "refuses %s",
  (header) => {
    expect(() => contentRangeOf(header)).toThrow("Content-Range");
  },
);
