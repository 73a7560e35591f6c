import { describe, expect, it } from "vitest";
import { breakableVersionRules } from "./broken-rules.js";
import { type RunReport, runCluster } from "./cluster-run.js";
import { makeSteps } from "./step-makers.js";

const STEPS = 200;
const subject = "versions";

describe("a simulated cluster whose objects are overwritten while members freeze, crash, come and go", () => {
  it.each([1, 2, 3, 43])("answers no read with an older version than anyone has received, seed %d", async (seed) => {
    const report = await runCluster(seed, makeSteps(seed, STEPS, subject), { subject });
    expect(report.broken).toEqual([]);
    expect(report.served).toBeGreaterThan(20);
  });

  it("repeats a run exactly from its seed", async () => {
    const [one, other] = [
      await runCluster(2, makeSteps(2, STEPS, subject), { subject }),
      await runCluster(2, makeSteps(2, STEPS, subject), { subject }),
    ];
    expect(other).toEqual(one);
  });
});

/** Rules, and a seed that finds each: it is tried first, which saves the time of those before. */
const foundBy = {
  "version-changed": 8,
  "version-rejected": 8,
  "lease-clock": 21,
  substitution: 1,
  "hand-over-confirmed": 8,
  "hand-over-awaited": 8,
  "self-fencing": 2,
  absence: 8,
};

describe("a rule about versions that is broken on purpose", () => {
  it.each(Object.entries(foundBy))("is found within 50 seeds: %s", async (rule, first) => {
    let found: RunReport | undefined;
    for (let seed = first; seed <= 50 && found === undefined; seed++) {
      const rules = breakableVersionRules[rule]!;
      const report = await runCluster(seed, makeSteps(seed, STEPS, subject), { rules, subject });
      if (report.broken.length > 0) found = report;
    }
    expect(found).toBeDefined();
  });
});
