import { describe, expect, it } from "vitest";
import { simulateValues } from "../testing/values-simulation.js";

const FIRST_SEED = Number(process.env.VALUES_SEED ?? 1);
const SEEDS = Number(process.env.VALUES_SEEDS ?? 3);

describe("simulated clusters of values", () => {
  it(
    `return what was written last, and nothing else, in ${SEEDS} runs from seed ${FIRST_SEED} on (VALUES_SEED, VALUES_SEEDS)`,
    async () => {
      for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) expect(await simulateValues(seed)).toEqual([]);
    },
    60_000 + SEEDS * 10_000,
  );
});
