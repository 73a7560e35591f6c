import { setMaxListeners } from "node:events";
import { CacheError, type ErrorCode, parseObjectUrl } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import {
  bytesOf,
  compose,
  limited,
  ManualClock,
  MemoryObjects,
  MemoryOrigin,
  OriginLimits,
  openOrigins,
  parseOrigins,
  rangeOf,
  readSettings,
  retrying,
} from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { S3Emulator } from "../emulators/s3.js";
import { simulatedCache } from "../versions/simulated-cache.js";
import { ignoredEvents, observedOrigins } from "./open-s3.js";

const REQUESTS_PER_SECOND = 50;
/** Requests saved up in a pause: those of one second. */
const BURST = 50;
const READS = 2_000;
const urlOf = (at: number): string => `s3://bucket/object-${at}`;

/** The largest number of requests in any second. */
function mostInASecond(atMs: readonly number[]): number {
  const sorted = atMs.toSorted((a, b) => a - b);
  let [most, first] = [0, 0];
  for (const [last, ms] of sorted.entries()) {
    while (ms - sorted[first]! >= 1000) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

/** Times of the origin's requests and outcomes of the reads, in simulated time. */
interface Outcome {
  readonly askedAtMs: readonly number[];
  readonly served: number;
  readonly refused: readonly { readonly code: ErrorCode; readonly afterMs: number }[];
}

/** Concurrent cold reads of a member with a limited origin. */
async function readAllCold(maxWaitMs: number): Promise<Outcome> {
  const clock = new ManualClock();
  const objects = new MemoryObjects();
  for (let at = 0; at < READS; at++) objects.putRamp(urlOf(at), 512, at);
  const memory = new MemoryOrigin(objects, clock, 512);
  const askedAtMs: number[] = [];
  memory.faults.place({ latencyMs: 20, when: () => askedAtMs.push(clock.nowMs()) > 0 });
  const options = { requestsPerSecond: REQUESTS_PER_SECOND, bytesPerSecond: undefined, concurrency: undefined };
  const limits = new OriginLimits({ ...options, maxWaitMs, maxWaiting: 10_000 }, clock, () => {});
  const retries = {
    attempts: 6,
    baseDelayMs: 100,
    maxDelayMs: 5_000,
    headTimeoutMs: 60_000,
    idleTimeoutMs: 5_000,
    withFallback: { attempts: 2, headTimeoutMs: 60_000 },
  };
  const origin = compose(
    retrying({ ...retries, onRetry: () => {} }, clock, () => 0.5),
    limited(limits),
  )(memory);
  const { cache, close } = await simulatedCache(origin, clock, { fill: "wanted" });

  const beganMs = clock.nowMs();
  const refused: { code: ErrorCode; afterMs: number }[] = [];
  let served = 0;
  const read = async (at: number): Promise<void> => {
    const signal = new AbortController().signal;
    const range = { blockOffset: 0, start: 0, end: 512, openEnded: false, cachedOnly: false };
    try {
      const opened = await cache.open({ ref: parseObjectUrl(urlOf(at)), version: undefined, ...range, signal });
      for (let slice = await opened.next(); slice !== undefined; slice = await opened.next()) slice.release();
      opened.close();
      served++;
    } catch (error) {
      refused.push({ code: CacheError.from(error).code, afterMs: clock.nowMs() - beganMs });
    }
  };
  await clock.run(Promise.all(Array.from({ length: READS }, (_, at) => read(at))));
  expect(limits.waiting).toBe(0);
  await close();
  return { askedAtMs, served, refused };
}

describe("2,000 concurrent cold reads of an origin with a limit of 50 requests per second", () => {
  it("never exceed the limit by more than the burst in any second, and all succeed if they may wait", async () => {
    const { askedAtMs, served, refused } = await readAllCold(60_000);
    expect([askedAtMs.length, served, refused.length]).toEqual([READS, READS, 0]);
    const most = mostInASecond(askedAtMs);
    console.info(
      `${READS} reads: at most ${most} requests in any second, ${(askedAtMs.at(-1)! - askedAtMs[0]!) / 1000} s in all`,
    );
    expect(most).toBeLessThanOrEqual(REQUESTS_PER_SECOND + BURST);
    // The burst passes immediately, then 50 per second.
    expect(askedAtMs.at(-1)! - askedAtMs[0]!).toBeCloseTo(((READS - BURST) / REQUESTS_PER_SECOND) * 1000, -2);
  });

  it("fail with RESOURCE_EXHAUSTED, without a request, if they wait longer than allowed", async () => {
    const { askedAtMs, served, refused } = await readAllCold(5_000);
    const [shortest, longest] = [
      Math.min(...refused.map((read) => read.afterMs)),
      Math.max(...refused.map((read) => read.afterMs)),
    ];
    console.info(`${served} served, ${refused.length} refused after ${shortest} to ${longest} ms`);
    expect(served + refused.length).toBe(READS);
    expect(served).toBe(askedAtMs.length);
    expect(served).toBeGreaterThanOrEqual(BURST + 5 * REQUESTS_PER_SECOND - 1);
    expect(served).toBeLessThanOrEqual(BURST + 5 * REQUESTS_PER_SECOND + 1);
    expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(["RESOURCE_EXHAUSTED"]));
    expect([shortest, longest]).toEqual([5_000, 5_000]);
    expect(mostInASecond(askedAtMs)).toBeLessThanOrEqual(REQUESTS_PER_SECOND + BURST);
  });
});

describe("the limits of an origin in real time", () => {
  let store: S3Emulator;

  beforeEach(async () => {
    store = await S3Emulator.start();
  });

  afterEach(() => store.close());

  const open = (limits: string) => {
    const rule = `{ buckets: s3://*, endpoint: "${store.endpoint}", pathStyle: true, credentials: anonymous, limits: ${limits} }`;
    const settings = { ...readSettings({}, {}), origins: parseOrigins(`origins: [${rule}]`, "origins.yaml") };
    return openOrigins(settings, {}, ignoredEvents, observedOrigins());
  };
  const live = new AbortController().signal;
  setMaxListeners(0, live); // shared by all reads

  it("bound the requests per second, and reject a request that would wait too long", async () => {
    store.putRamp("bucket", "ramp", 20);
    const origin = open("{ requestsPerSecond: 1, maxWait: 1ms }");
    const beganMs = performance.now();
    const reads = Array.from({ length: 20 }, (_, offset) =>
      origin.fetch(rangeOf(parseObjectUrl("s3://bucket/ramp"), { offset, length: 1 })).then(bytesOf),
    );
    const outcomes = await Promise.allSettled(reads);
    const rejected = outcomes.filter((outcome) => outcome.status === "rejected");
    for (const { reason } of rejected) expect(reason).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(store.traffic.gets.length).toBe(20 - rejected.length);
    // One second's requests may pass, and those that become due until the last one is sent.
    const mayPass = 1 + Math.ceil((performance.now() - beganMs) / 1_000);
    expect(store.traffic.gets.length).toBeLessThanOrEqual(mayPass);
    origin.close();
  });

  it("bound the concurrent answers, and reject a request that waits too long", async () => {
    store.putRamp("bucket", "ramp", 8 << 20);
    const origin = open("{ concurrency: 3, maxWait: 200ms }");
    const fetch = () => origin.fetch(rangeOf(parseObjectUrl("s3://bucket/ramp"), { offset: 0, length: 8 << 20 }));
    const responses = [await fetch(), await fetch(), await fetch()];
    await expect(fetch()).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    responses[1]!.body.destroy();
    // The store counts a request until it has noticed the end of its connection.
    await eventually(() => expect(store.traffic.open).toBe(2));
    expect((await bytesOf(await fetch())).length).toBe(8 << 20);
    expect(store.traffic.peakOpen).toBe(3);
    for (const answer of responses) answer.body.destroy();
    origin.close();
  });
});
