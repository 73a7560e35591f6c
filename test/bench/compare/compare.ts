import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Answer, type Bar, type Figure, OURS } from "../answer.js";
import { type LoadGenerator, startLoadGenerator } from "../load/http-load.js";
import { median, quick, type Ratio, ratioOf } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { KiB, MiB, type StageObject } from "../stage.js";
import { Build, type ClientOptions, type Round } from "./build.js";

/** One workload that both builds run in turn. */
interface Workload {
  readonly title: string;
  readonly length: number;
  readonly concurrency: number;
  /** Who reads: the client of the build, or the load generator from the member's HTTP listener. */
  readonly by: "readRange" | "stream" | "load";
  /** Each read is of a new object, and this many are read in a round. Absent: all reads are of one cached object. */
  readonly coldReads?: number;
  readonly client?: ClientOptions;
}

const BY_HTTP: ClientOptions = { transport: "auto", fromFiles: false };

/** By the names that the command line takes. */
const WORKLOADS: Readonly<Record<string, Workload>> = {
  "hot-4kib": { title: "4 KiB cached, one at a time", length: 4 * KiB, concurrency: 1, by: "readRange" },
  "hot-4kib-16": { title: "4 KiB cached, sixteen at a time", length: 4 * KiB, concurrency: 16, by: "readRange" },
  "http-4kib": { title: "4 KiB cached, 64 connections", length: 4 * KiB, concurrency: 64, by: "load" },
  "http-64kib": { title: "64 KiB cached, 64 connections", length: 64 * KiB, concurrency: 64, by: "load" },
  "http-1mib": { title: "1 MiB cached, 64 connections", length: MiB, concurrency: 64, by: "load" },
  "http-16mib": { title: "16 MiB cached, 16 connections", length: 16 * MiB, concurrency: 16, by: "load" },
  "hot-16mib": { title: "16 MiB cached, readRange into own memory", length: 16 * MiB, concurrency: 1, by: "readRange" },
  stream: { title: "256 MiB cached, stream", length: 256 * MiB, concurrency: 1, by: "stream" },
  file: {
    title: "64 KiB from the member's file",
    length: 64 * KiB,
    concurrency: 1,
    by: "readRange",
    client: { transport: "auto", fromFiles: true },
  },
  grpc: {
    title: "4 KiB cached, gRPC, sixteen at a time",
    length: 4 * KiB,
    concurrency: 16,
    by: "readRange",
    client: { transport: "grpc", fromFiles: false },
  },
  "cold-16mib": { title: "16 MiB cold", length: 16 * MiB, concurrency: 1, by: "readRange", coldReads: 4 },
  "cold-large": { title: "256 MiB cold, stream", length: 256 * MiB, concurrency: 1, by: "stream", coldReads: 2 },
};

/** A cold read's origin: latency, and the rate of a connection. */
const LATENCY_MS = 30;
const BYTES_PER_SECOND = 100e6;
const ROUND_MS = 1_000;
const WARM_UP_MS = 2_500;
/** Processes differ by chance (memory layout, compiler): this many rounds run in the same ones. */
const ROUNDS_PER_PROCESS = 6;
/** A loss of more than 5 % counts. */
const LEAST_RATIO = 0.95;

export interface CompareOptions {
  /** The built checkout that this one is compared with. */
  readonly against: string;
  readonly rounds: number;
  /** Names of workloads; empty: all. */
  readonly names: readonly string[];
}

/** Runs rounds of a workload on two builds, this one and the other, in turn. */
class Comparison {
  readonly #sides: readonly [string, string];
  #objects = 0;

  readonly #origin: OriginProcess;
  readonly #load: LoadGenerator;

  constructor(origin: OriginProcess, load: LoadGenerator, sides: readonly [string, string]) {
    this.#origin = origin;
    this.#load = load;
    this.#sides = sides;
  }

  /** The rounds of both sides, in pairs. */
  async run(workload: Workload, rounds: number): Promise<[Round[], Round[]]> {
    const cold = workload.coldReads !== undefined;
    await this.#origin.pace(cold ? LATENCY_MS : 0, cold ? BYTES_PER_SECOND : undefined);
    const done: [Round[], Round[]] = [[], []];
    while (done[0].length < rounds) {
      const [here, there] = this.#sides.map((checkout) => Build.start(checkout, this.#origin, workload.client ?? BY_HTTP, !cold));
      await using after = await here!;
      await using before = await there!;
      const builds = [after, before] as const;
      const hot = cold
        ? undefined
        : await this.#origin.putObject(`compare-${this.#objects++}`, Math.max(workload.length, 16 * MiB));
      for (let round = -1; round < ROUNDS_PER_PROCESS && done[0].length < rounds; round++) {
        const order = round % 2 === 0 ? [0, 1] : [1, 0];
        const pair: Round[] = [];
        for (const side of order) {
          pair[side] = await this.#round(builds[side as 0 | 1], workload, hot, quick(round < 0 ? WARM_UP_MS : ROUND_MS));
        }
        if (round < 0) continue;
        done[0].push(pair[0]!);
        done[1].push(pair[1]!);
      }
    }
    return done;
  }

  async #round(build: Build, workload: Workload, hot: StageObject | undefined, ms: number): Promise<Round> {
    const { by, length, concurrency, coldReads = 1 } = workload;
    if (by === "load") {
      const range = { length, first: 0, span: hot!.size };
      return build.serve(this.#load, { path: `/s3/bench/${hot!.key}`, connections: concurrency, seconds: ms / 1e3, range });
    }
    const objects = hot === undefined ? await this.#newObjects(length, coldReads) : [hot];
    // The number of objects ends a cold round.
    return build.read({ objects, way: by, length, concurrency, ms: hot === undefined ? 60_000 : ms, cold: hot === undefined });
  }

  #newObjects(size: number, count: number): Promise<StageObject[]> {
    return Promise.all(Array.from({ length: count }, () => this.#origin.putObject(`compare-${this.#objects++}`, size)));
  }
}

/** Compares this checkout with another one, workload by workload. */
export async function compare({ against, rounds, names }: CompareOptions): Promise<Answer> {
  const here = resolve(import.meta.dirname, "..", "..", "..");
  const there = resolve(against);
  if (!existsSync(join(there, "client", "dist")))
    throw new Error(`${there} is not a built checkout: run npm ci and npm run build in it`);
  const unknown = names.filter((name) => WORKLOADS[name] === undefined);
  if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(", ")}; available: ${Object.keys(WORKLOADS).join(", ")}`);
  await using origin = await OriginProcess.start();
  await using load = startLoadGenerator();
  const comparison = new Comparison(origin, load, [here, there]);
  const rows: (string | number)[][] = [];
  const figures: Figure[] = [];
  const bars: Bar[] = [];
  for (const name of names.length === 0 ? Object.keys(WORKLOADS) : names) {
    const workload = WORKLOADS[name]!;
    const [after, before] = await comparison.run(workload, rounds);
    const column = (side: readonly Round[], field: keyof Round): number[] => side.map((round) => round[field]);
    const rate = ratioOf(column(after, "readsPerSecond"), column(before, "readsPerSecond"));
    const cpu = ratioOf(column(after, "cpuUs"), column(before, "cpuUs"));
    const text = ({ median, low, high }: Ratio): string => `${median.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;
    const row = [
      workload.title,
      median(column(before, "readsPerSecond")),
      median(column(after, "readsPerSecond")),
      text(rate),
      median(column(before, "cpuUs")),
      median(column(after, "cpuUs")),
      text(cpu),
    ];
    rows.push(row);
    console.log(`  ${name.padEnd(12)} rate ${text(rate)}, CPU ${text(cpu)}`);
    figures.push({
      name: `${workload.title}: rate after / before, lower bound`,
      value: rate.low,
      unit: "x",
      atLeast: LEAST_RATIO,
    });
    bars.push({ name: `${OURS}, ${workload.title}`, values: [rate.median], ours: true });
  }
  const columns = ["", "before: reads/s", "after: reads/s", "ratio (95 %)", "before: CPU us", "after: CPU us", "ratio (95 %)"];
  return { tables: [{ columns, rows }], figures, chart: { unit: "rate after / before, median", bars } };
}
