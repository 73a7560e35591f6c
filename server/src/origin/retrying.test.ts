import { type ErrorCode, parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { bytesOf } from "../testing/answer-fixture.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { rampBytes } from "../testing/origin/ramp.js";
import { bucketOf, live, pageOf, rangeOf, statOf } from "../testing/origin/requests.js";
import { RequestBudget } from "./request-budget.js";
import type { Retry } from "./retries.js";
import { retrying } from "./retrying.js";

const KiB = 1 << 10;
const SIZE = 1024 * KiB;
const ref = parseObjectUrl("s3://bucket/ramp");
const whole = { offset: 0, length: SIZE };

function setup() {
  const objects = new MemoryObjects();
  const version = objects.putRamp(ref.url, SIZE, 5);
  const clock = new ManualClock();
  const memory = new MemoryOrigin(objects, clock, 64 * KiB);
  const retries: Retry[] = [];
  const options = {
    attempts: 4,
    baseDelayMs: 100,
    maxDelayMs: 300,
    headTimeoutMs: 2000,
    withFallback: { attempts: 2, headTimeoutMs: 500 },
    idleTimeoutMs: 1000,
    onRetry: (retry: Retry) => retries.push(retry),
  };
  const origin = retrying(options, clock, () => 0.5)(memory);
  return { objects, version, clock, memory, origin, retries };
}

/** Runs everything that does not wait for time. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("a retrying origin", () => {
  it.each<ErrorCode>(["UNAVAILABLE", "RESOURCE_EXHAUSTED"])(
    "repeats requests that fail with %s after growing, bounded, random delays",
    async (error) => {
      const { clock, memory, origin, retries } = setup();
      memory.faults.place({ error, times: 3 });
      const answer = await clock.run(origin.fetch(rangeOf(ref, whole)));
      expect((await bytesOf(answer)).equals(rampBytes(0, SIZE, 5))).toBe(true);
      expect(retries.map(({ delayMs }) => delayMs)).toEqual([50, 100, 150]);
      expect(clock.waits).toBe(0);
      memory.faults.place({ error, times: 3 });
      expect(await clock.run(origin.ask(statOf(ref)))).toMatchObject({ objectSize: SIZE });
      memory.faults.place({ error, times: 3 });
      const bucket = parsePrefixUrl("s3://bucket");
      const listing = await clock.run(origin.ask(pageOf(bucket, { delimiter: "", maxKeys: 10 })));
      expect(listing.objects).toMatchObject([{ key: "ramp", objectSize: SIZE }]);
      memory.faults.place({ error, times: 3 });
      await clock.run(origin.ask(bucketOf(bucket)));
      expect(clock.waits).toBe(0);
    },
  );

  it("makes fewer attempts with a shorter timeout if the caller has a fallback", async () => {
    const { clock, memory, origin } = setup();
    memory.faults.place({ error: "UNAVAILABLE" });
    let beganMs = clock.nowMs();
    await expect(clock.run(origin.ask(statOf(ref, live, true)))).rejects.toThrow("(2 attempts)");
    expect([memory.count("stat"), clock.nowMs() - beganMs]).toEqual([2, 50]);
    memory.faults.clear();
    memory.faults.hold();
    beganMs = clock.nowMs();
    await expect(clock.run(origin.ask(statOf(ref, live, true)))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(clock.nowMs() - beganMs).toBe(500 + 50 + 500);
    expect(clock.waits).toBe(0);
    memory.faults.clear();
  });

  it.each<[ErrorCode, ErrorCode]>([
    ["UNAVAILABLE", "UNAVAILABLE"],
    ["DEADLINE_EXCEEDED", "UNAVAILABLE"],
    ["RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"],
  ])("turns permanent %s into %s after a bounded number of attempts", async (error, code) => {
    const { clock, memory, origin } = setup();
    memory.faults.place({ error });
    await expect(clock.run(origin.fetch(rangeOf(ref, whole)))).rejects.toMatchObject({ code, isOriginTried: true });
    await expect(clock.run(origin.ask(statOf(ref)))).rejects.toMatchObject({ code, isOriginTried: true });
    expect(memory.calls.length).toBe(8);
    expect(clock.waits).toBe(0);
  });

  it.each<ErrorCode>(["NOT_FOUND", "PERMISSION_DENIED", "FAILED_PRECONDITION", "OUT_OF_RANGE", "INTERNAL"])(
    "does not repeat requests that fail with %s",
    async (error) => {
      const { clock, memory, origin } = setup();
      memory.faults.place({ error });
      await expect(origin.fetch(rangeOf(ref, whole))).rejects.toMatchObject({ code: error });
      await expect(origin.ask(statOf(ref))).rejects.toMatchObject({ code: error });
      expect(memory.calls.length).toBe(2);
      expect(clock.waits).toBe(0);
    },
  );

  it("aborts and repeats requests that are not answered in time", async () => {
    const { clock, memory, origin, retries } = setup();
    memory.faults.place({ latencyMs: 60_000, times: 1 });
    await bytesOf(await clock.run(origin.fetch(rangeOf(ref, whole))));
    expect(retries).toMatchObject([{ error: { code: "UNAVAILABLE", message: expect.stringContaining("2000 ms") } }]);
    expect(memory.open).toBe(0);
    expect(clock.waits).toBe(0);
  });
});

describe("the budget of a read", () => {
  it("is shared by concurrent requests, whose repetitions are spread over the time that one request would take", async () => {
    const { clock, memory, origin, retries } = setup();
    memory.faults.place({ error: "UNAVAILABLE" });
    const budget = new RequestBudget(6);
    const requests = [0, 1, 2, 3].map((part) => origin.fetch({ ...rangeOf(ref, { offset: part * KiB, length: KiB }), budget }));
    const outcomes = await clock.run(Promise.allSettled(requests));
    for (const outcome of outcomes) expect(outcome).toMatchObject({ status: "rejected", reason: { isOriginTried: true } });
    expect(memory.calls.length).toBe(6);
    expect(retries.length).toBeGreaterThanOrEqual(2);
    expect(clock.waits).toBe(0);
    clock.advance(2_000);
    expect(memory.calls.length).toBe(6);
  });

  it("is not charged for a request whose body has arrived", async () => {
    const { clock, memory, origin } = setup();
    const budget = new RequestBudget(1);
    for (let part = 0; part < 5; part++) {
      await bytesOf(await clock.run(origin.fetch({ ...rangeOf(ref, { offset: part, length: KiB }), budget })));
    }
    expect(memory.calls.length).toBe(5);
    memory.faults.place({ body: { afterBytes: 1, how: "break" } });
    await expect(clock.run(origin.fetch({ ...rangeOf(ref, whole), budget }).then(bytesOf))).rejects.toThrow("attempts");
    expect(memory.calls.length).toBe(6);
  });

  it("leaves a request alone that nobody needs any more", async () => {
    const { clock, memory, origin } = setup();
    memory.faults.place({ error: "UNAVAILABLE" });
    let isNeeded = true;
    const outcome = clock.run(origin.fetch({ ...rangeOf(ref, whole), isNeeded: () => isNeeded }));
    const failed = expect(outcome).rejects.toMatchObject({ isOriginTried: true });
    isNeeded = false;
    await failed;
    expect(memory.calls.length).toBe(1);
    expect(clock.waits).toBe(0);
  });
});

describe("a resuming body", () => {
  it.each(["break", "stall"] as const)("resumes after its last byte under the same version if it ends by a %s", async (how) => {
    const { clock, memory, origin, version } = setup();
    memory.faults.place({ body: { afterBytes: 100 * KiB + 3, how }, times: 2 });
    const bytes = await clock.run(origin.fetch(rangeOf(ref, { offset: 10, length: 500 * KiB })).then(bytesOf));
    expect(bytes.equals(rampBytes(10, 500 * KiB, 5))).toBe(true);
    expect(memory.calls).toMatchObject([
      { offset: 10, length: 500 * KiB, version: undefined },
      { offset: 100 * KiB + 13, length: 400 * KiB - 3, version },
      { offset: 200 * KiB + 16, length: 300 * KiB - 6, version },
    ]);
    expect(memory.bytesServed).toBe(500 * KiB);
    expect(memory.open).toBe(0);
    expect(clock.waits).toBe(0);
  });

  it("fails with UNAVAILABLE if it ends early again and again without progress", async () => {
    const { clock, memory, origin } = setup();
    memory.faults.place({ body: { afterBytes: KiB, how: "break" } });
    await expect(clock.run(origin.fetch(rangeOf(ref, whole)).then(bytesOf))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(memory.calls.length).toBe(4);
    expect(memory.open).toBe(0);
  });

  it("fails after a bounded number of requests even if each of them makes progress", async () => {
    const { clock, memory, origin } = setup();
    memory.faults.place({ body: { afterBytes: 128 * KiB, how: "break" } });
    await expect(clock.run(origin.fetch(rangeOf(ref, whole)).then(bytesOf))).rejects.toMatchObject({ isOriginTried: true });
    expect(memory.calls.length).toBe(4);
  });

  it("fails with FAILED_PRECONDITION if the object has changed", async () => {
    const { clock, memory, objects, origin } = setup();
    memory.faults.place({ body: { afterBytes: 100 * KiB, how: "break" }, times: 1 });
    const answer = await origin.fetch(rangeOf(ref, whole));
    objects.putRamp(ref.url, SIZE, 6);
    await expect(clock.run(bytesOf(answer))).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    expect(clock.waits).toBe(0);
  });

  it("is not aborted while it arrives slowly but steadily", async () => {
    const { clock, memory, origin } = setup();
    memory.faults.place({ chunkDelayMs: 900 });
    await clock.run(origin.fetch(rangeOf(ref, whole)).then(bytesOf));
    expect(memory.calls.length).toBe(1);
    expect(clock.waits).toBe(0);
  });
});

describe("a request that is not needed any more", () => {
  it("is CANCELLED at once by an abort in the delay between attempts", async () => {
    const { clock, memory, origin } = setup();
    memory.faults.place({ error: "UNAVAILABLE" });
    const abort = new AbortController();
    const outcome = expect(origin.fetch(rangeOf(ref, whole, abort.signal))).rejects.toMatchObject({ code: "CANCELLED" });
    await settle();
    abort.abort();
    await outcome;
    expect(memory.calls.length).toBe(1);
    expect(clock.waits).toBe(0);
  });

  it.each([0, 100 * KiB])("is CANCELLED at once by an abort in a body that stalls at byte %i", async (afterBytes) => {
    const { clock, memory, origin } = setup();
    memory.faults.place({ body: { afterBytes, how: "stall" } });
    const abort = new AbortController();
    const outcome = expect(origin.fetch(rangeOf(ref, whole, abort.signal)).then(bytesOf)).rejects.toMatchObject({
      code: "CANCELLED",
    });
    await settle();
    abort.abort();
    await outcome;
    expect(memory.open).toBe(0);
    expect(clock.waits).toBe(0);
  });

  it("ends by destroy: a stalled body, a body that waits to resume, and one that was never read", async () => {
    for (const how of ["stall", "break"] as const) {
      const { clock, memory, origin } = setup();
      memory.faults.place({ body: { afterBytes: 100 * KiB, how } });
      const answer = await origin.fetch(rangeOf(ref, whole));
      const outcome = expect(bytesOf(answer)).rejects.toMatchObject({ code: "CANCELLED" });
      await settle();
      answer.body.destroy();
      await outcome;
      (await origin.fetch(rangeOf(ref, whole))).body.destroy();
      expect(memory.open).toBe(0);
      expect(clock.waits).toBe(0);
    }
  });
});
