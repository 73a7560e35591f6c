import { describe, expect, it } from "vitest";
import { seededRandom } from "../seeded-random.js";
import { ratioOf } from "./measure.js";

/** Rates around a mean that vary by up to 4 %. */
function rates(mean: number, seed: number): number[] {
  const random = seededRandom(seed);
  return Array.from({ length: 30 }, () => mean * (0.96 + 0.08 * random()));
}

describe("the ratio of paired rates", () => {
  it("is 1, without an interval, when all pairs are equal", () => {
    const same = rates(1_000, 1);
    expect(ratioOf(same, same)).toEqual({ median: 1, low: 1, high: 1 });
  });

  it("has an interval around the median that excludes a loss of 5 % if nothing was lost", () => {
    const { median, low, high } = ratioOf(rates(1_000, 1), rates(1_000, 2));
    expect(low).toBeLessThanOrEqual(median);
    expect(high).toBeGreaterThanOrEqual(median);
    expect(low).toBeGreaterThan(0.95);
  });

  it("has an interval below 1 when a tenth was lost", () => {
    const { low, high } = ratioOf(rates(900, 1), rates(1_000, 2));
    expect(low).toBeGreaterThan(0.85);
    expect(high).toBeLessThan(0.95);
  });
});
