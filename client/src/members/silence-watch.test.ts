import { describe, expect, it } from "vitest";
import { ManualClock } from "../testing/manual-clock.js";
import { SilenceWatch } from "./silence-watch.js";

const settled = () => new Promise((resolve) => setImmediate(resolve));

function setUp() {
  const clock = new ManualClock();
  const seen = { probes: 0, gone: 0 };
  let answer: (there: boolean) => void = () => undefined;
  const probe = (): Promise<void> => {
    seen.probes++;
    return new Promise((resolve, reject) => {
      answer = (there) => (there ? resolve() : reject(new Error("gone")));
    });
  };
  const guard = new SilenceWatch({ clock, afterMs: 100, probe }, () => seen.gone++);
  return { clock, seen, guard, answer: (there: boolean) => answer(there) };
}

describe("a silence watch", () => {
  it("probes nobody while something arrives", () => {
    const { clock, seen, guard } = setUp();
    for (let round = 0; round < 5; round++) {
      guard.progress();
      clock.advance(100);
    }
    expect(seen.probes).toBe(0);
  });

  it("probes a member that answers but is slow again and again", async () => {
    const { clock, seen, answer } = setUp();
    for (let round = 1; round <= 3; round++) {
      clock.advance(100);
      answer(true);
      await settled();
      expect(seen).toEqual({ probes: round, gone: 0 });
    }
  });

  it("says once that the member is gone", async () => {
    const { clock, seen, answer } = setUp();
    clock.advance(100);
    answer(false);
    await settled();
    clock.advance(1_000);
    expect(seen).toEqual({ probes: 1, gone: 1 });
    expect(clock.pending).toBe(0);
  });

  it("says nothing when bytes arrive, or the read ends, during a probe", async () => {
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

  it("probes nobody while the receiver has paused the answer", () => {
    const { clock, seen, guard } = setUp();
    guard.pause(true);
    clock.advance(1_000);
    expect(seen.probes).toBe(0);
    guard.pause(false);
    clock.advance(200);
    expect(seen.probes).toBe(1);
    guard.end();
  });
});
