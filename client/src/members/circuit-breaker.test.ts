import { describe, expect, it } from "vitest";
import { ManualClock } from "../testing/manual-clock.js";
import { Reach } from "./circuit-breaker.js";

const [a, b, c] = ["a:1", "b:1", "c:1"].map((grpcAddress) => ({ grpcAddress })) as [
  { grpcAddress: string },
  { grpcAddress: string },
  { grpcAddress: string },
];

function setUp() {
  const clock = new ManualClock();
  const probes: { address: string; answer: () => void; fail: () => void }[] = [];
  const reach = new Reach({
    clock,
    asideFor: { firstMs: 1_000, longestMs: 4_000 },
    probe: ({ grpcAddress }, signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener("abort", reject);
        probes.push({ address: grpcAddress, answer: resolve, fail: () => reject(new Error("lost")) });
      }),
  });
  return { clock, probes, reach };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("reach", () => {
  it("keeps the order of members that answer", () => {
    const { reach, probes } = setUp();
    for (const address of [a, b, c]) reach.answered(address);
    expect(reach.order([c, a, b])).toEqual([c, a, b]);
    expect(probes).toEqual([]);
  });

  it("tries the unknown in order, without a probe, while nobody is known to answer", () => {
    const { reach, probes } = setUp();
    expect(reach.order([a, b])).toEqual([a, b]);
    expect(probes).toEqual([]);
  });

  it("puts one that answers before the unknown, and has those probed that were to come first", async () => {
    const { reach, probes } = setUp();
    reach.answered(b);
    expect(reach.order([a, b, c])).toEqual([b, a, c]);
    expect(reach.order([a, b, c])).toEqual([b, a, c]);
    expect(probes.map(({ address }) => address)).toEqual(["a:1"]);
    probes[0]!.answer();
    await settled();
    expect(reach.order([a, b, c])).toEqual([a, b, c]);
  });

  it("leaves a lost member aside until a probe reaches it again", async () => {
    const { clock, reach, probes } = setUp();
    for (const address of [a, b]) reach.answered(address);
    reach.lost(a);
    expect(reach.order([a, b])).toEqual([b, a]);
    expect(probes).toEqual([]);
    clock.advance(1_000);
    expect(reach.order([a, b])).toEqual([b, a]);
    expect(probes.length).toBe(1);
    probes[0]!.answer();
    await settled();
    expect(reach.order([a, b])).toEqual([a, b]);
  });

  it("waits longer after each failed probe, up to a bound, and counts reads that failed together once", async () => {
    const { clock, reach, probes } = setUp();
    for (const address of [a, b]) reach.answered(address);
    const asideMs: number[] = [];
    reach.lost(a);
    reach.lost(a);
    for (let failure = 0; failure < 5; failure++) {
      const beganMs = clock.monotonicMs();
      for (let step = 0; step < 1_000 && probes.length === failure; step++) {
        clock.advance(50);
        reach.order([a, b]);
      }
      asideMs.push(clock.monotonicMs() - beganMs);
      probes[failure]!.fail();
      await settled();
    }
    // Three quarters of 1,000, 2,000 and 4,000 ms.
    expect(asideMs).toEqual([750, 1_500, 3_000, 3_000, 3_000]);
  });

  it("ends its probes when closed and begins no more", async () => {
    const { reach, probes } = setUp();
    reach.answered(b);
    reach.order([a, b]);
    await reach.close();
    reach.order([c, b]);
    expect(probes.length).toBe(1);
  });

  it("forgets members that left", () => {
    const { reach } = setUp();
    for (const address of [a, b]) reach.answered(address);
    reach.lost(a);
    reach.keepOnly([b]);
    expect(reach.order([a, c, b])).toEqual([b, a, c]);
  });
});
