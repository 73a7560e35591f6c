import { type Answer, type Figure, standingsChart, standingsTable } from "./answer.js";
import { hotReads } from "./hot-reads.js";
import type { Standing } from "./measure.js";
import { onStage } from "./stage.js";

const TURNS = { rounds: 7, roundMs: 200, warmUpMs: 2_000 };

/** Held ranges of `length` bytes, one at a time and sixteen at a time. */
export function smallReads(
  length: number,
  title: string,
  asked: (one: Map<string, Standing>, sixteen: Map<string, Standing>) => Figure[],
): Promise<Answer> {
  return onStage(async (stage) => {
    const one = await hotReads(stage, { length, readers: 1, ...TURNS });
    const sixteen = await hotReads(stage, { length, readers: 16, ...TURNS });
    const both = [...one.keys()].filter((name) => sixteen.has(name));
    const only = (standings: Map<string, Standing>): Map<string, Standing> =>
      new Map(both.map((name) => [name, standings.get(name)!]));
    const groups = new Map([
      ["one at a time", only(one)],
      ["sixteen at a time", only(sixteen)],
    ]);
    return {
      tables: [
        standingsTable(`${title}, one at a time`, one, "reads/s"),
        standingsTable(`${title}, sixteen at a time`, sixteen, "reads/s"),
      ],
      figures: asked(one, sixteen),
      chart: standingsChart(groups, "reads/s"),
    };
  });
}
