import { type CacheError, parseObjectUrl } from "@frontcache/proto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { OriginState } from "../origin/availability.js";
import { NoSuchBucket } from "../origin/checked-answer.js";
import type { Hold } from "../testing/origin/memory-faults.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { openStore, type StoreFixture } from "../testing/store-fixture.js";
import { Freshness, type FreshnessSettings } from "./freshness.js";
import { ObjectRecords } from "./object-records.js";

const ref = parseObjectUrl("s3://bucket/key");
const { url } = ref;
const never = new AbortController().signal;

describe("the freshness of records", () => {
  let stored: StoreFixture;
  let objects: MemoryObjects;
  let origin: MemoryOrigin;
  let records: ObjectRecords;
  let freshness: Freshness;
  let originState: OriginState;
  let isWorthAsking: boolean;
  let version: string;

  beforeEach(async () => {
    stored = await openStore();
    objects = new MemoryObjects();
    origin = new MemoryOrigin(objects, stored.clock, 1_000);
    version = objects.putRamp(url, 10, 1);
    originState = "available";
    isWorthAsking = true;
    open({});
  });

  afterEach(async () => {
    expect(origin.open).toBe(0);
    await stored.store.close();
  });

  function open(settings: Partial<FreshnessSettings>, from: { ask: MemoryOrigin["ask"] } = origin): void {
    const { clock, store } = stored;
    records = new ObjectRecords({ clock, store });
    const originStates = { stateOf: () => originState, isWorthAsking: () => isWorthAsking };
    const defaults = { revalidateAfterMs: 1_000, negativeTtlMs: 100, staleIfError: true };
    freshness = new Freshness({ clock, origin: from, records, originStates, ...defaults, ...settings }, never);
  }

  const now = (): number => stored.clock.monotonicMs();
  const observe = (): void => records.observe(url, { info: objects.get(url)!.info, askedAtMs: now() });
  const current = (hasFallback = true) => freshness.current(ref, never, { hasFallback });
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  /** Lets time pass until a read has waited as long as it may. */
  async function waitAsLongAsAllowed(hold: Hold): Promise<void> {
    await hold.reached(1);
    stored.clock.advance(249);
    await settle();
    stored.clock.advance(1);
  }

  it("counts from when the request was sent, not from when the answer came", () => {
    const askedAtMs = now();
    stored.clock.advance(600);
    records.observe(url, { info: objects.get(url)!.info, askedAtMs });
    stored.clock.advance(399);
    expect(freshness.fresh(url)?.version).toBe(version);
    stored.clock.advance(1);
    expect(freshness.fresh(url)).toBeUndefined();
  });

  it("includes the absence of an object or of its bucket for a moment, which does not get longer because reads ask", async () => {
    objects.delete(url);
    await expect(current()).rejects.toMatchObject({ code: "NOT_FOUND" });
    stored.clock.advance(99);
    expect(() => freshness.fresh(url)).toThrow("no such object");
    stored.clock.advance(1);
    expect(freshness.fresh(url)).toBeUndefined();
    open({}, { ask: () => Promise.reject(new NoSuchBucket(ref)) });
    await expect(current()).rejects.toThrow("no such bucket");
    expect(() => freshness.fresh(url)).toThrow("no such bucket");
  });

  it("revalidates a record that is used in the last fifth of its age, once, while reads go on", async () => {
    observe();
    stored.clock.advance(799);
    freshness.fresh(url);
    expect(origin.calls).toHaveLength(0);
    stored.clock.advance(1);
    for (let i = 0; i < 10; i++) expect(freshness.fresh(url)?.version).toBe(version);
    expect(origin.calls).toHaveLength(1);
    await settle();
    stored.clock.advance(500);
    expect(freshness.fresh(url)?.version).toBe(version);
    expect(origin.calls).toHaveLength(1);
  });

  it("does not revalidate a record that nobody uses", () => {
    observe();
    stored.clock.advance(900);
    expect([origin.calls.length, stored.clock.waits]).toEqual([0, 1]); // the purger's
  });

  it("bounds the questions for which nobody waits", async () => {
    const hold = origin.faults.hold();
    const urls = Array.from({ length: 200 }, (_, i) => `s3://bucket/${i}`);
    for (const each of urls) {
      objects.putRamp(each, 10, 1);
      records.observe(each, { info: objects.get(each)!.info, askedAtMs: now() });
    }
    stored.clock.advance(900);
    for (const each of urls) freshness.fresh(each);
    await settle();
    expect(origin.calls).toHaveLength(128);
    hold.release();
    await settle();
  });

  it("serves an expired version as stale after 250 ms, and observes the answer when it comes", async () => {
    observe();
    stored.clock.advance(1_000);
    const newer = objects.putRamp(url, 10, 2);
    const hold = origin.faults.hold();
    const first = current();
    await waitAsLongAsAllowed(hold);
    expect(await first).toMatchObject({ info: { version }, isStale: true });
    // The question is known to be late: the next read does not wait at all.
    expect(freshness.staleAtOnce(ref)?.version).toBe(version);
    expect(await current()).toMatchObject({ info: { version }, isStale: true });
    hold.release();
    await settle();
    expect(freshness.fresh(url)?.version).toBe(newer);
    expect([origin.calls.length, freshness.staleAnswers, stored.clock.waits]).toEqual([1, 2, 1]);
  });

  it("waits for the answer if it comes within 250 ms", async () => {
    observe();
    stored.clock.advance(1_000);
    const newer = objects.putRamp(url, 10, 2);
    const hold = origin.faults.hold();
    const reading = current();
    await hold.reached(1);
    stored.clock.advance(249);
    hold.release();
    expect(await reading).toMatchObject({ info: { version: newer }, isStale: false });
  });

  it.each(["slow", "unavailable"] as const)("does not let reads wait for an origin that is known to be %s", async (state) => {
    observe();
    stored.clock.advance(1_000);
    originState = state;
    const hold = origin.faults.hold();
    expect(await current()).toMatchObject({ info: { version }, isStale: true });
    expect(origin.calls).toHaveLength(1);
    // Nor for the question that the first read began.
    expect(await current()).toMatchObject({ info: { version }, isStale: true });
    hold.release();
    await settle();
    expect([origin.calls.length, freshness.fresh(url)?.version]).toEqual([1, version]);
  });

  it("asks nothing while a question has no use", async () => {
    observe();
    stored.clock.advance(1_000);
    [originState, isWorthAsking] = ["unavailable", false];
    for (let i = 0; i < 10; i++) expect((await current()).isStale).toBe(true);
    expect(origin.calls).toHaveLength(0);
  });

  it("asks each time and waits as long as it takes with --revalidate-after 0", async () => {
    open({ revalidateAfterMs: 0 });
    observe();
    const hold = origin.faults.hold();
    const reading = current();
    await hold.reached(1);
    stored.clock.advance(3_000);
    const second = current();
    hold.release();
    expect((await reading).isStale).toBe(false);
    // A question that was sent before the read began may have missed a change.
    expect((await second).isStale).toBe(false);
    expect(origin.calls).toHaveLength(2);
    origin.faults.place({ error: "UNAVAILABLE" });
    expect(await current()).toMatchObject({ info: { version }, isStale: true });
  });

  it("never serves a stale version without --stale-if-error, and waits", async () => {
    open({ staleIfError: false });
    observe();
    stored.clock.advance(1_000);
    const hold = origin.faults.hold();
    const reading = current();
    await hold.reached(1);
    stored.clock.advance(3_000);
    hold.release();
    expect((await reading).isStale).toBe(false);
    stored.clock.advance(1_000);
    origin.faults.place({ error: "UNAVAILABLE" });
    await expect(current()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("does not serve a version as stale that was rejected while the read waited", async () => {
    observe();
    stored.clock.advance(1_000);
    const hold = origin.faults.hold();
    const reading = current();
    await hold.reached(1);
    stored.clock.advance(100);
    records.reject(url, version);
    const newer = objects.putRamp(url, 10, 2);
    stored.clock.advance(200);
    await hold.reached(2);
    hold.release();
    expect(await reading).toMatchObject({ info: { version: newer }, isStale: false });
  });

  it("asks anew after a rejection, although a question sent before is still running", async () => {
    const hold = origin.faults.hold();
    const before = [current(), current()];
    await hold.reached(1);
    stored.clock.advance(10);
    records.reject(url, version);
    const after = current();
    await hold.reached(2);
    hold.release();
    await Promise.all([...before, after]);
    expect(origin.calls).toHaveLength(2);
    expect(freshness.fresh(url)?.version).toBe(version);
  });

  it("counts only answers to questions that were sent after the moment that a caller names", async () => {
    observe();
    stored.clock.advance(10);
    expect(freshness.fresh(url, now())).toBeUndefined();
    const { info } = await freshness.current(ref, never, { notBeforeMs: now() });
    expect([info.version, origin.calls.length]).toEqual([version, 1]);
  });

  it("does not ask again for a moment after the origin answered with an error, and asks the patient way for who has nothing", async () => {
    observe();
    stored.clock.advance(1_000);
    origin.faults.place({ error: "RESOURCE_EXHAUSTED", times: 1 });
    for (let i = 0; i < 10; i++) expect((await current()).isStale).toBe(true);
    expect(origin.calls).toHaveLength(1);
    expect((await current(false)).isStale).toBe(false);
    expect(origin.calls).toHaveLength(2);
  });

  it("is what another answer said if that one is newer than the one that was waited for", async () => {
    observe();
    stored.clock.advance(1_000);
    const hold = origin.faults.hold();
    const reading = current(false);
    await hold.reached(1);
    stored.clock.advance(10);
    records.observe(url, { info: { version: "newer", objectSize: 10 }, askedAtMs: now() });
    hold.release();
    expect((await reading).info.version).toBe("newer");
  });

  it("ends a wait when the read is aborted", async () => {
    observe();
    stored.clock.advance(1_000);
    const hold = origin.faults.hold();
    const abort = new AbortController();
    const reading = freshness.current(ref, abort.signal).catch((error: CacheError) => error.code);
    await hold.reached(1);
    abort.abort();
    expect(await reading).toBe("CANCELLED");
    expect(stored.clock.waits).toBe(1); // the purger's
    hold.release();
    await settle();
  });
});
