import { parseObjectUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { bytesOf } from "../testing/answer-fixture.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { rangeOf, statOf } from "../testing/origin/requests.js";
import { type Hedge, type HedgeOptions, hedged } from "./hedged.js";
import { limited } from "./limited.js";
import type { OriginAnswer } from "./origin.js";
import { OriginLimits } from "./origin-limits.js";

const KiB = 1 << 10;
const ref = parseObjectUrl("s3://bucket/ramp");
const noLimits: HedgeOptions["acquireExtra"] = () => ({ release() {} });

function setup(options: Partial<HedgeOptions> = {}) {
  const objects = new MemoryObjects();
  objects.putRamp(ref.url, 1 << 20, 0);
  const clock = new ManualClock();
  const memory = new MemoryOrigin(objects, clock, KiB);
  const hedges: Hedge[] = [];
  const complete = { share: 0.05, minDelayMs: 5, acquireExtra: noLimits, onHedge: (hedge: Hedge) => void hedges.push(hedge) };
  return { clock, memory, hedges, origin: hedged({ ...complete, ...options }, clock)(memory) };
}

type World = ReturnType<typeof setup>;

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function pass(clock: ManualClock, ms: number): Promise<void> {
  await settle();
  for (let at = 0; at < ms; at++) {
    clock.advance(1);
    await settle();
  }
}

/** Answers requests in 20 ms each: then the origin's usual time is known, and extra requests are allowed. */
async function usual({ clock, memory, origin }: World, answers = 40): Promise<void> {
  const remove = memory.faults.place({ latencyMs: 20 });
  const all = Array.from({ length: answers }, () => origin.fetch(rangeOf(ref, { offset: 0, length: 1 })));
  await pass(clock, 20);
  for (const answer of await Promise.all(all)) answer.body.destroy();
  remove();
  memory.calls.length = 0;
}

function read(world: World, signal = new AbortController().signal): Promise<OriginAnswer> {
  return world.origin.fetch(rangeOf(ref, { offset: 100, length: 10 * KiB }, signal));
}

describe("a late request", () => {
  it("is sent again after the 95th percentile; the first answer is used, the other request is aborted", async () => {
    const world = setup();
    await usual(world);
    world.memory.faults.place({ latencyMs: 1000, times: 1 });
    const answer = read(world);
    await pass(world.clock, 19);
    expect(world.memory.calls.length).toBe(1);
    await pass(world.clock, 1);
    expect(world.memory.calls).toEqual([world.memory.calls[0], world.memory.calls[0]]);
    const winner = await answer;
    expect(world.memory.open).toBe(1);
    expect(await bytesOf(winner)).toHaveLength(winner.length);
    expect(world.hedges).toEqual([{ url: ref.url, afterMs: 20, won: true }]);
    expect([world.memory.open, world.clock.waits]).toEqual([0, 0]);
  });

  it("wins if it is answered first, and the extra request is aborted", async () => {
    const world = setup();
    await usual(world);
    world.memory.faults.place({ latencyMs: 25, times: 1 });
    world.memory.faults.place({ latencyMs: 500, when: () => world.memory.calls.length === 2 });
    const answer = read(world);
    await pass(world.clock, 25);
    (await answer).body.destroy();
    expect(world.hedges).toEqual([{ url: ref.url, afterMs: 20, won: false }]);
    expect([world.memory.open, world.clock.waits]).toEqual([0, 0]);
  });

  it("is not sent again before twenty answers are known", async () => {
    const world = setup();
    await usual(world, 19);
    world.memory.faults.place({ latencyMs: 1000, times: 1 });
    const answer = read(world);
    await pass(world.clock, 1000);
    (await answer).body.destroy();
    expect(world.memory.calls.length).toBe(1);
  });

  it("may be a stat", async () => {
    const world = setup();
    for (let i = 0; i < 40; i++) await world.origin.ask(statOf(ref));
    world.memory.faults.place({ latencyMs: 1000, times: 1 });
    const info = world.origin.ask(statOf(ref));
    await pass(world.clock, 5);
    expect(await info).toMatchObject({ objectSize: 1 << 20 });
    expect([world.memory.open, world.clock.waits, world.hedges.length]).toEqual([0, 0, 1]);
  });

  it("ends at once, together with the extra request, when it is aborted", async () => {
    const world = setup();
    await usual(world);
    world.memory.faults.place({ latencyMs: 1000 });
    const abort = new AbortController();
    const outcome = expect(read(world, abort.signal)).rejects.toMatchObject({ code: "CANCELLED" });
    await pass(world.clock, 30);
    expect(world.memory.open).toBe(2);
    abort.abort();
    await outcome;
    await settle();
    expect([world.memory.open, world.clock.waits]).toEqual([0, 0]);
  });

  it("continues if one of the two fails transiently, and fails if both do", async () => {
    const world = setup();
    await usual(world);
    world.memory.faults.place({ latencyMs: 30, error: "UNAVAILABLE", times: 1 });
    world.memory.faults.place({ latencyMs: 50, when: () => world.memory.calls.length === 2 });
    const answer = read(world);
    await pass(world.clock, 80);
    (await answer).body.destroy();
    world.memory.faults.clear();
    world.memory.faults.place({ latencyMs: 30, error: "UNAVAILABLE" });
    const outcome = expect(read(world)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await pass(world.clock, 80);
    await outcome;
    expect([world.memory.open, world.clock.waits]).toEqual([0, 0]);
  });

  it("ends with the first permanent error", async () => {
    const world = setup();
    await usual(world);
    world.memory.faults.place({ latencyMs: 1000, times: 1 });
    world.memory.faults.place({ error: "NOT_FOUND", when: () => world.memory.calls.length === 2 });
    const outcome = expect(read(world)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await pass(world.clock, 20);
    await outcome;
    expect([world.memory.open, world.clock.waits]).toEqual([0, 0]);
  });

  it("fails at once if it fails before it is late", async () => {
    const world = setup();
    await usual(world);
    world.memory.faults.place({ error: "UNAVAILABLE", times: 1 });
    await expect(read(world)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect([world.memory.calls.length, world.clock.waits]).toEqual([1, 0]);
  });
});

describe("extra requests", () => {
  it("are at most a twentieth of all requests, however slow the origin becomes", async () => {
    const world = setup();
    let sent = 0;
    const remove = world.memory.faults.place({ latencyMs: 20 });
    for (let round = 0; round < 200; round++) {
      if (round === 50) {
        remove();
        world.memory.faults.place({ latencyMs: 300 });
      }
      const answers = Array.from({ length: 10 }, () => read(world));
      sent += 10;
      await pass(world.clock, 20 + ((round * 97) % 300));
      for (const answer of answers) void answer.then((each) => each.body.destroy());
    }
    await pass(world.clock, 1000);
    expect(world.memory.calls.length - sent).toBe(world.hedges.length);
    expect(world.hedges.length).toBeGreaterThan(10);
    expect(world.hedges.length).toBeLessThanOrEqual(0.05 * sent);
  });

  it("are not sent for a while if the origin throttles", async () => {
    const world = setup();
    await usual(world);
    world.memory.faults.place({ error: "RESOURCE_EXHAUSTED", times: 1 });
    await expect(read(world)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    world.memory.faults.place({ latencyMs: 1000, times: 1 });
    const answer = read(world);
    await pass(world.clock, 1000);
    (await answer).body.destroy();
    expect(world.hedges).toEqual([]);
  });

  it("do not wait for the limits: none is sent when the limits are reached, and each one counts as a request", async () => {
    let limits: OriginLimits | undefined;
    const world = setup({ acquireExtra: () => limits?.tryAcquire() });
    await usual(world);
    const rates = { requestsPerSecond: 3, bytesPerSecond: undefined, concurrency: 3, maxWaitMs: 5_000, maxWaiting: 100 };
    limits = new OriginLimits(rates, world.clock, () => {});
    const origin = limited(limits)(world.origin);
    const slow = () => origin.fetch(rangeOf(ref, { offset: 0, length: 1 }));
    world.memory.faults.place({ latencyMs: 100 });
    // Two of them and one extra request are all that the limits allow at first.
    const answers = [slow(), slow()];
    await pass(world.clock, 30);
    expect([world.memory.calls.length, limits.tryAcquire()]).toEqual([3, undefined]);
    await pass(world.clock, 100);
    for (const answer of await Promise.all(answers)) answer.body.destroy();
    expect(world.hedges.length).toBe(1);
    await pass(world.clock, 1_000);
    expect([limits.tryAcquire(), limits.tryAcquire(), limits.tryAcquire()].filter((permit) => permit !== undefined).length).toBe(
      3,
    );
  });
});
