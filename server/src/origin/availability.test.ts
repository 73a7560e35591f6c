import { CacheError, parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { beforeEach, describe, expect, it } from "vitest";
import { bytesOf } from "../testing/answer-fixture.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { pageOf, rangeOf, statOf } from "../testing/origin/requests.js";
import { type AvailabilityChange, OriginAvailability } from "./availability.js";
import type { Origin } from "./origin.js";
import { retrying } from "./retrying.js";

const ref = parseObjectUrl("s3://bucket/key");
const elsewhere = parseObjectUrl("s3://another/key");
const bytes = { offset: 0, length: 10 };

describe("the availability of an origin", () => {
  let clock: ManualClock;
  let store: MemoryOrigin;
  let availability: OriginAvailability;
  let origin: Origin;
  let changes: AvailabilityChange[];

  beforeEach(() => {
    clock = new ManualClock();
    const objects = new MemoryObjects();
    for (const { url } of [ref, elsewhere]) objects.putRamp(url, 10, 1);
    store = new MemoryOrigin(objects, clock, 1_000);
    changes = [];
    availability = new OriginAvailability({ clock, onChange: (change) => changes.push(change) });
    const { guarded, observed } = availability.wrappersOf("http://store:9000");
    origin = guarded(observed(store));
  });

  const stat = (of = ref): Promise<unknown> => origin.ask(statOf(of)).catch((error: unknown) => CacheError.from(error).message);
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  /** Makes the origin unavailable. */
  async function takeDown(): Promise<() => void> {
    const up = store.faults.place({ error: "UNAVAILABLE" });
    for (let i = 0; i < 3; i++) await stat();
    expect(availability.stateOf(ref)).toBe("unavailable");
    store.calls.length = 0;
    return up;
  }

  it("ends when two requests in a row and a probe get no answer", async () => {
    store.faults.place({ error: "UNAVAILABLE" });
    await stat();
    expect(availability.stateOf(ref)).toBe("available");
    await stat();
    expect([availability.stateOf(ref), changes.length]).toEqual(["slow", 0]);
    expect(await stat()).toContain("the origin http://store:9000 has not answered for 0 s");
    expect([availability.stateOf(ref), availability.unavailable]).toEqual(["unavailable", 1]);
    expect(changes).toMatchObject([{ bucket: "s3://bucket", endpoint: "http://store:9000", isAvailable: false }]);
    expect(clock.waits).toBe(0);
  });

  it("is known for each bucket by itself", async () => {
    await takeDown();
    expect(availability.stateOf(elsewhere)).toBe("available");
  });

  it.each(["NOT_FOUND", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED"] as const)("does not end by answers with %s", async (error) => {
    store.faults.place({ error });
    for (let i = 0; i < 5; i++) await stat();
    expect(availability.stateOf(ref)).toBe("available");
  });

  it("does not end by requests that their callers aborted", async () => {
    store.faults.hold();
    for (let i = 0; i < 5; i++) {
      const abort = new AbortController();
      const asked = origin.ask(statOf(ref, abort.signal)).catch(() => {});
      abort.abort();
      await asked;
    }
    expect(availability.stateOf(ref)).toBe("available");
    store.faults.clear();
  });

  it("does not end if a store closes all its connections at once and answers on new ones", async () => {
    store.faults.place({ error: "UNAVAILABLE", times: 10 });
    const options = { attempts: 6, baseDelayMs: 100, maxDelayMs: 5_000, headTimeoutMs: 10_000, idleTimeoutMs: 5_000 };
    const patient = retrying({ ...options, withFallback: options, onRetry: () => {} }, clock, () => 0.5)(origin);
    const asked = Array.from({ length: 10 }, () => patient.ask(statOf(ref)));
    expect(await clock.run(Promise.all(asked))).toHaveLength(10);
    expect(changes).toEqual([]);
  });

  it("sends nothing to an unavailable origin but one probe per second, whatever is asked", async () => {
    await takeDown();
    for (let ms = 0; ms < 5_000; ms += 100) {
      clock.advance(100);
      const fetched = origin.fetch(rangeOf(ref, bytes)).catch((error: unknown) => CacheError.from(error).code);
      const listed = origin.ask(pageOf(parsePrefixUrl("s3://bucket"))).catch((error: unknown) => CacheError.from(error).code);
      expect(await Promise.all([stat(), fetched, listed])).toMatchObject([expect.any(String), "UNAVAILABLE", "UNAVAILABLE"]);
    }
    expect(store.calls.length).toBe(5);
    expect(clock.waits).toBe(0);
  });

  it("returns with the first answer, for the request that waits for the probe, too", async () => {
    const up = await takeDown();
    up();
    expect(availability.isWorthAsking(ref)).toBe(false);
    clock.advance(1_000);
    expect(availability.isWorthAsking(ref)).toBe(true);
    expect(await bytesOf(await origin.fetch(rangeOf(ref, bytes)))).toHaveLength(10);
    expect(changes.map(({ isAvailable }) => isAvailable)).toEqual([false, true]);
    expect(availability.unavailable).toBe(0);
  });

  it("fails a request that may send nothing besides the probe, even if the probe was answered, but none after it", async () => {
    const up = store.faults.place({ error: "UNAVAILABLE" });
    for (let i = 0; i < 2; i++) await stat();
    up();
    store.calls.length = 0;
    const permit = { extra: () => false, next: () => false, refund() {}, answered() {}, spend() {} };
    await expect(origin.ask({ ...statOf(ref), permit })).rejects.toMatchObject({ code: "UNAVAILABLE", isOriginTried: true });
    expect([store.calls.length, availability.stateOf(ref), changes]).toEqual([1, "available", []]);
    await origin.ask(statOf(ref));
    expect(store.calls.length).toBe(2);
  });

  it("fails a request after a quarter of a second if packets to the origin are lost, and again at once", async () => {
    const lost = store.faults.place({ error: "UNAVAILABLE", times: 2 });
    await stat();
    await stat();
    lost();
    const hold = store.faults.hold();
    const waiting = stat();
    await hold.reached(1);
    clock.advance(250);
    expect(await waiting).toContain("has not answered");
    expect(await stat()).toContain("has not answered");
    hold.release();
    await settle();
    expect(availability.stateOf(ref)).toBe("available");
    expect(clock.waits).toBe(0);
  });

  it("fails the requests that are waiting when the origin becomes unavailable, and drops their answers", async () => {
    const hold = store.faults.hold((call) => call.kind === "fetch");
    const waiting = origin.fetch(rangeOf(ref, bytes)).catch((error: unknown) => CacheError.from(error).message);
    await hold.reached(1);
    await takeDown();
    expect(await waiting).toContain("has not answered");
    hold.release();
    store.faults.clear();
    await settle();
    expect(store.open).toBe(0);
  });

  it("considers an origin slow after three late answers in a row, including those that have not arrived yet", async () => {
    const hold = store.faults.hold();
    const asked = [stat(), stat(), stat()];
    await hold.reached(3);
    clock.advance(251);
    expect(availability.stateOf(ref)).toBe("slow");
    hold.release();
    await Promise.all(asked);
    expect(availability.stateOf(ref)).toBe("slow");
    clock.advance(10_001);
    expect(availability.stateOf(ref)).toBe("available");
    await stat();
    expect(availability.stateOf(ref)).toBe("available");
  });

  it("ends a running probe when the origin is closed", async () => {
    await takeDown();
    store.faults.clear();
    const hold = store.faults.hold();
    clock.advance(1_000);
    const waiting = stat();
    await hold.reached(1);
    origin.close();
    expect(await waiting).toContain("has not answered");
    expect([store.open, clock.waits]).toEqual([0, 0]);
    hold.release();
  });
});
