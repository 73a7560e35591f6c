import { describe, expect, it } from "vitest";
import type { Mapping } from "./mapping.js";
import { RecentResidency } from "./recent-residency.js";

const MiB = 1 << 20;

/** A mapping of 4 MiB whose bytes from `resident.from` to `resident.to` are in memory, with a clock. */
function stage(resident: { from: number; to: number }) {
  const world = { nowMs: 1_000, lengthBytes: 4 * MiB, looks: 0 };
  const reaches = (end: number): boolean => end <= world.lengthBytes;
  const isResident = (start: number, end: number): boolean => {
    world.looks++;
    return reaches(end) && resident.from <= start && end <= resident.to;
  };
  const mapping = { isResident, reaches } as Mapping;
  const residency = new RecentResidency(mapping, { monotonicMs: () => world.nowMs }, 4 * MiB);
  return { world, resident, residency };
}

describe("the memory of residency checks", () => {
  it("checks once for many small reads of a region, and again a moment later", () => {
    const { world, resident, residency } = stage({ from: 0, to: 4 * MiB });
    for (let at = MiB; at < 2 * MiB; at += 4096) expect(residency.isResident(at, at + 4096)).toBe(true);
    expect(world.looks).toBe(1);
    resident.from = 2 * MiB;
    expect(residency.isResident(MiB, MiB + 1)).toBe(true);
    world.nowMs += 100;
    expect(residency.isResident(MiB, MiB + 1)).toBe(false);
  });

  it("never reports truncated bytes as resident", () => {
    const { world, residency } = stage({ from: 0, to: 4 * MiB });
    expect(residency.isResident(3 * MiB, 3 * MiB + 10)).toBe(true);
    world.lengthBytes = 3 * MiB + 5;
    expect(residency.isResident(3 * MiB, 3 * MiB + 10)).toBe(false);
  });

  it("checks the requested bytes if the region is not completely resident", () => {
    const { residency } = stage({ from: 100, to: 200 });
    expect(residency.isResident(100, 200)).toBe(true);
    expect(residency.isResident(100, 201)).toBe(false);
    expect(residency.isResident(99, 200)).toBe(false);
  });

  it("checks reads across regions directly", () => {
    const { residency, world } = stage({ from: 0, to: 3 * MiB });
    expect(residency.isResident(0, 3 * MiB)).toBe(true);
    expect(residency.isResident(0, 3 * MiB + 1)).toBe(false);
    expect(world.looks).toBe(2);
  });
});
