import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { corpusOf, inputsFor } from "./inputs.js";
import { targets } from "./targets.js";

/** For long runs use `npm run fuzz`; to repeat a run set FRONTCACHE_FUZZ_SEED. */
const runs = Number(process.env.FRONTCACHE_FUZZ_RUNS ?? 500);
const seconds = Number(process.env.FRONTCACHE_FUZZ_SECONDS ?? 0);
const seed = Number(process.env.FRONTCACHE_FUZZ_SEED ?? (seconds > 0 ? Date.now() % 2 ** 31 : 1));

describe("parsers of untrusted input", () => {
  for (const target of targets) {
    it(`${target.name}: accept or reject every input as documented (seed ${seed})`, {
      timeout: seconds * 1_000 + 60_000,
    }, async () => {
      for (const input of corpusOf(target)) await target.check(input);
      const limit =
        seconds > 0 ? { interruptAfterTimeLimit: seconds * 1_000, numRuns: Number.MAX_SAFE_INTEGER } : { numRuns: runs };
      const details = await fc.check(
        fc.asyncProperty(inputsFor(target), async (input) => {
          await target.check(input);
        }),
        { ...limit, seed, markInterruptAsFailure: false },
      );
      if (seconds > 0) console.info(`${target.name}: ${details.numRuns} inputs`);
      // An input that fails here belongs in the corpus, together with the fix.
      expect(details.failed ? { input: details.counterexample, error: String(details.errorInstance) } : {}).toEqual({});
    });
  }
});
