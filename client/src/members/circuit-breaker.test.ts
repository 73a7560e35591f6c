import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { CircuitBreaker } from "./circuit-breaker.js";
import { orderByAvailability } from "./failover.js";
import { type MemberAddress, Unreachable } from "./ports.js";

const [a, b, c] = ["a:1", "b:1", "c:1"].map((grpcAddress) => ({ grpcAddress })) as [
  { grpcAddress: string },
  { grpcAddress: string },
  { grpcAddress: string },
];

const refused = new Unreachable("connection refused");

function setUp(watched: readonly string[] = []) {
  const clock = new ManualClock(0);
  const probes: { address: string; answer: () => void; fail: () => void }[] = [];
  const changes: string[] = [];
  const breaker = new CircuitBreaker({
    clock,
    openFor: { firstMs: 1_000, longestMs: 4_000 },
    isWatched: (address) => watched.includes(address),
    probe: (address, signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener("abort", reject);
        probes.push({ address, answer: resolve, fail: () => reject(new Error("lost")) });
      }),
    onChange: (address, failure) => changes.push(`${address} ${failure?.message ?? "reachable"}`),
  });
  const order = (addresses: readonly MemberAddress[]) => orderByAvailability(addresses, breaker);
  return { clock, probes, changes, breaker, order };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("a circuit breaker", () => {
  it("keeps the order of members that answer", () => {
    const { breaker, order, probes } = setUp();
    for (const address of [a, b, c]) breaker.succeeded(address.grpcAddress);
    expect(order([c, a, b])).toEqual([c, a, b]);
    expect(probes).toEqual([]);
  });

  it("tries unknown members in order, without a probe, while no member is known to answer", () => {
    const { order, probes } = setUp();
    expect(order([a, b])).toEqual([a, b]);
    expect(probes).toEqual([]);
  });

  it("puts a member that answers before unknown ones, and probes those that had precedence", async () => {
    const { breaker, order, probes } = setUp();
    breaker.succeeded("b:1");
    expect(order([a, b, c])).toEqual([b, a, c]);
    expect(order([a, b, c])).toEqual([b, a, c]);
    expect(probes.map(({ address }) => address)).toEqual(["a:1"]);
    probes[0]!.answer();
    await settled();
    expect(order([a, b, c])).toEqual([a, b, c]);
  });

  it("puts a lost member last until a probe succeeds", async () => {
    const { clock, breaker, order, probes } = setUp();
    for (const address of [a, b]) breaker.succeeded(address.grpcAddress);
    breaker.failed("a:1", refused);
    expect(order([a, b])).toEqual([b, a]);
    expect(probes).toEqual([]);
    clock.advance(1_000);
    expect(order([a, b])).toEqual([b, a]);
    expect(probes.length).toBe(1);
    probes[0]!.answer();
    await settled();
    expect(order([a, b])).toEqual([a, b]);
  });

  it("increases the delay after each failed probe up to a maximum, and counts concurrent failures once", async () => {
    const { clock, breaker, order, probes } = setUp();
    for (const address of [a, b]) breaker.succeeded(address.grpcAddress);
    const openMs: number[] = [];
    breaker.failed("a:1", refused);
    breaker.failed("a:1", refused);
    for (let failure = 0; failure < 5; failure++) {
      const beganMs = clock.monotonicMs();
      for (let step = 0; step < 1_000 && probes.length === failure; step++) {
        clock.advance(50);
        order([a, b]);
      }
      openMs.push(clock.monotonicMs() - beganMs);
      probes[failure]!.fail();
      await settled();
    }
    // Three quarters of 1,000, 2,000 and 4,000 ms.
    expect(openMs).toEqual([750, 1_500, 3_000, 3_000, 3_000]);
  });

  it("aborts its probes when it is closed and starts no more", async () => {
    const { breaker, order, probes } = setUp();
    breaker.succeeded("b:1");
    order([a, b]);
    await breaker.close();
    order([c, b]);
    expect(probes.length).toBe(1);
  });

  it("forgets removed members", () => {
    const { breaker, order } = setUp();
    for (const address of [a, b]) breaker.succeeded(address.grpcAddress);
    breaker.failed("a:1", refused);
    breaker.keepOnly(new Set(["b:1"]));
    expect(order([a, c, b])).toEqual([b, a, c]);
  });

  it("is half open after a successful probe: the next call closes it, or opens it for longer", async () => {
    const { clock, breaker, probes, changes } = setUp();
    breaker.failed("a:1", refused);
    expect(breaker.isOpen("a:1")).toBe(true);
    clock.advance(1_000);
    expect(breaker.isOpen("a:1")).toBe(true);
    probes[0]!.answer();
    await settled();
    expect(breaker.isOpen("a:1")).toBe(false);
    breaker.failed("a:1", refused);
    clock.advance(1_000);
    breaker.isOpen("a:1");
    expect(probes.length).toBe(1);
    clock.advance(1_000);
    breaker.isOpen("a:1");
    probes[1]!.answer();
    await settled();
    breaker.succeeded("a:1");
    expect(breaker.isOpen("a:1")).toBe(false);
    expect(changes).toEqual(["a:1 connection refused", "a:1 reachable"]);
  });

  it("probes an address again and again until it answers, although nobody asks for it, if it is watched", async () => {
    const { clock, breaker, probes } = setUp(["a:1"]);
    breaker.failed("a:1", refused);
    breaker.failed("b:1", refused);
    for (let made = 1; made <= 3; made++) {
      clock.advance(4_000);
      expect(probes.length).toBe(made);
      if (made === 3) break;
      probes.at(-1)!.fail();
      await settled();
    }
    expect(breaker.answeredAtMs("a:1")).toBe(Number.NEGATIVE_INFINITY);
    probes.at(-1)!.answer();
    await settled();
    expect(breaker.isOpen("a:1")).toBe(false);
    expect(breaker.answeredAtMs("a:1")).toBe(clock.monotonicMs());
    clock.advance(10_000);
    expect(probes.length).toBe(3);
  });

  it.each([
    ["it is forgotten", (breaker: CircuitBreaker) => breaker.keepOnly(new Set())],
    ["a call succeeds", (breaker: CircuitBreaker) => breaker.succeeded("a:1")],
    ["the breaker is closed", (breaker: CircuitBreaker) => breaker.close()],
  ])("probes an address no more when %s", async (_, end) => {
    const { clock, breaker, probes } = setUp(["a:1"]);
    breaker.failed("a:1", refused);
    await end(breaker);
    clock.advance(10_000);
    expect(probes).toEqual([]);
  });
});
