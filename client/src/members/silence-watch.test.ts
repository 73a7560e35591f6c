import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { afterTicks, SilenceWatch } from "./silence-watch.js";

const SILENT_MS = 500;
const TICK_MS = SILENT_MS / 5;

/** A few turns of the event loop: whatever waits for no timer is done. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

function setUp(probesEarly = false) {
  const clock = new ManualClock(0);
  const seen = { probes: 0, silent: 0 };
  let answer: (isThere: boolean) => void = () => undefined;
  const probe = (): Promise<void> => {
    seen.probes++;
    return new Promise((resolve, reject) => {
      answer = (isThere) => (isThere ? resolve() : reject(new Error("no answer")));
    });
  };
  const watch = new SilenceWatch({ clock, silentMs: SILENT_MS, probesEarly, probe });
  // Something has just arrived from the member.
  const earlier = { onSilent: () => undefined };
  watch.add(earlier);
  watch.heard();
  clock.advance(TICK_MS);
  watch.remove(earlier);
  const call = { onSilent: (): void => void seen.silent++ };
  return { clock, seen, watch, call, answer: (isThere: boolean) => answer(isThere) };
}

describe("a silence watch", () => {
  it("sends no probe while bytes arrive", () => {
    const { clock, seen, watch, call } = setUp();
    watch.add(call);
    for (let round = 0; round < 20; round++) {
      clock.advance(SILENT_MS / 2);
      watch.heard();
    }
    expect(seen.probes).toBe(0);
  });

  it("repeatedly probes a member that answers probes but sends no bytes", async () => {
    const { clock, seen, watch, call, answer } = setUp();
    watch.add(call);
    for (let round = 1; round <= 3; round++) {
      clock.advance(SILENT_MS);
      expect(seen).toEqual({ probes: round, silent: 0 });
      answer(true);
      await settled();
    }
  });

  it("ends all waiting calls, each once, if the probe is not answered", async () => {
    const { clock, seen, watch, call, answer } = setUp();
    watch.add(call);
    clock.advance(SILENT_MS);
    watch.add({ onSilent: call.onSilent });
    answer(false);
    await settled();
    clock.advance(10 * SILENT_MS);
    expect(seen).toEqual({ probes: 1, silent: 2 });
    expect(clock.waits).toBe(0);
  });

  it("ends no call if bytes arrive, or the call ends, during the probe", async () => {
    for (const interrupt of ["bytes", "end"] as const) {
      const { clock, seen, watch, call, answer } = setUp();
      watch.add(call);
      clock.advance(SILENT_MS);
      if (interrupt === "bytes") watch.heard();
      else watch.remove(call);
      clock.advance(SILENT_MS);
      answer(false);
      await settled();
      expect(seen).toEqual({ probes: 1, silent: 0 });
    }
  });

  it("counts bytes of one call as a sign of life for all calls", () => {
    const { clock, seen, watch, call } = setUp();
    watch.add(call);
    for (let round = 0; round < 10; round++) {
      const other = { onSilent: call.onSilent };
      watch.add(other);
      clock.advance(SILENT_MS / 2);
      watch.heard();
      watch.remove(other);
    }
    expect(seen.probes).toBe(0);
  });

  it("sends no probe, and keeps no timer, while no call waits", () => {
    const { clock, seen, watch, call } = setUp();
    watch.add(call);
    watch.remove(call);
    clock.advance(10 * SILENT_MS);
    expect([seen.probes, clock.waits]).toEqual([0, 0]);
    watch.add(call);
    clock.advance(SILENT_MS);
    expect(seen.probes).toBe(1);
  });

  it("does not count time in which this process did not run", () => {
    const { clock, seen, watch, call } = setUp();
    watch.add(call);
    for (let round = 0; round < 5; round++) clock.stall(SILENT_MS);
    expect(seen.probes).toBe(0);
    clock.advance(SILENT_MS);
    expect(seen.probes).toBe(1);
  });
});

describe("a wait for a probe's answer", () => {
  /** Probes whose answer is read as soon as this process runs, after the timers of that turn of the event loop. */
  function probe(clock: ManualClock) {
    const probe = { outcome: "waiting" as "waiting" | "answered" | "timed out" };
    const cancel = afterTicks(clock, SILENT_MS, () => {
      probe.outcome = "timed out";
    });
    const read = (): void => {
      cancel();
      if (probe.outcome === "waiting") probe.outcome = "answered";
    };
    return { probe, read };
  }

  it("lasts exactly the given time if this process runs continuously", () => {
    const clock = new ManualClock(0);
    const { probe: waiting } = probe(clock);
    clock.advance(SILENT_MS - 1);
    expect(waiting.outcome).toBe("waiting");
    clock.advance(1);
    expect(waiting.outcome).toBe("timed out");
  });

  it("does not consider a live member frozen on an overloaded machine, whose timers fire late while the answer is unread", () => {
    for (const [before, standstillMs] of [0, 100, 250, 400, 499].flatMap((ms) => [200, 500, 2_000, 10_000].map((s) => [ms, s]))) {
      const clock = new ManualClock(0);
      const { probe: waiting, read } = probe(clock);
      clock.advance(before!);
      clock.stall(standstillMs!);
      read();
      expect([before, standstillMs, waiting.outcome]).toEqual([before, standstillMs, "answered"]);
    }
  });

  it("reads what arrived before it ends, because timers run before sockets are read", () => {
    const clock = new ManualClock(0);
    const { probe: waiting, read } = probe(clock);
    clock.advance(SILENT_MS - 3);
    // The answer has arrived, but this process did not run for a moment that is too short to count as a standstill.
    clock.stall(19);
    expect(waiting.outcome).toBe("waiting");
    read();
    expect(waiting.outcome).toBe("answered");
  });

  it("ends even if all ticks of this process are late", () => {
    const clock = new ManualClock(0);
    const { probe: waiting } = probe(clock);
    let stalls = 0;
    while (waiting.outcome === "waiting" && stalls < 100) {
      clock.stall(SILENT_MS);
      stalls++;
    }
    expect([waiting.outcome, stalls]).toEqual(["timed out", 16]);
  });
});
