import { beforeEach, describe, expect, it } from "vitest";
import type { Clock } from "../runtime/clock.js";
import { ManualClock } from "../testing/manual-clock.js";
import { Patience } from "./patience.js";

describe("the patience with a member", () => {
  let clock: ManualClock;
  let patience: Patience;

  beforeEach(() => {
    clock = new ManualClock();
    patience = new Patience(clock);
  });

  it("is 10 ms with one that is not busy", () => {
    patience.connected(1);
    for (let answer = 0; answer < 100; answer++) patience.answered(1);
    expect(patience.waitMs).toBe(10);
  });

  it("grows to four times what a busy one takes, up to 200 ms, and shrinks again", () => {
    for (let answer = 0; answer < 50; answer++) patience.answered(20);
    expect(patience.waitMs).toBeCloseTo(80, 0);
    for (let answer = 0; answer < 50; answer++) patience.answered(1_000);
    expect(patience.waitMs).toBe(200);
    for (let answer = 0; answer < 100; answer++) patience.answered(1);
    expect(patience.waitMs).toBe(10);
  });

  it("begins with what the connection took", () => {
    patience.connected(60);
    expect(patience.waitMs).toBe(60);
  });

  it("doubles with each late answer, and is exhausted for a second after three in a row", () => {
    const waits = [0, 1, 2].map(() => {
      const { waitMs } = patience;
      patience.late();
      return waitMs;
    });
    expect(waits).toEqual([10, 20, 40]);
    expect(patience.exhausted).toBe(true);
    clock.advance(999);
    expect(patience.exhausted).toBe(true);
    clock.advance(1);
    expect([patience.exhausted, patience.waitMs]).toEqual([false, 10]);
  });

  it("starts to count late answers anew after one in time", () => {
    patience.late();
    patience.late();
    patience.answered(1);
    patience.late();
    expect([patience.exhausted, patience.waitMs]).toEqual([false, 20]);
  });

  it("calls back when the wait is over, and not when it was cancelled", () => {
    let late = 0;
    patience.wait(() => late++);
    const cancel = patience.wait(() => late++);
    clock.advance(9);
    expect(late).toBe(0);
    cancel();
    clock.advance(1);
    expect([late, clock.waits]).toEqual([1, 0]);
  });

  it("does not take a stall of this process for the member's slowness", () => {
    let late = 0;
    const rung: (() => void)[] = [];
    // A clock whose timers ring when the test lets them, however late that is.
    const stalling: Clock = {
      nowMs: () => 0,
      monotonicMs: () => 0,
      after(_, ring) {
        rung.push(ring);
        return () => {};
      },
    };
    new Patience(stalling).wait(() => late++);
    for (let tick = 0; tick < 4; tick++) rung.splice(0).forEach((ring) => void ring());
    expect(late).toBe(0);
    rung.splice(0).forEach((ring) => void ring());
    expect(late).toBe(1);
  });
});
