import type { CacheClient } from "@frontcache/client";
import { seededRandom } from "../seeded-random.js";
import { cpuMs } from "./machine.js";
import { KiB, type StageObject } from "./stage.js";

/**
 * A number of rounds or reads, or a duration. With `--quick` a tenth of it: enough to test a question, too little for figures.
 */
export function quick(amount: number): number {
  return process.env.FRONTCACHE_BENCH_QUICK === undefined ? amount : amount / 10;
}

/** The middle value. */
export function median(figures: readonly number[]): number {
  const sorted = figures.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

const RESAMPLES = 10_000;

/** A ratio with the interval that contains it at 95 % confidence. */
export interface Ratio {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** The median of paired ratios, with a bootstrap interval. */
export function ratioOf(after: readonly number[], before: readonly number[]): Ratio {
  const ratios = after.map((value, round) => value / before[round]!);
  const random = seededRandom(1);
  const medians = Array.from({ length: RESAMPLES }, () =>
    median(ratios.map(() => ratios[Math.floor(random() * ratios.length)]!)),
  ).sort((a, b) => a - b);
  return {
    median: median(ratios),
    low: medians[Math.floor(RESAMPLES * 0.025)]!,
    high: medians[Math.ceil(RESAMPLES * 0.975) - 1]!,
  };
}

/** How long some work takes, in milliseconds. */
export async function timeMs(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

/** A way to read that is compared with others in the same run. */
export interface Contestant {
  readonly name: string;
  /** Reads once, and resolves to the number of bytes read. */
  read(): Promise<number>;
  /** The process that answers, whose CPU time is counted. */
  readonly serverPid?: number | undefined;
}

/** How contestants alternate. */
export interface Turns {
  /** Rounds that count; one more precedes them as warm-up. */
  readonly rounds: number;
  /** How long each contestant reads in a round, milliseconds; 0: one read at each place. */
  readonly roundMs: number;
  /** Duration of the warm-up round: long enough for the compiler. */
  readonly warmUpMs: number;
  /** The warm-up round of each contestant has at least this many reads, since a busy machine runs less in the time. Absent: any number. */
  readonly warmUpReads?: number | undefined;
  /** Concurrent reads. */
  readonly concurrency: number;
}

/** The result of one contestant. Rates are medians of the rounds, CPU seconds are of all rounds together. */
export interface Standing {
  readonly name: string;
  readonly gigabytesPerSecond: number;
  readonly readsPerSecond: number;
  /** Milliseconds of one round. */
  readonly roundMs: number;
  /** CPU seconds per gigabyte of this process, and of the one that answers. */
  readonly clientCpu: number;
  readonly serverCpu: number | undefined;
  /** CPU microseconds for each read, of the process that answers: one figure per round. */
  readonly serverUs: readonly number[];
}

interface Round {
  readonly ms: number;
  readonly bytes: number;
  readonly reads: number;
  readonly clientMs: number;
  readonly serverMs: number;
}

/**
 * Measures contestants round by round, so that changes in the machine's speed affect all of them. Every other round runs in
 * reverse order, so that the order does not matter.
 */
export async function measureInTurn(contestants: readonly Contestant[], turns: Turns): Promise<Map<string, Standing>> {
  const rounds = new Map<Contestant, Round[]>(contestants.map((contestant) => [contestant, []]));
  for (let round = -1; round < quick(turns.rounds); round++) {
    for (const contestant of round % 2 === 0 ? contestants : contestants.toReversed()) {
      const { concurrency, roundMs, warmUpMs, warmUpReads = 0 } = turns;
      if (round < 0) {
        for (let reads = 0; reads === 0 || reads < quick(warmUpReads); )
          reads += (await runRound(contestant, concurrency, quick(warmUpMs))).reads;
      } else rounds.get(contestant)!.push(await runRound(contestant, concurrency, quick(roundMs)));
    }
  }
  return new Map([...rounds].map(([contestant, done]) => [contestant.name, standingOf(contestant, done)]));
}

async function runRound({ read, serverPid }: Contestant, concurrency: number, roundMs: number): Promise<Round> {
  const [client, server] = [cpuMs(process.pid), serverPid === undefined ? 0 : cpuMs(serverPid)];
  let [bytes, reads] = [0, 0];
  const ms = await timeMs(async () => {
    const untilMs = performance.now() + roundMs;
    const readInTurn = async (): Promise<void> => {
      do {
        const got = await read();
        bytes += got;
        reads++;
      } while (performance.now() < untilMs);
    };
    await Promise.all(Array.from({ length: concurrency }, readInTurn));
  });
  const serverMs = serverPid === undefined ? 0 : cpuMs(serverPid) - server;
  return { ms, bytes, reads, clientMs: cpuMs(process.pid) - client, serverMs };
}

function standingOf({ name, serverPid }: Contestant, rounds: readonly Round[]): Standing {
  const sum = (of: (round: Round) => number): number => rounds.reduce((total, round) => total + of(round), 0);
  const perGigabyte = (ms: number): number => ms / 1e3 / (sum(({ bytes }) => bytes) / 1e9);
  return {
    name,
    gigabytesPerSecond: median(rounds.map(({ bytes, ms }) => bytes / ms / 1e6)),
    readsPerSecond: median(rounds.map(({ reads, ms }) => (reads / ms) * 1e3)),
    roundMs: median(rounds.map(({ ms }) => ms)),
    clientCpu: perGigabyte(sum(({ clientMs }) => clientMs)),
    serverCpu: serverPid === undefined ? undefined : perGigabyte(sum(({ serverMs }) => serverMs)),
    serverUs: rounds.map(({ serverMs, reads }) => (serverMs * 1e3) / reads),
  };
}

/** Latencies of reads, milliseconds. */
export interface Latencies {
  readonly reads: number;
  readonly p50: number;
  readonly p99: number;
}

/** Percentiles of latencies. */
export function latenciesOf(ms: readonly number[]): Latencies {
  const sorted = ms.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return { reads: sorted.length, p50: at(0.5), p99: at(0.99) };
}

/** Reads 4 KiB at most 200 times a second, each from another offset, for `forMs`. Adds the latency of each read to `ms`. */
export async function readHot(client: CacheClient, object: StageObject, forMs: number, ms: number[]): Promise<void> {
  const untilMs = performance.now() + forMs;
  for (let at = 0; performance.now() < untilMs; at = (at + 17 * 4 * KiB) % object.size) {
    const beganMs = performance.now();
    await client.readRange(object.url, at, 4 * KiB, object.version);
    ms.push(performance.now() - beganMs);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
