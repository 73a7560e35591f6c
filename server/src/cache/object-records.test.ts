import { parseObjectUrl } from "@frontcache/proto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NoSuchBucket } from "../origin/checked-answer.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { openStore, type StoreFixture } from "../testing/store-fixture.js";
import { NOTHING_KNOWN, ObjectRecords, type Observation } from "./object-records.js";

const ref = parseObjectUrl("s3://bucket/key");
const { url } = ref;

function nameOf(observation: Observation): string {
  return observation === NOTHING_KNOWN ? "nothing" : (observation.info?.version ?? "absent");
}

describe("the records of objects", () => {
  let stored: StoreFixture;
  let objects: MemoryObjects;
  let origin: MemoryOrigin;
  let records: ObjectRecords;
  let changes: string[];

  beforeEach(async () => {
    stored = await openStore();
    objects = new MemoryObjects();
    origin = new MemoryOrigin(objects, stored.clock, 1_000);
    const { store, clock } = stored;
    changes = [];
    const onChange = (_url: string, before: Observation, after: Observation) =>
      void changes.push(`${nameOf(before)} -> ${nameOf(after)}`);
    const options = { clock, origin, store, revalidateAfterMs: 1_000, negativeTtlMs: 100, onChange };
    records = new ObjectRecords(options, new AbortController().signal);
  });

  afterEach(() => stored.store.close());

  const now = (): number => stored.clock.monotonicMs();
  const info = (version: string) => ({ version, objectSize: 10 });

  it("age from when the request was sent, not from when the answer came", () => {
    const askedAtMs = now();
    stored.clock.advance(600);
    records.observe(url, { info: info("v1"), askedAtMs });
    stored.clock.advance(399);
    expect(records.fresh(url)?.version).toBe("v1");
    stored.clock.advance(1);
    expect(records.fresh(url)).toBeUndefined();
    expect(records.last(url)?.version).toBe("v1");
  });

  it("remember for a moment whether the object or its bucket is missing", async () => {
    const missing = new NoSuchBucket(ref);
    const { store, clock } = stored;
    const options = {
      clock,
      store,
      revalidateAfterMs: 1_000,
      negativeTtlMs: 100,
      origin: { ask: () => Promise.reject(missing) },
    };
    const bucketless = new ObjectRecords(options, new AbortController().signal);
    await expect(bucketless.ask(ref, false)).rejects.toBe(missing);
    expect(() => bucketless.fresh(url)).toThrow("no such bucket");
    await expect(records.ask(ref, false)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(() => records.fresh(url)).toThrow("no such object");
    stored.clock.advance(100);
    expect([bucketless.fresh(url), records.fresh(url)]).toEqual([undefined, undefined]);
  });

  it("ignore an answer of the replaced version whose request was sent before the newer version was known", () => {
    records.observe(url, { info: info("v1"), askedAtMs: now() });
    stored.clock.advance(10);
    const earlierMs = now();
    stored.clock.advance(10);
    records.observe(url, { info: info("v2"), askedAtMs: earlierMs });
    records.observe(url, { info: info("v1"), askedAtMs: earlierMs + 5 });
    expect(records.fresh(url)?.version).toBe("v2");
    expect(changes).toEqual(["v1 -> v2"]);
  });

  it("keep neither of two versions whose answers were waited for at the same time, since either may be the newer one", () => {
    const earlierMs = now();
    stored.clock.advance(10);
    records.observe(url, { info: info("v2"), askedAtMs: now() });
    records.observe(url, { info: info("v1"), askedAtMs: earlierMs });
    expect([records.fresh(url), records.last(url)]).toEqual([undefined, undefined]);
    expect(changes).toEqual(["v2 -> nothing"]);
    records.observe(url, { info: info("v2"), askedAtMs: now() });
    expect(records.fresh(url)?.version).toBe("v2");
  });

  it("report a change of the version, an absence and a rejection, but not an answer that confirms what was known", () => {
    for (const version of ["v1", "v1", "v2", undefined, undefined, "v3"]) {
      stored.clock.advance(10);
      records.observe(url, { info: version === undefined ? undefined : info(version), askedAtMs: now() });
    }
    records.reject(url, "v3");
    records.reject(url, "v3");
    records.observe(url, { info: info("v4"), askedAtMs: now() });
    records.invalidate({ url });
    expect(changes).toEqual(["v1 -> v2", "v2 -> absent", "absent -> v3", "v3 -> nothing", "v4 -> nothing"]);
  });

  it("count as expired after a standstill, and are kept", () => {
    const earlierMs = now();
    records.observe(url, { info: info("v1"), askedAtMs: earlierMs });
    stored.clock.advance(10);
    records.expireAll();
    expect([records.fresh(url), records.last(url)?.version, records.ageMs(url)]).toEqual([undefined, "v1", 10]);
    records.observe(url, { info: info("v1"), askedAtMs: now() });
    expect(records.fresh(url)?.version).toBe("v1");
  });

  it("are enumerated as they were observed, for another member to take over", () => {
    const observations = ["a", "b"].map((name) => [`s3://bucket/${name}`, { info: info(name), askedAtMs: now() }] as const);
    for (const [name, observation] of observations) records.observe(name, observation);
    expect([...records.entries()]).toEqual(observations);
    expect(records.observation("s3://bucket/b")).toEqual(observations[1]![1]);
    expect(records.observation("s3://bucket/c")).toBeUndefined();
  });

  it("do not include a version that the origin rejected, nor one observed by a request sent before the rejection", () => {
    const earlierMs = now();
    records.observe(url, { info: info("v1"), askedAtMs: earlierMs });
    stored.clock.advance(10);
    records.reject(url, "v1");
    expect([records.fresh(url), records.last(url)]).toEqual([undefined, undefined]);
    records.observe(url, { info: info("v1"), askedAtMs: earlierMs });
    expect(records.last(url)).toBeUndefined();
    records.observe(url, { info: info("v2"), askedAtMs: now() });
    expect(records.fresh(url)?.version).toBe("v2");
  });

  it("stay as they are when a version is rejected that is not the current one", () => {
    records.observe(url, { info: info("v2"), askedAtMs: now() });
    records.reject(url, "v1");
    expect(records.fresh(url)?.version).toBe("v2");
  });

  it("are asked for anew after a rejection, although a question sent before is still running", async () => {
    const version = objects.putRamp(url, 10, 1);
    const hold = origin.faults.hold();
    const before = records.ask(ref, false);
    const joined = records.ask(ref, false);
    await hold.reached(1);
    stored.clock.advance(10);
    records.reject(url, version);
    const after = records.ask(ref, false);
    await hold.reached(2);
    hold.release();
    await Promise.all([before, joined, after]);
    expect(origin.calls).toHaveLength(2);
    expect(records.fresh(url)?.version).toBe(version);
  });

  it("do not count an absence for longer because reads ask about it", () => {
    records.observe(url, { info: undefined, askedAtMs: now() });
    stored.clock.advance(99);
    expect(() => records.fresh(url)).toThrow("no such object");
    stored.clock.advance(1);
    expect(records.fresh(url)).toBeUndefined();
  });
});
