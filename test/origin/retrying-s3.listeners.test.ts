import { parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import type { Origin } from "@frontcache/server";
import { bytesOf, pageOf, type Retry, rangeOf, retrying, statOf, systemClock } from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { openS3 } from "./open-s3.js";

const MiB = 1 << 20;
const ref = parseObjectUrl("s3://bucket/ramp");

describe("a retrying read of S3", () => {
  let store: S3Emulator;
  let s3: Origin;
  let origin: Origin;
  let retries: Retry[];

  beforeEach(async () => {
    store = await S3Emulator.start();
    store.putRamp("bucket", "ramp", 64 * MiB, 11);
    retries = [];
    s3 = openS3(store.endpoint, { maxConnections: 8 });
    origin = retryingBy({ attempts: 6, idleTimeoutMs: 60_000 });
  });

  function retryingBy({ attempts, idleTimeoutMs }: { attempts: number; idleTimeoutMs: number }): Origin {
    const options = {
      attempts,
      baseDelayMs: 1,
      maxDelayMs: 5,
      headTimeoutMs: 60_000,
      withFallback: { attempts: 2, headTimeoutMs: 60_000 },
      idleTimeoutMs,
      onRetry: (retry: Retry) => void retries.push(retry),
    };
    return retrying(options, systemClock, Math.random)(s3);
  }

  afterEach(async () => {
    await eventually(() => expect(store.traffic.open).toBe(0));
    origin.close();
    await eventually(() => expect(store.openSockets).toBe(0));
    await store.close();
  });

  it("is complete and correct with every kind of fault in one body, and requests only the rest each time", async () => {
    store.faults.place({ error: { status: 503, code: "SlowDown" }, times: 1 });
    store.faults.place({ reset: true, times: 2 });
    store.faults.place({ body: { afterBytes: 3 * MiB + 5, how: "reset" }, times: 3 });
    store.faults.place({ body: { afterBytes: 2 * MiB + 1, how: "stall" }, times: 4 });
    store.faults.place({ body: { afterBytes: MiB + 9, how: "close" }, times: 5 });
    // If this process stands still for longer than the timeout, that is a stall, too.
    const impatient = retryingBy({ attempts: 50, idleTimeoutMs: 300 });
    const bytes = await bytesOf(await impatient.fetch(rangeOf(ref, { offset: 13, length: 32 * MiB })));
    expect(bytes.equals(rampBytes(13, 32 * MiB, 11))).toBe(true);
    expect(retries.length).toBeGreaterThanOrEqual(5);
    const answered = store.traffic.gets.filter(({ status }) => status === 206);
    for (const [at, get] of answered.entries()) {
      expect(get.end).toBe(13 + 32 * MiB);
      if (at > 0) expect(get.start).toBeGreaterThanOrEqual(answered[at - 1]!.start);
    }
  });

  it("is FAILED_PRECONDITION if the object is overwritten in between, never bytes of both versions", async () => {
    store.faults.place({ body: { afterBytes: MiB, how: "reset" }, times: 1 });
    const answer = await origin.fetch(rangeOf(ref, { offset: 0, length: 8 * MiB }));
    store.putRamp("bucket", "ramp", 64 * MiB, 12);
    await expect(bytesOf(answer)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });

  it.each([
    ["is not XML", "Please log in"],
    ["is well-formed", "<html><body>Please log in</body></html>"],
    ["is empty", ""],
  ])("fails after one retry, with a message that says so, if the response is a web page that %s", async (_, page) => {
    store.faults.place({ page });
    const listing = origin.ask(pageOf(parsePrefixUrl("s3://bucket/a")));
    const message =
      "s3://bucket/a: the origin's answer is not S3's XML: check the endpoint, and proxies in front of it (2 attempts)";
    await expect(listing).rejects.toMatchObject({ code: "UNAVAILABLE", message });
    await expect(origin.fetch(rangeOf(ref, { offset: 0, length: 1 }))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(store.traffic.requests).toEqual({ GET: 4 });
  });

  it("fails with RESOURCE_EXHAUSTED or UNAVAILABLE after a bounded number of requests if the store stays down", async () => {
    store.faults.place({ error: { status: 503, code: "SlowDown" } });
    await expect(origin.fetch(rangeOf(ref, { offset: 0, length: 1 }))).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    store.faults.clear();
    store.faults.place({ error: { status: 500, code: "InternalError" } });
    await expect(origin.ask(statOf(ref))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(store.traffic.requests).toEqual({ GET: 6, HEAD: 6 });
  });
});
