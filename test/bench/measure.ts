/** The middle of some figures. */
export function median(figures: readonly number[]): number {
  const sorted = figures.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** How long some work takes, in milliseconds. */
export async function timeMs(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

/** Something that is measured against others in the same run. */
export interface Contestant {
  readonly name: string;
  /** One round; resolves to the bytes that it read. */
  run(): Promise<number>;
}

/**
 * Bytes per second of each contestant: the median of `rounds`, after one round to warm up. They take turns, so that a machine
 * that becomes faster or slower meanwhile does so for all of them.
 */
export async function takeTurns(contestants: readonly Contestant[], rounds: number): Promise<Map<string, number>> {
  const rates = new Map(contestants.map(({ name }) => [name, [] as number[]]));
  for (let round = -1; round < rounds; round++) {
    for (const { name, run } of contestants) {
      let bytes = 0;
      const ms = await timeMs(async () => {
        bytes = await run();
      });
      if (round >= 0) rates.get(name)!.push((bytes / ms) * 1000);
    }
  }
  return new Map([...rates].map(([name, figures]) => [name, median(figures)]));
}

/** One line of a result: what was asked, what came out. `value` is compared with `atLeast` or `atMost` where one is given. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** One question with a way to answer it by measuring. */
export interface Benchmark {
  readonly question: string;
  run(): Promise<Figure[]>;
}

function format(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** Whether the figure is what was asked for; true where nothing was asked. */
export function holds({ value, atLeast, atMost }: Figure): boolean {
  return (atLeast === undefined || value >= atLeast) && (atMost === undefined || value <= atMost);
}

/** A figure as a line of text. */
export function line(figure: Figure): string {
  const { name, value, unit, atLeast, atMost } = figure;
  const asked =
    atLeast !== undefined ? `  (at least ${format(atLeast)})` : atMost !== undefined ? `  (at most ${format(atMost)})` : "";
  return `  ${name.padEnd(58)} ${format(value).padStart(8)} ${unit.padEnd(6)}${asked}${holds(figure) ? "" : "  MISSED"}`;
}
