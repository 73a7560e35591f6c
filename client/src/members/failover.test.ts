import { CacheError } from "@frontcache/proto";
import type { Backoff } from "@frontcache/proto/runtime";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { CircuitBreaker } from "./circuit-breaker.js";
import { orderByAvailability, withFailover } from "./failover.js";
import { type MemberAddress, Unreachable } from "./ports.js";
import { RunningCall } from "./running-call.js";

const addresses = [{ grpcAddress: "a:1" }, { grpcAddress: "b:1" }];
const passing = () => new CacheError("UNAVAILABLE", "the origin is down");

function setUp(attempts = 6, backoff: Backoff | undefined = { firstMs: 100, longestMs: 1_000 }) {
  const clock = new ManualClock(0);
  const openFor = { firstMs: 1_000, longestMs: 1_000 };
  const breaker = new CircuitBreaker({ clock, openFor, probe: async () => undefined });
  for (const { grpcAddress } of addresses) breaker.succeeded(grpcAddress);
  const call = new RunningCall({ clock, subject: "file", deadlineMs: 10_000 });
  const asked: string[] = [];
  const go = (at: (address: MemberAddress, count: number) => unknown) => {
    const work = async (address: MemberAddress): Promise<unknown> => {
      asked.push(address.grpcAddress);
      return at(address, asked.length);
    };
    return withFailover({ addresses, at: work }, call, { clock, breaker, attempts, backoff });
  };
  return { clock, breaker, call, asked, go };
}

function throws(error: unknown): never {
  throw error;
}

describe("failover", () => {
  it("tries the next member immediately if one is unreachable, and puts that one last", async () => {
    const { asked, clock, breaker, go } = setUp();
    const result = go(({ grpcAddress }) => (grpcAddress === "a:1" ? throws(new Unreachable("gone")) : "done"));
    expect(await result).toBe("done");
    expect(asked).toEqual(["a:1", "b:1"]);
    expect(clock.monotonicMs()).toBe(0);
    expect(orderByAvailability(addresses, breaker)).toEqual([addresses[1], addresses[0]]);
  });

  it("waits before it retries a retryable error", async () => {
    const { asked, clock, go } = setUp();
    const result = go((_, count) => (count < 4 ? throws(passing()) : "done"));
    expect(await clock.run(result)).toBe("done");
    expect(asked).toEqual(["a:1", "b:1", "a:1", "b:1"]);
    // Three quarters of 100, 200 and 400 ms: half of each wait is fixed, chance gives half of the rest.
    expect(clock.monotonicMs()).toBe(525);
  });

  it("ends with the last error after the maximum number of attempts", async () => {
    const { asked, clock, go } = setUp(3);
    await expect(clock.run(go(() => throws(passing())))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(asked.length).toBe(3);
  });

  it.each(["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"] as const)(
    "does not retry %s if the origin was tried already",
    async (code) => {
      const { asked, go } = setUp();
      const tried = new CacheError(code, "the origin is down", { isOriginTried: true });
      await expect(go(() => throws(tried))).rejects.toBe(tried);
      expect(asked).toEqual(["a:1"]);
    },
  );

  it("retries an invalid response once", async () => {
    const { asked, clock, go } = setUp();
    await expect(clock.run(go(() => throws(new CacheError("INTERNAL", "wrong"))))).rejects.toMatchObject({ code: "INTERNAL" });
    expect(asked).toEqual(["a:1", "b:1"]);
  });

  it.each(["NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "PERMISSION_DENIED", "INVALID_ARGUMENT"] as const)(
    "does not retry %s",
    async (code) => {
      const { asked, go } = setUp();
      await expect(go(() => throws(new CacheError(code, "no")))).rejects.toMatchObject({ code });
      expect(asked.length).toBe(1);
    },
  );

  it("ends with the deadline and leaves no timer", async () => {
    const { clock, call, go } = setUp(1_000);
    await expect(clock.run(go(() => throws(passing())))).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(clock.monotonicMs()).toBe(10_000);
    call.end();
    expect(clock.waits).toBe(0);
  });

  it("ends immediately when the call is aborted while it waits", async () => {
    const { clock, call, go } = setUp();
    const result = go(() => throws(passing()));
    await new Promise((resolve) => setImmediate(resolve));
    call.abort(new CacheError("CANCELLED", "enough"));
    await expect(result).rejects.toMatchObject({ code: "CANCELLED", message: "enough" });
    expect(clock.waits).toBe(0);
  });
});
