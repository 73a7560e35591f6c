import { describe, expect, it } from "vitest";
import { duration, formatSize, percent, size, whole } from "./quantities.js";

describe("a size", () => {
  it.each([
    ["0", 0],
    ["1048576", 1 << 20],
    ["16MiB", 16 << 20],
    ["16 mib", 16 << 20],
    ["16Mi", 16 << 20],
    ["1.5KiB", 1536],
    ["200GiB", 200 * 2 ** 30],
    ["1TiB", 2 ** 40],
    ["1GB", 1e9],
    ["12b", 12],
  ])("is parsed from %s", (text, bytes) => {
    expect(size(0).parse(text)).toBe(bytes);
  });

  it.each([
    "",
    " ",
    "16m",
    "16M",
    "MiB",
    "-1",
    "1e3",
    "0.3KiB",
    "9007199254740993",
    "9999999TiB",
    "16MiB,",
    "0x10",
    "constructor",
  ])("is rejected in one line that says what to use: %j", (text) => {
    expect(() => size(0).parse(text)).toThrow(/^"[^\n]*" is not a size: use [^\n]*$/);
  });

  it("has a minimum", () => {
    expect(() => size(1 << 20).parse("0")).toThrow('"0" is too small: use at least 1MiB');
    expect(size(1 << 20).parse("1MiB")).toBe(1 << 20);
  });

  it("is formatted in the largest unit that divides it", () => {
    expect([0, 1, 1024, 1536, 16 << 20, 2 ** 40].map(formatSize)).toEqual([
      "0 bytes",
      "1 bytes",
      "1KiB",
      "1536 bytes",
      "16MiB",
      "1TiB",
    ]);
  });
});

describe("a duration", () => {
  it.each([
    ["0", 0],
    ["0s", 0],
    ["500ms", 500],
    ["1.5s", 1500],
    ["60s", 60_000],
    ["5m", 300_000],
    ["1h", 3_600_000],
  ])("is parsed from %s to milliseconds", (text, ms) => {
    expect(duration(0).parse(text)).toBe(ms);
  });

  it.each(["", "60", "-1s", "1d", "s", "1 s", "1e3ms", "never", `${"9".repeat(20)}h`])("is rejected: %j", (text) => {
    expect(() => duration(0).parse(text)).toThrow(/^"[^\n]*" is not a duration: use /);
  });

  it("may be `never` if allowed", () => {
    expect(duration(0, { never: true }).parse("never")).toBe(Number.POSITIVE_INFINITY);
    expect(() => duration(0, { never: true }).parse("ever")).toThrow("or never");
  });

  it("has a minimum", () => {
    expect(() => duration(100).parse("0")).toThrow('"0" is too short: use at least 100ms');
  });
});

describe("a percentage", () => {
  it.each([
    ["0", 0],
    ["95", 0.95],
    ["95%", 0.95],
    ["99.5", 0.995],
    ["100", 1],
  ])("is parsed from %s to a share", (text, share) => {
    expect(percent.parse(text)).toBeCloseTo(share, 10);
  });

  it.each(["", "101", "-1", "half", "%"])("is rejected: %j", (text) => {
    expect(() => percent.parse(text)).toThrow("is not a percentage");
  });
});

describe("a whole number", () => {
  it("must lie in its range", () => {
    expect(whole(1, 64).parse("1")).toBe(1);
    expect(whole(1, 64).parse("64")).toBe(64);
    for (const text of ["0", "65", "", "1.5", "-1", "four"])
      expect(() => whole(1, 64).parse(text)).toThrow("use a number from 1 to 64");
  });
});
