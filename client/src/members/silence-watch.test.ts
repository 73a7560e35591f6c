import { describe, expect, it } from "vitest";
import { ManualClock } from "../testing/manual-clock.js";
import { StallGuard } from "./silence-watch.js";

const settled = () => new Promise((resolve) => setImmediate(resolve));

function setUp() {
  const clock = new ManualClock();
  const seen = { looks: 0, gone: 0 };
  let answer: (there: boolean) => void = () => undefined;
  const lookFor = (): Promise<void> => {
    seen.looks++;
    return new Promise((resolve, reject) => {
      answer = (there) => (there ? resolve() : reject(new Error("gone")));
    });
  };
  const guard = new StallGuard({ clock, afterMs: 100, lookFor }, () => seen.gone++);
  return { clock, seen, guard, answer: (there: boolean) => answer(there) };
}

describe("a stall guard", () => {
  it("looks for nobody while something arrives", () => {
    const { clock, seen, guard } = setUp();
    for (let round = 0; round < 5; round++) {
      guard.progress();
      clock.advance(100);
    }
    expect(seen.looks).toBe(0);
  });

  it("looks again and again for a member that is there but slow", async () => {
    const { clock, seen, answer } = setUp();
    for (let round = 1; round <= 3; round++) {
      clock.advance(100);
      answer(true);
      await settled();
      expect(seen).toEqual({ looks: round, gone: 0 });
    }
  });

  it("says once that the member is gone", async () => {
    const { clock, seen, answer } = setUp();
    clock.advance(100);
    answer(false);
    await settled();
    clock.advance(1_000);
    expect(seen).toEqual({ looks: 1, gone: 1 });
    expect(clock.pending).toBe(0);
  });

  it("says nothing when bytes arrive, or the read ends, while it looks", async () => {
    for (const interrupt of ["progress", "end"] as const) {
      const { clock, seen, guard, answer } = setUp();
      clock.advance(100);
      guard[interrupt]();
      answer(false);
      await settled();
      expect(seen.gone).toBe(0);
      guard.end();
      expect(clock.pending).toBe(0);
    }
  });
});
