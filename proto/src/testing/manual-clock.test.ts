import { describe, expect, it } from "vitest";
import { ManualClock } from "./manual-clock.js";

/** The two ways in which time passes: each timer fires at its own time, or all late. */
const WAYS = ["advance", "stall"] as const;

function setup() {
  const clock = new ManualClock(0);
  const fired: string[] = [];
  const start = (name: string, delayMs: number): (() => void) => clock.after(delayMs, () => fired.push(name));
  return { clock, fired, start };
}

describe.each(WAYS)("the timers of a ManualClock, by %s,", (way) => {
  it("fire in the order in which they were started if they are due at the same time", () => {
    const { clock, fired, start } = setup();
    // More than a few, so that the search among the pending ones has several steps.
    const names = Array.from({ length: 20 }, (_, at) => `${at}`);
    for (const name of names) start(name, 10);
    clock[way](10);
    expect(fired).toEqual(names);
  });

  it("fire in that order also if they were started at different times", () => {
    const { clock, fired, start } = setup();
    start("first", 10);
    clock.advance(4);
    start("second", 6);
    clock.advance(5);
    start("third", 1);
    clock[way](1);
    expect(fired).toEqual(["first", "second", "third"]);
  });

  it("fire by the times at which they are due before the order of their start counts", () => {
    const { clock, fired, start } = setup();
    for (const [name, delayMs] of [
      ["c1", 30],
      ["a1", 10],
      ["b1", 20],
      ["a2", 10],
      ["c2", 30],
      ["b2", 20],
    ] as const) {
      start(name, delayMs);
    }
    clock[way](30);
    expect(fired).toEqual(["a1", "a2", "b1", "b2", "c1", "c2"]);
  });

  it("do not fire once they are cancelled, and the others keep their order", () => {
    const { clock, fired, start } = setup();
    const cancels = ["1", "2", "3", "4", "5"].map((name) => start(name, 10));
    cancels[2]!();
    cancels[2]!();
    clock[way](10);
    expect([fired, clock.waits]).toEqual([["1", "2", "4", "5"], 0]);
  });

  it("do not fire if one that is due at the same time cancels them", () => {
    const { clock, fired, start } = setup();
    let cancel = (): void => {};
    clock.after(10, () => cancel());
    start("kept", 10);
    cancel = start("cancelled", 10);
    clock[way](10);
    expect(fired).toEqual(["kept"]);
  });
});

describe("a timer that another one starts", () => {
  it("fires behind those that are due at the same time, while time advances", () => {
    const { clock, fired, start } = setup();
    clock.after(10, () => {
      start("started late", 0);
    });
    start("pending", 10);
    clock.advance(10);
    expect(fired).toEqual(["pending", "started late"]);
  });

  it("does not fire in the stall during which it was started", () => {
    const { clock, fired, start } = setup();
    clock.after(10, () => {
      start("started late", 0);
    });
    clock.stall(10);
    expect([fired, clock.waits]).toEqual([[], 1]);
    clock.advance(0);
    expect(fired).toEqual(["started late"]);
  });
});
