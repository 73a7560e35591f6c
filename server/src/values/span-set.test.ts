import { describe, expect, it } from "vitest";
import { SpanSet } from "./span-set.js";

describe("a set of byte ranges", () => {
  it("joins ranges that overlap or touch, as an array of flags does", () => {
    const size = 60;
    let random = 7;
    const below = (bound: number): number => {
      random = (random * 1_103_515_245 + 12_345) % 2 ** 31;
      return random % bound;
    };
    for (let round = 0; round < 50; round++) {
      const spans = new SpanSet();
      const flags = new Array<boolean>(size).fill(false);
      for (let step = 0; step < 8; step++) {
        const start = below(size);
        const end = Math.min(size, start + below(15));
        spans.add(start, end);
        flags.fill(true, start, end);
        expect(spans.bytes).toBe(flags.filter(Boolean).length);
        const covered = new Array<boolean>(size).fill(false);
        for (const span of spans.present()) covered.fill(true, span.start, span.end);
        expect(covered).toEqual(flags);
        const missing = new Array<boolean>(size).fill(true);
        for (const span of spans.missing(size)) missing.fill(false, span.start, span.end);
        expect(missing).toEqual(flags);
        const [from, to] = [below(size), below(size)];
        expect(spans.has(from, to)).toBe(flags.slice(from, Math.max(from, to)).every(Boolean));
      }
    }
  });

  it("removes ranges, also parts of others", () => {
    const spans = new SpanSet();
    spans.add(0, 10);
    spans.add(20, 30);
    spans.add(40, 50);
    spans.remove(5, 25);
    spans.remove(42, 45);
    spans.remove(60, 70);
    expect(spans.present()).toEqual([
      { start: 0, end: 5 },
      { start: 25, end: 30 },
      { start: 40, end: 42 },
      { start: 45, end: 50 },
    ]);
    expect(spans.bytes).toBe(17);
  });
});
