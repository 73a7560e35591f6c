import type { Table } from "../answer.js";
import { canPin, cpuMsOfAll, OTHER_CPUS } from "../machine.js";
import { median, quick } from "../measure.js";
import { KiB, MiB } from "../stage.js";
import type { LoadGenerator, LoadOrder, LoadResult } from "./http-load.js";

/** A server, or several that answer together, under load at one HTTP listener. */
export interface Target {
  readonly name: string;
  readonly port: number;
  readonly path: string;
  /** Start of the block whose ranges are requested. */
  readonly first?: number;
  /** As in LoadOrder. */
  readonly header?: string;
  /** The processes whose CPU time is counted. */
  readonly pids: readonly number[];
}

/** Bytes of each response, and how many requests at a time. */
export interface RequestSize {
  readonly title: string;
  readonly length: number;
  readonly connections: number;
  /** Bytes that the ranges lie in. Default: a block of 16 MiB. */
  readonly objectBytes?: number;
  /** Requests have no Range: the object has `length` bytes. */
  readonly isWhole?: boolean;
  /**
   * The warm-up of each target continues until it has answered this many requests: V8 compiles what has run often, and a busy machine runs
   * less in a second. Absent: the time is enough.
   */
  readonly warmUpRequests?: number;
}

export const REQUEST_SIZES: readonly RequestSize[] = [
  { title: "4 KiB", length: 4 * KiB, connections: 64, warmUpRequests: 40_000 },
  { title: "64 KiB", length: 64 * KiB, connections: 64, warmUpRequests: 20_000 },
  { title: "1 MiB", length: MiB, connections: 64, warmUpRequests: 4_000 },
  { title: "16 MiB", length: 16 * MiB, connections: 64, warmUpRequests: 4_000 },
];

/** Medians of the rounds. */
export interface RequestCost {
  readonly requestsPerSecond: number;
  /** CPU microseconds of all processes of the target. */
  readonly cpuUs: number;
  /** The round with the most CPU over the one with the least. */
  readonly spread: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** CPU time of the load generator over the time of the run: at 1, one core is all that limits the rate. 0: unknown. */
  readonly readerShare: number;
}

/** Rounds that count, and how long each target is under load in a round and before the first. */
export interface Rounds {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
}

/** Requests ranges, or whole objects, from each target, round by round; every other round in reverse order. */
export async function requestCosts(
  load: LoadGenerator,
  targets: readonly Target[],
  { length, connections, objectBytes = 16 * MiB, isWhole = false, warmUpRequests = 0 }: RequestSize,
  { rounds, seconds, warmUpSeconds }: Rounds,
): Promise<Map<string, RequestCost>> {
  const costs = new Map<string, Omit<RequestCost, "spread">[]>(targets.map(({ name }) => [name, []]));
  const cpuList = canPin() ? OTHER_CPUS : undefined;
  for (let round = -1; round < quick(rounds); round++) {
    for (const { name, port, path, first = 0, header, pids } of round % 2 === 0 ? targets : targets.toReversed()) {
      const range = { length, first, span: objectBytes };
      const timed = { port, path, connections, seconds: quick(round < 0 ? warmUpSeconds : seconds), header };
      const order = isWhole ? timed : { ...timed, range };
      if (round < 0) {
        for (let answered = 0; answered === 0 || answered < quick(warmUpRequests); )
          answered += (await runChecked(load, order, name, cpuList)).requests;
        continue;
      }
      const before = cpuMsOfAll(pids);
      const { requests, seconds: elapsed, p50Us, p99Us, cpuSeconds = 0 } = await runChecked(load, order, name, cpuList);
      const cpuUs = ((cpuMsOfAll(pids) - before) * 1e3) / requests;
      costs.get(name)!.push({ requestsPerSecond: requests / elapsed, cpuUs, p50Us, p99Us, readerShare: cpuSeconds / elapsed });
    }
  }
  const medianOf = (all: readonly Omit<RequestCost, "spread">[], field: Exclude<keyof RequestCost, "spread">): number =>
    median(all.map((cost) => cost[field]));
  return new Map(
    [...costs].map(([name, all]) => [
      name,
      {
        requestsPerSecond: medianOf(all, "requestsPerSecond"),
        cpuUs: medianOf(all, "cpuUs"),
        spread: Math.max(...all.map((cost) => cost.cpuUs)) / Math.min(...all.map((cost) => cost.cpuUs)),
        p50Us: medianOf(all, "p50Us"),
        p99Us: medianOf(all, "p99Us"),
        readerShare: medianOf(all, "readerShare"),
      },
    ]),
  );
}

/** Rejects if a request failed. */
async function runChecked(load: LoadGenerator, order: LoadOrder, name: string, cpuList: string | undefined): Promise<LoadResult> {
  const result = await load.run(order, cpuList);
  if (result.failures > 0) throw new Error(`${result.failures} of ${result.requests} requests to ${name} failed`);
  return result;
}

/** A table with one row for each target. */
export function requestCostTable({ title, connections, length }: RequestSize, costs: ReadonlyMap<string, RequestCost>): Table {
  return {
    columns: [
      `${title}, ${connections} connections`,
      "requests/s",
      "GB/s",
      "CPU us/request",
      "spread",
      "p50 us",
      "p99 us",
      "reader's CPU",
    ],
    rows: [...costs].map(([name, { requestsPerSecond, cpuUs, spread, p50Us, p99Us, readerShare }]) => [
      name,
      requestsPerSecond,
      (requestsPerSecond * length) / 1e9,
      cpuUs,
      spread,
      p50Us,
      p99Us,
      readerShare,
    ]),
  };
}
