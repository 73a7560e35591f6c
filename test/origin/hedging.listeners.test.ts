import { parseObjectUrl } from "@frontcache/proto";
import { bytesOf, hedged as hedgedBy, ManualClock, MemoryObjects, MemoryOrigin, rangeOf } from "@frontcache/server/testing";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../seeded-random.js";

/** Bytes of each read. The simulated time of a read does not depend on them. */
const READ_BYTES = 4 << 10;
const READERS = 16;
const READS = 250;
const ref = parseObjectUrl("s3://bucket/ramp");

interface Outcome {
  /** Durations of cold reads, until their last byte, in milliseconds. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly requests: number;
}

/** 4,000 reads, 16 concurrent, of an origin with a median of 20 ms; 2 % of its answers take a second. */
async function readCold(hedged: boolean, seed: number): Promise<Outcome> {
  const random = seededRandom(seed);
  const objects = new MemoryObjects();
  objects.putRamp(ref.url, READ_BYTES, 0);
  const clock = new ManualClock();
  const memory = new MemoryOrigin(objects, clock, READ_BYTES);
  memory.faults.place({
    get latencyMs() {
      return random() < 0.02 ? 1000 : 15 + random() * 10;
    },
  });
  const options = { share: 0.05, minDelayMs: 5, acquireExtra: () => ({ release() {} }), onHedge: () => {} };
  const origin = hedged ? hedgedBy(options, clock)(memory) : memory;
  const times: number[] = [];
  const reader = async (): Promise<void> => {
    for (let i = 0; i < READS; i++) {
      const beganMs = clock.monotonicMs();
      await bytesOf(await origin.fetch(rangeOf(ref, { offset: 0, length: READ_BYTES })));
      times.push(clock.monotonicMs() - beganMs);
    }
  };
  await clock.run(Promise.all(Array.from({ length: READERS }, reader)));
  expect([memory.open, clock.waits]).toEqual([0, 0]);
  times.sort((a, b) => a - b);
  return { p50Ms: times[times.length / 2]!, p99Ms: times[Math.floor(times.length * 0.99)]!, requests: memory.calls.length };
}

describe("hedging of an origin with a median of 20 ms and 2 % of responses that take a second", () => {
  it.each([1, 2, 3])("reduces the 99th percentile to at most 0.35 with at most 5 % more requests (seed %i)", async (seed) => {
    const [plain, hedged] = [await readCold(false, seed), await readCold(true, seed)];
    console.info(
      `p50 ${plain.p50Ms.toFixed(0)} -> ${hedged.p50Ms.toFixed(0)} ms, p99 ${plain.p99Ms.toFixed(0)} -> ${hedged.p99Ms.toFixed(0)} ms, ` +
        `requests ${plain.requests} -> ${hedged.requests}`,
    );
    expect(plain.p99Ms).toBeGreaterThanOrEqual(1000);
    expect(hedged.p99Ms).toBeLessThanOrEqual(0.35 * plain.p99Ms);
    expect(hedged.requests).toBeLessThanOrEqual(1.05 * plain.requests);
  });
});
