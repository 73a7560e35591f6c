import { parseObjectUrl } from "@frontcache/proto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NoSuchBucket } from "../origin/checked-answer.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { openStore, type StoreFixture } from "../testing/store-fixture.js";
import { CurrentVersions } from "./current-versions.js";

const ref = parseObjectUrl("s3://bucket/key");
const { url } = ref;

describe("what is known of an object's current version", () => {
  let stored: StoreFixture;
  let objects: MemoryObjects;
  let origin: MemoryOrigin;
  let versions: CurrentVersions;

  beforeEach(async () => {
    stored = await openStore();
    objects = new MemoryObjects();
    origin = new MemoryOrigin(objects, stored.clock, 1_000);
    const { store, clock } = stored;
    const options = { clock, origin, store, revalidateAfterMs: 1_000, negativeTtlMs: 100 };
    versions = new CurrentVersions(options, new AbortController().signal);
  });

  afterEach(() => stored.store.close());

  const now = (): number => stored.clock.monotonicMs();
  const info = (version: string) => ({ version, objectSize: 10 });

  it("ages from when the request was sent, not from when the answer came", () => {
    const askedAtMs = now();
    stored.clock.advance(600);
    versions.observe(url, { info: info("v1"), askedAtMs });
    stored.clock.advance(399);
    expect(versions.fresh(url)?.version).toBe("v1");
    stored.clock.advance(1);
    expect(versions.fresh(url)).toBeUndefined();
    expect(versions.last(url)?.version).toBe("v1");
  });

  it("remembers for a moment whether the object or its bucket is missing", async () => {
    const missing = new NoSuchBucket(ref);
    const { store, clock } = stored;
    const options = {
      clock,
      store,
      revalidateAfterMs: 1_000,
      negativeTtlMs: 100,
      origin: { ask: () => Promise.reject(missing) },
    };
    const bucketless = new CurrentVersions(options, new AbortController().signal);
    await expect(bucketless.ask(ref, false)).rejects.toBe(missing);
    expect(() => bucketless.fresh(url)).toThrow("no such bucket");
    await expect(versions.ask(ref, false)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(() => versions.fresh(url)).toThrow("no such object");
    stored.clock.advance(100);
    expect([bucketless.fresh(url), versions.fresh(url)]).toEqual([undefined, undefined]);
  });

  it("is what the request that was sent last observed, in whatever order the answers come", () => {
    const earlierMs = now();
    stored.clock.advance(10);
    versions.observe(url, { info: info("v2"), askedAtMs: now() });
    versions.observe(url, { info: info("v1"), askedAtMs: earlierMs });
    expect(versions.fresh(url)?.version).toBe("v2");
  });

  it("does not include a version that the origin rejected, nor one observed by a request sent before the rejection", () => {
    const earlierMs = now();
    versions.observe(url, { info: info("v1"), askedAtMs: earlierMs });
    stored.clock.advance(10);
    versions.reject(url, "v1");
    expect([versions.fresh(url), versions.last(url)]).toEqual([undefined, undefined]);
    versions.observe(url, { info: info("v1"), askedAtMs: earlierMs });
    expect(versions.last(url)).toBeUndefined();
    versions.observe(url, { info: info("v2"), askedAtMs: now() });
    expect(versions.fresh(url)?.version).toBe("v2");
  });

  it("stays as it is when a version is rejected that is not the current one", () => {
    versions.observe(url, { info: info("v2"), askedAtMs: now() });
    versions.reject(url, "v1");
    expect(versions.fresh(url)?.version).toBe("v2");
  });

  it("is asked anew after a rejection, although a question sent before is still running", async () => {
    const version = objects.putRamp(url, 10, 1);
    const hold = origin.faults.hold();
    const before = versions.ask(ref, false);
    const joined = versions.ask(ref, false);
    await hold.reached(1);
    stored.clock.advance(10);
    versions.reject(url, version);
    const after = versions.ask(ref, false);
    await hold.reached(2);
    hold.release();
    await Promise.all([before, joined, after]);
    expect(origin.calls).toHaveLength(2);
    expect(versions.fresh(url)?.version).toBe(version);
  });

  it("does not count an absence for longer because reads ask about it", () => {
    versions.observe(url, { info: undefined, askedAtMs: now() });
    stored.clock.advance(99);
    expect(() => versions.fresh(url)).toThrow("no such object");
    stored.clock.advance(1);
    expect(versions.fresh(url)).toBeUndefined();
  });
});
