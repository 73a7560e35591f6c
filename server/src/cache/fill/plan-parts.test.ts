import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planParts } from "./plan-parts.js";

const options = { targetSegments: 4, maxSegments: 8 };
const sizes = (missing: number[]): number[] => planParts(missing, options).map((part) => part.count);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe("parts", () => {
  it("are four of four for a whole block of sixteen", () => {
    expect(planParts(upTo(16), options)).toEqual([0, 4, 8, 12].map((first) => ({ first, count: 4 })));
  });

  it("are as few as can be without falling below the target", () => {
    expect([sizes(upTo(1)), sizes(upTo(7)), sizes(upTo(8)), sizes(upTo(9))]).toEqual([[1], [7], [4, 4], [4, 5]]);
  });

  it("never bridge what is there already", () => {
    expect(planParts([0, 1, 3, 9], options)).toEqual([
      { first: 0, count: 2 },
      { first: 3, count: 1 },
      { first: 9, count: 1 },
    ]);
  });

  it("cover what is missing exactly once, in order, within the limits", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(63)),
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 16 }),
        (set, target, max) => {
          const missing = set.sort((a, b) => a - b);
          const parts = planParts(missing, { targetSegments: target, maxSegments: max });
          expect(parts.flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i))).toEqual(missing);
          for (const { count } of parts) expect(count).toBeLessThanOrEqual(Math.max(max, 1));
        },
      ),
    );
  });
});
