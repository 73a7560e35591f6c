import { parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { bytesOf } from "../testing/answer-fixture.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { bucketOf, pageOf, rangeOf, statOf } from "../testing/origin/requests.js";
import { limited } from "./limited.js";
import { type LimitOptions, LimitReached, OriginLimits } from "./origin-limits.js";
import { retrying } from "./retrying.js";

const MiB = 1 << 20;
const ref = parseObjectUrl("s3://bucket/ramp");
const unlimited: LimitOptions = {
  requestsPerSecond: undefined,
  bytesPerSecond: undefined,
  concurrency: undefined,
  maxWaitMs: 10_000,
  maxWaiting: 10_000,
};

/** Retries without delays, with long timeouts. */
const AT_ONCE = {
  attempts: 5,
  baseDelayMs: 0,
  maxDelayMs: 0,
  headTimeoutMs: 60_000,
  withFallback: { attempts: 1, headTimeoutMs: 60_000 },
  idleTimeoutMs: 60_000,
  onRetry: () => {},
};

function setup(options: Partial<LimitOptions>) {
  const objects = new MemoryObjects();
  objects.putRamp(ref.url, 100 * MiB, 0);
  const clock = new ManualClock();
  const memory = new MemoryOrigin(objects, clock, 64 << 10);
  const limits = new OriginLimits({ ...unlimited, ...options }, clock, () => {});
  return { clock, memory, limits, origin: limited(limits)(memory) };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Advances time in steps and runs everything in between; calls `each` with the time after each step. */
async function pass(clock: ManualClock, ms: number, stepMs: number, each: (atMs: number) => void = () => {}): Promise<void> {
  for (let at = stepMs; at <= ms; at += stepMs) {
    clock.advance(stepMs);
    await settle();
    each(at);
  }
}

describe("the limit of requests per second", () => {
  it("is never exceeded by more than the burst in any second, and requests are answered in order", async () => {
    const { clock, memory, limits, origin } = setup({ requestsPerSecond: 50, maxWaitMs: 60_000 });
    const answered: number[] = [];
    const reads = Array.from({ length: 500 }, async (_, at) => {
      (await origin.fetch(rangeOf(ref, { offset: at, length: 1 }))).body.destroy();
      answered.push(at);
    });
    await settle();
    const seen: number[] = [memory.calls.length];
    await pass(clock, 9_500, 50, () => seen.push(memory.calls.length));
    await Promise.all(reads);
    for (let end = 20; end < seen.length; end++) expect(seen[end]! - seen[end - 20]!).toBeLessThanOrEqual(50 + 50);
    expect(seen[0]).toBe(50);
    // 500 - 50 at once, 50 a second: 9 seconds.
    expect(seen[9 * 20]).toBe(500);
    expect(seen[9 * 20 - 2]!).toBeLessThan(500);
    expect(answered).toEqual(Array.from({ length: 500 }, (_, at) => at));
    expect(limits.waiting).toBe(0);
    expect(clock.waits).toBe(0);
  });

  it("applies to listings and bucket questions too", async () => {
    const { clock, memory, limits, origin } = setup({ requestsPerSecond: 1 });
    const bucket = parsePrefixUrl("s3://bucket");
    const list = () => origin.ask(pageOf(bucket, { delimiter: "", maxKeys: 1 }));
    const answers = Promise.all([list(), list(), origin.ask(bucketOf(bucket))]);
    await settle();
    expect(memory.calls.length).toBe(1);
    await pass(clock, 2_000, 500);
    await answers;
    expect(memory.calls.map(({ kind }) => kind)).toEqual(["list", "list", "statBucket"]);
    expect(limits.waiting).toBe(0);
  });

  it("applies to stat and to repeated requests too", async () => {
    const { clock, memory, origin } = setup({ requestsPerSecond: 2 });
    const repeated = retrying(AT_ONCE, clock, () => 0)(origin);
    memory.faults.place({ error: "UNAVAILABLE", times: 3 });
    const stat = repeated.ask(statOf(ref));
    await pass(clock, 100, 10);
    expect(memory.calls.length).toBe(2);
    await pass(clock, 1000, 50);
    await stat;
    expect(memory.calls.length).toBe(4);
    expect(clock.waits).toBe(0);
  });
});

describe("the limit of bytes per second", () => {
  it("is kept on average, whatever the sizes", async () => {
    const { clock, memory, origin } = setup({ bytesPerSecond: 8 * MiB, maxWaitMs: 60_000 });
    const read = async (): Promise<Buffer> => bytesOf(await origin.fetch(rangeOf(ref, { offset: 0, length: 4 * MiB })));
    const reads = Promise.all(Array.from({ length: 25 }, read));
    await settle();
    let most = 0;
    await pass(clock, 12_000, 100, (atMs) => {
      most = Math.max(most, memory.bytesServed - (atMs / 1000) * 8 * MiB);
    });
    await reads;
    expect(most).toBeLessThanOrEqual((8 + 4) * MiB);
    expect(memory.bytesServed).toBe(100 * MiB);
  });

  it("counts the bytes of the answer, not of the request", async () => {
    const { memory, origin } = setup({ bytesPerSecond: MiB });
    for (let round = 0; round < 10; round++) {
      (await origin.fetch(rangeOf(ref, { offset: 100 * MiB - 1, length: 64 * MiB }))).body.destroy();
      memory.faults.place({ error: "NOT_FOUND", times: 1 });
      await expect(origin.fetch(rangeOf(ref, { offset: 0, length: 64 * MiB }))).rejects.toMatchObject({ code: "NOT_FOUND" });
    }
  });
});

describe("the limit of concurrent requests", () => {
  it("counts an answer until it has been read, has failed or was destroyed", async () => {
    const { memory, limits, origin } = setup({ concurrency: 2 });
    const fetch = () => origin.fetch(rangeOf(ref, { offset: 0, length: 100 }));
    const [first, second] = [await fetch(), await fetch()];
    const third = fetch();
    await settle();
    expect(memory.calls.length).toBe(2);
    await bytesOf(first);
    const fourth = fetch();
    await third;
    await settle();
    expect(memory.calls.length).toBe(3);
    memory.faults.place({ error: "UNAVAILABLE", times: 1 });
    second.body.destroy();
    second.body.destroy();
    await expect(fourth).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect((await fetch()).length).toBe(100);
    expect(limits.waiting).toBe(0);
  });
});

describe("a request that waits for the limits", () => {
  it("fails with RESOURCE_EXHAUSTED after the longest wait, and is not repeated", async () => {
    const { clock, memory, origin } = setup({ concurrency: 1, maxWaitMs: 500 });
    const repeated = retrying(AT_ONCE, clock, () => 0)(origin);
    const holder = await repeated.fetch(rangeOf(ref, { offset: 0, length: 100 }));
    const outcome = expect(repeated.fetch(rangeOf(ref, { offset: 0, length: 100 }))).rejects.toBeInstanceOf(LimitReached);
    await pass(clock, 500, 100);
    await outcome;
    expect(memory.calls.length).toBe(1);
    holder.body.destroy();
    expect(clock.waits).toBe(0);
  });

  it("is rejected at once if too many requests wait", async () => {
    const { clock, limits, origin } = setup({ concurrency: 1, maxWaiting: 2 });
    const holder = await origin.ask(statOf(ref)).then(() => origin.fetch(rangeOf(ref, { offset: 0, length: 1 })));
    const waiting = [origin.ask(statOf(ref)), origin.ask(statOf(ref))];
    await expect(origin.ask(statOf(ref))).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(limits.waiting).toBe(2);
    holder.body.destroy();
    await Promise.all(waiting);
    expect(clock.waits).toBe(0);
  });

  it("lets cheaper requests behind it pass at once when it is aborted", async () => {
    const { clock, origin } = setup({ bytesPerSecond: MiB });
    (await origin.fetch(rangeOf(ref, { offset: 0, length: 64 * MiB }))).body.destroy();
    const abort = new AbortController();
    const left = expect(origin.fetch(rangeOf(ref, { offset: 0, length: MiB }, abort.signal))).rejects.toMatchObject({
      code: "CANCELLED",
    });
    const behind = origin.ask(statOf(ref));
    abort.abort();
    await left;
    expect(await behind).toMatchObject({ objectSize: 100 * MiB });
    expect(clock.waits).toBe(0);
  });

  it("ends at once by an abort, and lets the others pass when a permit is free", async () => {
    const { clock, limits, origin } = setup({ concurrency: 1 });
    const holder = await origin.fetch(rangeOf(ref, { offset: 0, length: 1 }));
    const abort = new AbortController();
    const left = expect(origin.ask(statOf(ref, abort.signal))).rejects.toMatchObject({ code: "CANCELLED" });
    const next = origin.ask(statOf(ref));
    abort.abort();
    await left;
    holder.body.destroy();
    expect(await next).toMatchObject({ objectSize: 100 * MiB });
    expect(limits.waiting).toBe(0);
    expect(clock.waits).toBe(0);
  });
});
