import { describe, expect, it } from "vitest";
import { breakableVersionRules, subjectsOfRules } from "./broken-rules.js";
import { type RunReport, runCluster } from "./cluster-run.js";
import { makeSteps } from "./step-makers.js";

const STEPS = 200;
const subject = "versions";

describe("a simulated cluster whose objects are overwritten while members freeze, crash, come and go", () => {
  it.each([1, 43])("answers no read with an older version than anyone has received, seed %d", async (seed) => {
    const report = await runCluster(seed, makeSteps(seed, STEPS, subject), { subject });
    expect(report.broken).toEqual([]);
    expect(report.served).toBeGreaterThan(20);
  });

  it.each([2])("answers with what was written through any member as soon as the write is acknowledged, seed %d", async (seed) => {
    const report = await runCluster(seed, makeSteps(seed, STEPS, "writes"), { subject: "writes" });
    expect(report.broken).toEqual([]);
    expect(report.served).toBeGreaterThan(20);
  });

  it.each([2])("answers by no origin's answer that a newer one has overtaken, seed %d", async (seed) => {
    const report = await runCluster(seed, makeSteps(seed, STEPS, "overtaken"), { subject: "overtaken" });
    expect(report.broken).toEqual([]);
    expect(report.served).toBeGreaterThan(20);
  });

  it.each([5])(
    "answers consistently on each side of a divided network, and while members start with different lists, seed %d",
    async (seed) => {
      const report = await runCluster(seed, makeSteps(seed, STEPS, "divided"), { subject: "divided" });
      expect(report.broken).toEqual([]);
      expect(report.served).toBeGreaterThan(20);
    },
  );

  it("repeats a run exactly from its seed", async () => {
    const [one, other] = [
      await runCluster(2, makeSteps(2, STEPS / 2, subject), { subject }),
      await runCluster(2, makeSteps(2, STEPS / 2, subject), { subject }),
    ];
    expect(one.broken).toEqual([]);
    expect(other).toEqual(one);
  });
});

/** Rules, and the seed that is tried first for each: that saves the time of those before. */
const foundBy: Record<string, number> = {
  "version-changed": 8,
  "version-rejected": 8,
  "lease-clock": 21,
  "observation-date": 2,
  substitution: 1,
  "hand-over-confirmed": 8,
  "hand-over-awaited": 8,
  "self-fencing": 2,
  absence: 8,
  "write-reported": 1,
  "write-announced": 15,
  "entry-taken-over": 46,
  "return-noticed": 6,
};

describe("a rule about versions that is broken on purpose", () => {
  it("is one of those that the runs are known to find", () => {
    expect(Object.keys(foundBy).sort()).toEqual(Object.keys(breakableVersionRules).sort());
  });

  it.each(Object.entries(foundBy))("is found within 50 seeds: %s", async (name, first) => {
    const [rules, subject] = [breakableVersionRules[name]!, subjectsOfRules[name]!];
    let found: RunReport | undefined;
    for (let seed = first; seed <= 50 && found === undefined; seed++) {
      const report = await runCluster(seed, makeSteps(seed, STEPS, subject), { rules, subject });
      if (report.broken.length > 0) found = report;
    }
    expect(found).toBeDefined();
  });
});
