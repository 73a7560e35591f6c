import { getEventListeners, getMaxListeners } from "node:events";
import { CacheError } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { RunningCall } from "./running-call.js";

const subject = "s3://bucket/file";

describe("a running call", () => {
  it("ends with its deadline", () => {
    const clock = new ManualClock(0);
    const call = new RunningCall({ clock, subject, deadlineMs: 100 });
    clock.advance(60);
    expect(call.remainingMs()).toBe(40);
    clock.advance(40);
    expect(call.signal.reason).toMatchObject({ code: "DEADLINE_EXCEEDED", message: `${subject}: not done within 100 ms` });
    expect(call.remainingMs()).toBe(0);
  });

  it("ends as CANCELLED for any reason of the caller's signal, and as DEADLINE_EXCEEDED for a timeout", () => {
    const clock = new ManualClock(0);
    for (const reason of [undefined, new Error("own"), "text"]) {
      const caller = new AbortController();
      const call = new RunningCall({ clock, subject, signal: caller.signal });
      caller.abort(reason);
      expect(call.signal.reason).toMatchObject({ code: "CANCELLED" });
    }
    const timedOut = AbortSignal.abort(new DOMException("late", "TimeoutError"));
    expect(new RunningCall({ clock, subject, signal: timedOut }).signal.reason).toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  it("names its error as the platform does, with the signal's reason as the cause", () => {
    const clock = new ManualClock(0);
    const [own, late] = [new Error("own"), new DOMException("late", "TimeoutError")];
    expect(new RunningCall({ clock, subject, signal: AbortSignal.abort(own) }).ended).toMatchObject({
      name: "AbortError",
      cause: own,
    });
    expect(new RunningCall({ clock, subject, signal: AbortSignal.abort(late) }).ended).toMatchObject({
      name: "TimeoutError",
      cause: late,
    });
  });

  it("leaves no timer and no listener after any kind of end", () => {
    const clock = new ManualClock(0);
    const caller = new AbortController();
    const done = new RunningCall({ clock, subject, deadlineMs: 100, signal: caller.signal });
    done.end();
    const aborted = new RunningCall({ clock, subject, deadlineMs: 100, signal: caller.signal });
    aborted.abort(new CacheError("CANCELLED", "enough"));
    expect(clock.waits).toBe(0);
    expect(getEventListeners(caller.signal, "abort")).toEqual([]);
  });

  it("shares one listener with all other calls of the same signal, and changes nothing else at it", () => {
    const clock = new ManualClock(0);
    const { signal } = new AbortController();
    const before = getMaxListeners(signal);
    const calls = Array.from({ length: 100 }, () => new RunningCall({ clock, subject, signal }));
    expect([getEventListeners(signal, "abort").length, getMaxListeners(signal)]).toEqual([1, before]);
    for (const call of calls.slice(1)) call.end();
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    calls[0]!.end();
    calls[0]!.end();
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  it("ends with all other running calls of the same signal, once each", () => {
    const clock = new ManualClock(0);
    const caller = new AbortController();
    const calls = Array.from({ length: 4 }, () => new RunningCall({ clock, subject, signal: caller.signal }));
    calls[0]!.end();
    calls[1]!.onEnd(() => calls[2]!.abort(new CacheError("CANCELLED", "of the second")));
    caller.abort();
    expect(calls.map(({ ended }) => ended?.message)).toEqual([
      undefined,
      `${subject}: cancelled by the caller`,
      "of the second",
      `${subject}: cancelled by the caller`,
    ]);
    expect(getEventListeners(caller.signal, "abort")).toEqual([]);
  });

  it("ends its children, which never outlast its deadline", () => {
    const clock = new ManualClock(0);
    const call = new RunningCall({ clock, subject, deadlineMs: 100 });
    const [plain, shorter, longer] = [call.child(), call.child(40), call.child(400)];
    expect([plain, shorter, longer].map((child) => child.remainingMs())).toEqual([100, 40, 100]);
    clock.advance(40);
    expect(shorter.signal.aborted).toBe(true);
    expect(call.signal.aborted).toBe(false);
    clock.advance(60);
    expect(plain.signal.reason).toBe(call.signal.reason);
    expect(longer.signal.aborted).toBe(true);
  });
});
