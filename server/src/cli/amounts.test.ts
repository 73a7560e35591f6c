import { describe, expect, it } from "vitest";
import { count, formatBytes, formatDuration, formatShare } from "./amounts.js";
import { formatTable } from "./table.js";

describe("human-readable amounts", () => {
  it.each([
    [0, "0 B"],
    [1_023, "1023 B"],
    [1_536, "1.5 KiB"],
    [150 * 2 ** 20, "150 MiB"],
    [2 ** 60, "1024 PiB"],
  ])("format %d bytes as %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  it.each([
    [40, "0.0 s"],
    [9_940, "9.9 s"],
    [75_300, "75 s"],
    [3_600_000, "60 min"],
    [108_000_000, "30 h"],
    [1_036_800_000, "12 d"],
  ])("format %d ms as %s", (ms, text) => expect(formatDuration(ms)).toBe(text));

  it("format counts and shares", () => {
    expect([count(1, "object"), count(0, "object"), formatShare(0.1234)]).toEqual(["1 object", "0 objects", "12.3 %"]);
  });
});

describe("a table", () => {
  it("has columns as wide as their widest cells, and right-aligned numbers", () => {
    const rows = [
      ["cache-0", "7", "ready"],
      ["c", "1234", "not ready"],
    ];
    expect(formatTable(["name", "n", "state"], rows, { width: 24, optional: ["n"] }).split("\n")).toEqual([
      "NAME        N  STATE",
      "cache-0     7  ready",
      "c        1234  not ready",
    ]);
  });

  it("leaves out as many optional columns as its width requires, in their order", () => {
    const table = (width: number): string[] =>
      formatTable(["name", "up", "n", "state"], [["c", "5 s", "1234", "ready"]], { width, optional: ["n", "up"] }).split("\n");
    expect(table(22)[0]).toBe("NAME   UP     N  STATE");
    expect(table(21)).toEqual(["NAME   UP  STATE", "c     5 s  ready"]);
    expect(table(2)).toEqual(["NAME  STATE", "c     ready"]);
  });
});
