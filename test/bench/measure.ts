import { cpuMs } from "./machine.js";

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
  /** Reads once; resolves to the bytes that it brought. */
  read(): Promise<number>;
  /** The process that answers it, whose CPU time is counted. */
  readonly serverPid?: number | undefined;
}

/** How contestants take turns. */
export interface Turns {
  /** Rounds that count; one more goes before them, to warm up. */
  readonly rounds: number;
  /** How long each contestant reads in a round, milliseconds; 0: one read of each reader. */
  readonly roundMs: number;
  /** How long it reads in the round before: until its code is compiled as it stays. */
  readonly warmUpMs: number;
  /** Reads at a time. */
  readonly readers: number;
}

/** What one contestant did. Rates are medians of the rounds, CPU seconds are of all rounds together. */
export interface Standing {
  readonly name: string;
  readonly gigabytesPerSecond: number;
  readonly readsPerSecond: number;
  /** Milliseconds of one round. */
  readonly roundMs: number;
  /** CPU seconds a gigabyte: of this process, and of the one that answers. */
  readonly clientCpu: number;
  readonly serverCpu: number | undefined;
}

interface Round {
  readonly ms: number;
  readonly bytes: number;
  readonly reads: number;
  readonly clientMs: number;
  readonly serverMs: number;
}

/**
 * Measures contestants in turn, round by round, so that a machine that becomes faster or slower meanwhile does so for all of
 * them. Every other round goes backwards: who comes after whom should not matter.
 */
export async function takeTurns(contestants: readonly Contestant[], turns: Turns): Promise<Map<string, Standing>> {
  const rounds = new Map<Contestant, Round[]>(contestants.map((contestant) => [contestant, []]));
  for (let round = -1; round < turns.rounds; round++) {
    for (const contestant of round % 2 === 0 ? contestants : contestants.toReversed()) {
      const { readers, roundMs, warmUpMs } = turns;
      const done = await playRound(contestant, readers, round < 0 ? warmUpMs : roundMs);
      if (round >= 0) rounds.get(contestant)!.push(done);
    }
  }
  return new Map([...rounds].map(([contestant, done]) => [contestant.name, standingOf(contestant, done)]));
}

async function playRound({ read, serverPid }: Contestant, readers: number, roundMs: number): Promise<Round> {
  const [client, server] = [cpuMs(process.pid), serverPid === undefined ? 0 : cpuMs(serverPid)];
  let [bytes, reads] = [0, 0];
  const ms = await timeMs(async () => {
    const untilMs = performance.now() + roundMs;
    const reader = async (): Promise<void> => {
      do {
        const got = await read();
        bytes += got;
        reads++;
      } while (performance.now() < untilMs);
    };
    await Promise.all(Array.from({ length: readers }, reader));
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
  };
}
