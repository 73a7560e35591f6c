import { describe, expect, it } from "vitest";
import { runCluster } from "./cluster-run.js";
import { makeSteps } from "./cluster-steps.js";

const first = Number(process.env.FRONTCACHE_SIM_SEED ?? 1);
const seeds = process.env.FRONTCACHE_SIM_SEED === undefined ? 20 : 1;
const STEPS = 300;

describe("a simulated cluster", () => {
  it.each(Array.from({ length: seeds }, (_, i) => first + i))("keeps every promise, seed %d", async (seed) => {
    const report = await runCluster(seed, makeSteps(seed, STEPS));
    expect(report.broken).toEqual([]);
    expect(report.served).toBeGreaterThan(20);
  });
});
