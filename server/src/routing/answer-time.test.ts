import { ManualClock } from "@frontcache/proto/testing";
import { beforeEach, describe, expect, it } from "vitest";
import type { Clock } from "../runtime/clock.js";
import { AnswerTime } from "./answer-time.js";

describe("the time that a member gets for its answer", () => {
  let clock: ManualClock;
  let answerTime: AnswerTime;

  beforeEach(() => {
    clock = new ManualClock();
    answerTime = new AnswerTime(clock, 1_000);
  });

  it("is 10 ms with one that is not busy", () => {
    for (let answer = 0; answer < 100; answer++) answerTime.answered(1);
    expect(answerTime.waitMs).toBe(10);
  });

  it("is longer in proportion if members have more time in general", () => {
    const slow = new AnswerTime(clock, 60_000);
    expect(slow.waitMs).toBe(6_000);
    for (let answer = 0; answer < 100; answer++) slow.answered(1);
    expect(slow.waitMs).toBe(600);
  });

  it("grows to four times what a busy one takes, up to 200 ms, and shrinks again", () => {
    for (let answer = 0; answer < 50; answer++) answerTime.answered(20);
    expect(answerTime.waitMs).toBeCloseTo(80, 0);
    for (let answer = 0; answer < 50; answer++) answerTime.answered(1_000);
    expect(answerTime.waitMs).toBe(200);
    for (let answer = 0; answer < 100; answer++) answerTime.answered(1);
    expect(answerTime.waitMs).toBe(10);
  });

  it("is 100 ms for a member that was never asked, because a connection has to be made first", () => {
    expect(answerTime.waitMs).toBe(100);
    answerTime.late();
    expect(answerTime.waitMs).toBe(20);
  });

  it("doubles with each late answer, and is exhausted for a second after three in a row", () => {
    const waits = [0, 1, 2].map(() => {
      const { waitMs } = answerTime;
      answerTime.late();
      return waitMs;
    });
    expect(waits).toEqual([100, 20, 40]);
    expect(answerTime.isExhausted).toBe(true);
    clock.advance(999);
    expect(answerTime.isExhausted).toBe(true);
    clock.advance(1);
    expect([answerTime.isExhausted, answerTime.waitMs]).toEqual([false, 10]);
  });

  it("starts to count late answers anew after one in time", () => {
    answerTime.late();
    answerTime.late();
    answerTime.answered(1);
    answerTime.late();
    expect([answerTime.isExhausted, answerTime.waitMs]).toEqual([false, 20]);
  });

  it("calls back when the wait is over, and not when it was cancelled", () => {
    let late = 0;
    answerTime.answered(1);
    answerTime.wait(() => late++);
    const cancel = answerTime.wait(() => late++);
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
    new AnswerTime(stalling, 1_000).wait(() => late++);
    for (let tick = 0; tick < 5; tick++) rung.splice(0).forEach((ring) => void ring());
    expect(late).toBe(0);
    rung.splice(0).forEach((ring) => void ring());
    expect(late).toBe(1);
  });
});
