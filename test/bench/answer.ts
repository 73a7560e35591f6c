import type { Standing } from "./measure.js";

/** One line of a result: what was asked, what came out. `value` is compared with `atLeast` or `atMost` where one is given. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** Bars beside each other, in groups where there are several. */
export interface Chart {
  readonly unit: string;
  /** What the values of each bar are; absent: there is one. */
  readonly groups?: readonly string[];
  readonly bars: readonly Bar[];
}

export interface Bar {
  readonly name: string;
  /** One for each group. */
  readonly values: readonly number[];
  /** Whether it is frontcache's. */
  readonly ours: boolean;
}

/** Rows under columns; the first one names what the row is about. */
export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number | undefined)[])[];
}

/** What a question came to. */
export interface Answer {
  readonly tables?: readonly Table[];
  readonly figures: readonly Figure[];
  readonly chart: Chart;
}

/** One question with a way to answer it by measuring. */
export interface Benchmark {
  readonly question: string;
  run(): Promise<Answer>;
}

/** Whether the figure is what was asked for; true where nothing was asked. */
export function holds({ value, atLeast, atMost }: Figure): boolean {
  return (atLeast === undefined || value >= atLeast) && (atMost === undefined || value <= atMost);
}

/** The figures of one unit as bars. */
export function barsOf(figures: readonly Figure[], unit: string): Chart {
  const bars = figures.filter((figure) => figure.unit === unit).map(({ name, value }) => ({ name, values: [value], ours: true }));
  return { unit, bars };
}

/** The names of frontcache's own contestants begin with this. */
export const OURS = "frontcache";

type Rate = "GB/s" | "reads/s";

function rateOf(standing: Standing, unit: Rate): number {
  return unit === "GB/s" ? standing.gigabytesPerSecond : standing.readsPerSecond;
}

/** Standings as a table, in the order of their rates. */
export function standingsTable(title: string, standings: Map<string, Standing>, unit: Rate): Table {
  const sorted = [...standings.values()].toSorted((a, b) => rateOf(b, unit) - rateOf(a, unit));
  return {
    columns: [title, unit, "us a read", "client CPU s/GB", "server CPU s/GB"],
    rows: sorted.map((standing) => [
      standing.name,
      rateOf(standing, unit),
      1e6 / standing.readsPerSecond,
      standing.clientCpu,
      standing.serverCpu,
    ]),
  };
}

/** Standings as bars, one group for each of several, in the order of the first. */
export function standingsChart(groups: ReadonlyMap<string, Map<string, Standing>>, unit: Rate): Chart {
  const all = [...groups.values()];
  const names = [...all[0]!.keys()].toSorted((a, b) => rateOf(all[0]!.get(b)!, unit) - rateOf(all[0]!.get(a)!, unit));
  const bars = names.map((name) => ({
    name,
    values: all.map((standings) => rateOf(standings.get(name)!, unit)),
    ours: name.startsWith(OURS),
  }));
  return { unit, ...(groups.size > 1 ? { groups: [...groups.keys()] } : {}), bars };
}

/** How much faster one contestant was than another, as a figure; undefined where one of them did not take part. */
export function ratio(
  standings: Map<string, Standing>,
  { name, of, to, atLeast }: { name: string; of: string; to: string; atLeast?: number },
): Figure[] {
  const [first, second] = [standings.get(of), standings.get(to)];
  if (first === undefined || second === undefined) return [];
  const value = first.readsPerSecond / second.readsPerSecond;
  return [{ name, value, unit: "x", ...(atLeast === undefined ? {} : { atLeast }) }];
}
