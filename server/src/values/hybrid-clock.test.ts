import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { HybridClock, timeOf } from "./hybrid-clock.js";

describe("hybrid logical time", () => {
  it("grows with every version, although the wall clock stands still or goes back", () => {
    const clock = new ManualClock();
    const versions = new HybridClock(clock, "a");
    let last = "";
    for (let round = 0; round < 100; round++) {
      if (round % 10 === 9) clock.jumpWall(-5_000);
      if (round % 7 === 0) clock.advance(3);
      const next = versions.next();
      expect(next > last).toBe(true);
      last = next;
    }
  });

  it("makes larger versions than those of other members that it has received", () => {
    const fast = new ManualClock(9_000_000);
    const slow = new ManualClock(1_000_000);
    const [there, here] = [new HybridClock(fast, "z"), new HybridClock(slow, "a")];
    const theirs = there.next();
    expect(here.next() < theirs).toBe(true);
    here.observe(theirs);
    const ours = here.next();
    expect(ours > theirs).toBe(true);
    expect(timeOf(ours)).toBe(9_000_000);
  });

  it("rejects versions that no member makes, and those of a broken clock", () => {
    const versions = new HybridClock(new ManualClock(), "a");
    const future = new HybridClock(new ManualClock(1_000_000 + 25 * 3_600_000), "b").next();
    for (const version of ["", "x", "0000000f424000000", future]) {
      expect(() => versions.observe(version)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
  });
});
