import { contestants } from "../eviction/contestants.js";
import { bestHitRatio, hitRatio } from "../eviction/simulated-cache.js";
import { traces } from "../eviction/traces.js";
import type { Benchmark, Figure } from "../measure.js";

const COLUMN = 9;

export const benchmark: Benchmark = {
  question: "Which eviction policy finds most of what is read? Hit ratios in %, of a cache of a tenth of the blocks",
  async run() {
    const names = [...Object.keys(contestants), "optimum"];
    console.log(`  ${"".padEnd(40)}${names.map((name) => name.padStart(COLUMN)).join("")}`);
    const figures: Figure[] = [];
    for (const trace of traces()) {
      const ratios = Object.values(contestants).map((make) => hitRatio(trace, make()) * 100);
      ratios.push(bestHitRatio(trace) * 100);
      console.log(`  ${trace.name.padEnd(40)}${ratios.map((ratio) => ratio.toFixed(1).padStart(COLUMN)).join("")}`);
      const of = (name: string): number => ratios[names.indexOf(name)]!;
      figures.push({ name: `${trace.name}: slru over lru`, value: of("slru") - of("lru"), unit: "points", atLeast: 0 });
    }
    return figures;
  },
};
