import type { Benchmark, Figure } from "../answer.js";
import { contestants } from "../eviction/contestants.js";
import { bestHitRatio, hitRatio } from "../eviction/simulated-cache.js";
import { traces } from "../eviction/traces.js";

export const benchmark: Benchmark = {
  question: "Which eviction policy has the best hit ratio? In %, for a cache of a tenth of the blocks",
  async run() {
    const names = [...Object.keys(contestants), "optimum"];
    const rows: (string | number)[][] = [];
    const figures: Figure[] = [];
    for (const trace of traces()) {
      const ratios = Object.values(contestants).map((make) => hitRatio(trace, make()) * 100);
      ratios.push(bestHitRatio(trace) * 100);
      rows.push([trace.name, ...ratios]);
      const of = (name: string): number => ratios[names.indexOf(name)]!;
      figures.push({ name: `${trace.name}: slru over lru`, value: of("slru") - of("lru"), unit: "points", atLeast: 0 });
    }
    // The chart shows the means over the traces.
    const bars = names.map((name, index) => ({
      name,
      values: [rows.reduce((sum, row) => sum + (row[index + 1] as number), 0) / rows.length],
      ours: name === "slru",
    }));
    return { tables: [{ columns: ["trace", ...names], rows }], figures, chart: { unit: "% hits, mean of all traces", bars } };
  },
};
