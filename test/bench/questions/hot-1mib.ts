import { type Benchmark, ratio, standingsChart, standingsTable } from "../answer.js";
import { hotReads, names } from "../hot-reads.js";
import { MiB, onStage } from "../stage.js";

export const benchmark: Benchmark = {
  question: "How fast are cached ranges of 1 MiB, read one at a time?",
  run: () =>
    onStage(async (stage) => {
      const standings = await hotReads(stage, { length: MiB, concurrency: 1, rounds: 5, roundMs: 250, warmUpMs: 1_000 });
      return {
        tables: [standingsTable("1 MiB, one at a time", standings, "GB/s")],
        figures: [
          ...ratio(standings, { name: "readRange / raw Node TCP", of: names.ours, to: names.tcp }),
          ...ratio(standings, { name: "readRange / undici", of: names.ours, to: "undici" }),
        ],
        chart: standingsChart(new Map([["", standings]]), "GB/s"),
      };
    }),
};
