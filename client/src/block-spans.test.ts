import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blockSpans } from "./read-block.js";

const geometry = { blockBytes: 8, segmentBytes: 4 };

describe("the spans of a range", () => {
  it("cover any range without gap or overlap, each inside one block", () => {
    fc.assert(
      fc.property(fc.nat(100), fc.integer({ min: 1, max: 100 }), (offset, length) => {
        let at = offset;
        for (const part of blockSpans(offset, length, geometry)) {
          expect(part.offset).toBe(at);
          expect(part.length).toBeGreaterThan(0);
          expect(part.blockOffset % 8).toBe(0);
          expect(part.offset).toBeGreaterThanOrEqual(part.blockOffset);
          expect(part.offset + part.length).toBeLessThanOrEqual(part.blockOffset + 8);
          at += part.length;
        }
        expect(at).toBe(offset + length);
      }),
    );
  });

  it("are computed lazily, for ranges of any length", () => {
    const parts = blockSpans(3, Number.MAX_SAFE_INTEGER - 3, geometry);
    expect(parts.next().value).toEqual({ blockOffset: 0, offset: 3, length: 5 });
    expect(parts.next().value).toEqual({ blockOffset: 8, offset: 8, length: 8 });
  });
});
