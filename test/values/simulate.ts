// npm run values:simulate -- --seeds 200      members in one process that die, lose their disks and are cut off, against a model
// npm run values:simulate -- --plant [rule]   breaks each rule on purpose, or one, and prints the first seed that finds it
// Exits with 1 if a value was wrong, or if a broken rule was not found.

import { parseArgs } from "node:util";
import { breakableValueRules, simulateValues } from "@frontcache/server/testing";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: "string", default: "20" },
    first: { type: "string", default: "1" },
    plant: { type: "boolean", default: false },
  },
});

const first = Number(values.first);
const last = first + Number(values.seeds) - 1;

/** The first seed that finds something wrong. */
async function firstFound(): Promise<{ readonly seed: number; readonly faults: readonly string[] } | undefined> {
  for (let seed = first; seed <= last; seed++) {
    const faults = await simulateValues(seed);
    if (faults.length > 0) return { seed, faults };
  }
  return undefined;
}

if (values.plant) {
  for (const name of positionals.length > 0 ? positionals : Object.keys(breakableValueRules)) {
    const mend = breakableValueRules[name]!.breakIt();
    const found = await firstFound().finally(mend);
    console.log(
      `${name}: ${found === undefined ? `not found by ${values.seeds} seeds` : `seed ${found.seed}: ${found.faults[0]}`}`,
    );
    if (found === undefined) process.exitCode = 1;
  }
} else {
  const broken: number[] = [];
  for (let seed = first; seed <= last; seed++) {
    const faults = await simulateValues(seed);
    for (const fault of faults) console.log(fault);
    if (faults.length > 0) broken.push(seed);
  }
  console.log(`${last - first + 1 - broken.length} of ${last - first + 1} seeds, broken: ${broken.join(", ") || "none"}`);
  if (broken.length > 0) process.exitCode = 1;
}
