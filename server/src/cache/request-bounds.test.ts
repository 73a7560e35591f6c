import { CacheError, parseObjectUrl } from "@frontcache/proto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OriginAvailability } from "../origin/availability.js";
import { MAX_REQUESTS, requestBudget } from "../origin/request-budget.js";
import { retrying } from "../origin/retrying.js";
import { openCache, restOf } from "../testing/cache-fixture.js";
import type { MemoryFault } from "../testing/origin/memory-faults.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { openStore, testGeometry } from "../testing/store-fixture.js";
import type { FillMode } from "./block-opener.js";
import type { BlockRequest } from "./block-request.js";

const { blockBytes: BLOCK, segmentBytes: SEGMENT } = testGeometry;
const ref = parseObjectUrl("s3://bucket/key");

/** As a member sets them, but for the times. */
const RETRIES = {
  attempts: 6,
  baseDelayMs: 100,
  maxDelayMs: 5_000,
  headTimeoutMs: 10_000,
  idleTimeoutMs: 5_000,
  withFallback: { attempts: 2, headTimeoutMs: 3_000 },
  onRetry() {},
};

async function setUp(fill: FillMode = "auto", random: () => number = () => 0.5) {
  const stored = await openStore();
  const { clock } = stored;
  const objects = new MemoryObjects();
  const origin = new MemoryOrigin(objects, clock, 1000);
  const version = objects.putRamp(ref.url, 2 * BLOCK, 7);
  // As a member composes them: the probes of an unavailable origin count, too.
  const { guarded, observed } = new OriginAvailability({ clock, onChange() {} }).wrappersOf("s3");
  const cache = openCache(stored, retrying(RETRIES, clock, random)(guarded(observed(origin))), { fill, revalidateAfterMs: 0 });
  const read = async (requested: Partial<BlockRequest> = {}): Promise<Buffer> => {
    const signal = new AbortController().signal;
    const whole = { blockOffset: 0, start: 0, end: BLOCK, openEnded: false, cachedOnly: false };
    const opened = await cache.open({ ref, version: undefined, signal, ...whole, ...requested });
    return restOf(opened).finally(() => opened.close());
  };
  /** The error of a read, and how many requests it made; nothing else may be requested for two seconds. */
  const failing = async (requested: Partial<BlockRequest> = {}) => {
    const before = origin.calls.length;
    const error = await clock.run(read(requested).catch((thrown: unknown) => thrown));
    expect(error).toBeInstanceOf(CacheError);
    const requests = origin.calls.length - before;
    clock.advance(2_000);
    await clock.run(cache.settled());
    clock.advance(2_000);
    expect(origin.calls.length - before).toBe(requests);
    expect(origin.open).toBe(0);
    return { error: error as CacheError, requests };
  };
  const close = async (): Promise<void> => {
    await cache.close();
    await stored.store.close();
  };
  return { stored, clock, objects, origin, version, cache, read, failing, close };
}

const faults: [string, MemoryFault][] = [
  ["is unreachable", { error: "UNAVAILABLE" }],
  ["throttles", { error: "RESOURCE_EXHAUSTED" }],
  ["breaks its answers", { body: { afterBytes: 3, how: "break" } }],
  ["breaks its answers in the middle", { body: { afterBytes: SEGMENT / 8, how: "break" } }],
  ["stalls", { body: { afterBytes: 3, how: "stall" } }],
];

describe.each(faults)("a read of a block whose origin %s", (_, fault) => {
  it.each<[string, (version: string) => Partial<BlockRequest>]>([
    ["the current version", () => ({})],
    ["a version", (version) => ({ version })],
    ["one segment", () => ({ start: SEGMENT, end: 2 * SEGMENT })],
    ["an open range", () => ({ openEnded: true })],
    ["another block", (version) => ({ blockOffset: BLOCK, version })],
  ])("makes a bounded number of requests for %s, and none after its failure", async (_name, requested) => {
    const { origin, version, failing, close } = await setUp();
    origin.faults.place(fault);
    const { error, requests } = await failing(requested(version));
    expect(error.isOriginTried).toBe(true);
    expect(requests).toBeLessThanOrEqual(MAX_REQUESTS);
    await close();
  });

  it("counts the question for the current version that precedes it", async () => {
    const { origin, read, clock, cache, failing, close } = await setUp("wanted");
    await clock.run(read({ end: SEGMENT }));
    await clock.run(cache.settled());
    origin.faults.place({ ...fault, when: ({ kind }) => kind === "fetch" });
    const { requests } = await failing();
    expect(requests).toBeGreaterThan(1);
    expect(requests).toBeLessThanOrEqual(MAX_REQUESTS);
    await close();
  });

  it("continues with the rest of its budget when it is repeated after its client gave up", async () => {
    const { origin, read, clock, failing, close } = await setUp();
    origin.faults.place(fault);
    const gone = new AbortController();
    const first = read({ signal: gone.signal }).catch((error: unknown) => error);
    // The four parts have failed, and wait before they are repeated.
    for (let turn = 0; turn < 20 && clock.waits > 1; turn++) await new Promise((resolve) => setImmediate(resolve));
    gone.abort();
    await first;
    clock.advance(4_000);
    await failing({ isRepeated: true });
    expect(origin.calls.length).toBeLessThanOrEqual(MAX_REQUESTS);
    await close();
  });

  it("fails again without a request when it resumes an answer that this failure interrupted", async () => {
    const { origin, version, failing, clock, read, close } = await setUp();
    origin.faults.place(fault);
    await failing({ version });
    origin.faults.clear();
    const before = origin.calls.length;
    await expect(read({ version, start: 1, isRepeated: true })).rejects.toMatchObject({ isOriginTried: true });
    expect(origin.calls.length).toBe(before);
    clock.advance(5_000);
    expect((await clock.run(read({ version, start: 1, isRepeated: true }))).length).toBe(BLOCK - 1);
    await close();
  });
});

describe("a read that begins again after the object was missing", () => {
  it("observes no absence that the origin has not answered, and finds the object that was created meanwhile", async () => {
    const { objects, version, read, clock, cache, close } = await setUp();
    objects.delete(ref.url);
    const budget = requestBudget({ version: undefined });
    await expect(clock.run(read({ version, budget }))).rejects.toMatchObject({ code: "NOT_FOUND" });
    const created = objects.putRamp(ref.url, BLOCK, 3);
    // The absence that was observed then is believed no more.
    clock.advance(60_000);
    expect((await clock.run(read({ budget }))).length).toBe(BLOCK);
    expect(cache.records.last(ref.url)?.version).toBe(created);
    await close();
  });
});

describe("a read of a block whose origin fails in any way", () => {
  const failure = fc.oneof(
    fc.constantFrom<MemoryFault>({ error: "UNAVAILABLE" }, { error: "RESOURCE_EXHAUSTED" }),
    fc.record({ afterBytes: fc.nat(BLOCK - 1) }).map(({ afterBytes }): MemoryFault => ({ body: { afterBytes, how: "break" } })),
  );
  const ranges = fc
    .tuple(fc.nat(BLOCK - 1), fc.nat(BLOCK - 1))
    .map(([a, b]) => ({ start: Math.min(a, b), end: Math.max(a, b) + 1 }));

  it("has at most six failed requests, and none after its failure", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<FillMode>("auto", "whole", "wanted"),
        fc.array(failure, { minLength: 1, maxLength: 20 }),
        ranges,
        fc.boolean(),
        fc.double({ min: 0, max: 0.99, noNaN: true }),
        async (fill, failures, range, isVersioned, chance) => {
          const { origin, version, clock, cache, read, close } = await setUp(fill, () => chance);
          for (const [index, fault] of failures.entries()) {
            origin.faults.place({ ...fault, when: () => origin.calls.length === index + 1 });
          }
          const outcome = await clock.run(
            read({ ...range, ...(isVersioned && { version }) }).then(
              () => undefined,
              (error: unknown) => CacheError.from(error),
            ),
          );
          const requests = origin.calls.length;
          clock.advance(2_000);
          await clock.run(cache.settled());
          clock.advance(2_000);
          if (outcome !== undefined) {
            const failed = origin.calls.filter(({ length }, index) => {
              const { error, body } = failures[index] ?? {};
              return error !== undefined || (body !== undefined && body.afterBytes < length);
            });
            expect(outcome.isOriginTried).toBe(true);
            expect(failed.length).toBeLessThanOrEqual(MAX_REQUESTS);
            expect(origin.calls.length).toBe(requests);
          }
          await close();
        },
      ),
      { numRuns: 100 },
    );
  });
});
