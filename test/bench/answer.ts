import { median, ratioOf, type Standing } from "./measure.js";

/** One line of a result. `atLeast` or `atMost` is its target, if it has one. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** A bar chart. */
export interface Chart {
  readonly unit: string;
  /** Names of the values of each bar; absent: each bar has one value. */
  readonly groups?: readonly string[];
  readonly bars: readonly Bar[];
}

export interface Bar {
  readonly name: string;
  /** One value for each group. */
  readonly values: readonly number[];
  /** Whether the bar belongs to frontcache. */
  readonly ours: boolean;
}

/** A table whose first column names the row. */
export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number | undefined)[])[];
}

/** The answer of a question. */
export interface Answer {
  readonly tables?: readonly Table[];
  readonly figures: readonly Figure[];
  readonly chart: Chart;
}

/** A question that is answered by a measurement. */
export interface Benchmark {
  readonly question: string;
  run(): Promise<Answer>;
}

/** Whether a figure meets its target; true if it has none. */
export function isMet({ value, atLeast, atMost }: Figure): boolean {
  return (atLeast === undefined || value >= atLeast) && (atMost === undefined || value <= atMost);
}

/** A chart of the figures that have a unit. */
export function barsOf(figures: readonly Figure[], unit: string): Chart {
  const bars = figures.filter((figure) => figure.unit === unit).map(({ name, value }) => ({ name, values: [value], ours: true }));
  return { unit, bars };
}

/** Names of frontcache's own contestants begin with this. */
export const OURS = "frontcache";

type Rate = "GB/s" | "reads/s";

function rateOf(standing: Standing, unit: Rate): number {
  return unit === "GB/s" ? standing.gigabytesPerSecond : standing.readsPerSecond;
}

/** A table of standings, sorted by rate. */
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

/** A chart of one or several groups of standings, sorted by the rate in the first group. */
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

/** The rate of one contestant over that of another as a figure; empty if one of them did not take part. */
export function ratio(
  standings: Map<string, Standing>,
  { name, of, to, atLeast }: { name: string; of: string; to: string; atLeast?: number },
): Figure[] {
  const [first, second] = [standings.get(of), standings.get(to)];
  if (first === undefined || second === undefined) return [];
  const value = first.readsPerSecond / second.readsPerSecond;
  return [{ name, value, unit: "x", ...(atLeast === undefined ? {} : { atLeast }) }];
}

/** Whose CPU is compared. */
interface Compared {
  readonly title: string;
  readonly member: Standing;
  readonly other: Standing;
  /** What the other server is, after "CPU of". */
  readonly otherName: string;
  readonly atMost: number;
}

/**
 * CPU of a member for a read beside that of another server: medians of the rounds, and of the ratios of rounds that followed each other,
 * so that a busy moment of the machine affects both.
 */
export function cpuFigures({ title, member, other, otherName, atMost }: Compared): Figure[] {
  const { median: value, low, high } = ratioOf(member.serverUs, other.serverUs);
  const name = `${title}: member / ${otherName}`;
  return [
    { name: `${title}: CPU of the member`, value: median(member.serverUs), unit: "us" },
    { name: `${title}: CPU of ${otherName}`, value: median(other.serverUs), unit: "us" },
    { name, value, unit: "x", atMost },
    { name: `${name}, at 95 % confidence more than`, value: low, unit: "x" },
    { name: `${name}, at 95 % confidence less than`, value: high, unit: "x" },
  ];
}
