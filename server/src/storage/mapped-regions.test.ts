import { describe, expect, it } from "vitest";
import { MappedRegions } from "./open-file.js";

const MiB = 1 << 20;

/** The regions of a mapping of 7 MiB, which has three whole ones and a half. */
function stage(): { regions: MappedRegions; touch: (start: number, end: number) => [number, number][] } {
  const regions = new MappedRegions(7 * MiB);
  const touch = (start: number, end: number): [number, number][] => {
    const hot: [number, number][] = [];
    regions.touch(start, end, (from, to) => hot.push([from, to]));
    return hot;
  };
  return { regions, touch };
}

describe("the regions of a mapping", () => {
  it("count once for any number of touches, and never beyond the mapping", () => {
    const { regions, touch } = stage();
    for (let read = 0; read < 100; read++) touch(10, 20);
    expect(regions.touchedBytes).toBe(2 * MiB);
    touch(2 * MiB - 1, 2 * MiB + 1);
    expect(regions.touchedBytes).toBe(4 * MiB);
    touch(0, 7 * MiB);
    touch(0, 7 * MiB);
    expect(regions.touchedBytes).toBe(7 * MiB);
  });

  it("are hot once, at the second touch, and not if reads cover them completely", () => {
    const { regions, touch } = stage();
    expect(touch(10, 20)).toEqual([]);
    expect(regions.areEntered(10, 20)).toBe(false);
    expect(touch(500, 600)).toEqual([[0, 2 * MiB]]);
    expect(regions.areEntered(10, 20)).toBe(true);
    expect(touch(10, 20)).toEqual([]);
    expect(touch(2 * MiB, 7 * MiB)).toEqual([]);
    expect(regions.areEntered(0, 7 * MiB)).toBe(true);
  });

  it("are counted again after a release, and hot again where the file has grown", () => {
    const { regions, touch } = stage();
    touch(0, 7 * MiB);
    regions.grow();
    expect([regions.areEntered(0, 10), regions.touchedBytes]).toEqual([false, 7 * MiB]);
    expect(touch(6 * MiB, 6 * MiB + 1)).toEqual([[6 * MiB, 7 * MiB]]);
    regions.clear();
    expect([regions.areEntered(0, 10), regions.touchedBytes]).toEqual([false, 0]);
    expect(touch(0, 10)).toEqual([]);
  });
});
