import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore, type StoreFixture } from "../testing/store-fixture.js";
import { NOTHING_KNOWN, ObjectRecords, type Observation } from "./object-records.js";

const url = "s3://bucket/key";

function nameOf(observation: Observation): string {
  return observation === NOTHING_KNOWN ? "nothing" : (observation.info?.version ?? "absent");
}

describe("the records of objects", () => {
  let stored: StoreFixture;
  let records: ObjectRecords;
  let changes: string[];

  beforeEach(async () => {
    stored = await openStore();
    const { store, clock } = stored;
    changes = [];
    const onChange = (_url: string, before: Observation, after: Observation) =>
      void changes.push(`${nameOf(before)} -> ${nameOf(after)}`);
    records = new ObjectRecords({ clock, store, onChange });
  });

  afterEach(() => stored.store.close());

  const now = (): number => stored.clock.monotonicMs();
  const info = (version: string) => ({ version, objectSize: 10 });

  it("ignore an answer of the replaced version whose request was sent before the newer version was known", () => {
    records.observe(url, { info: info("v1"), askedAtMs: now() });
    stored.clock.advance(10);
    const earlierMs = now();
    stored.clock.advance(10);
    records.observe(url, { info: info("v2"), askedAtMs: earlierMs });
    records.observe(url, { info: info("v1"), askedAtMs: earlierMs + 5 });
    expect(records.last(url)?.version).toBe("v2");
    expect(changes).toEqual(["v1 -> v2"]);
  });

  it("keep neither of two versions whose answers were waited for at the same time, since either may be the newer one", () => {
    const earlierMs = now();
    stored.clock.advance(10);
    records.observe(url, { info: info("v2"), askedAtMs: now() });
    records.observe(url, { info: info("v1"), askedAtMs: earlierMs });
    expect(records.last(url)).toBeUndefined();
    expect(changes).toEqual(["v2 -> nothing"]);
    records.observe(url, { info: info("v2"), askedAtMs: now() });
    expect(records.last(url)?.version).toBe("v2");
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
    expect([records.unexpired(url), records.last(url)?.version, records.ageMs(url)]).toEqual([undefined, "v1", 10]);
    records.observe(url, { info: info("v1"), askedAtMs: now() });
    expect(records.unexpired(url)?.info?.version).toBe("v1");
    records.expire(url);
    expect([records.ageMs(url), records.last(url)?.version]).toEqual([Number.POSITIVE_INFINITY, "v1"]);
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
    expect(records.last(url)).toBeUndefined();
    records.observe(url, { info: info("v1"), askedAtMs: earlierMs });
    expect(records.last(url)).toBeUndefined();
    records.observe(url, { info: info("v2"), askedAtMs: now() });
    expect(records.last(url)?.version).toBe("v2");
  });

  it("take the answer to a question that was on its way when reads rejected an older version, but no answer of that version", () => {
    records.observe(url, { info: info("v1"), askedAtMs: now() });
    records.reject(url, "v1");
    for (const version of ["v1", "v2"]) {
      const askedAtMs = now();
      stored.clock.advance(10);
      records.reject(url, "v1");
      records.observe(url, { info: info(version), askedAtMs });
      expect(records.last(url)?.version).toBe(version === "v1" ? undefined : version);
    }
  });

  it("stay as they are when a version is rejected that is not the current one", () => {
    records.observe(url, { info: info("v2"), askedAtMs: now() });
    records.reject(url, "v1");
    expect(records.last(url)?.version).toBe("v2");
  });
});
