import { CacheClient } from "@frontcache/client";
import { type Answer, type Benchmark, barsOf, type Figure, type Table } from "../answer.js";
import { cpuMsOfAll, touchMemory } from "../machine.js";
import { median, quick, timeMs } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { Cluster, KiB, MiB } from "../stage.js";

const ROUNDS = 15;
/** Operations of one size. V8 compiles what has run often, so the warm-up is a number of operations: on a busy machine, fewer run in a time. */
interface Operations {
  readonly title: string;
  readonly bytes: number;
  /** Operations at a time. */
  readonly concurrency: number;
  readonly warmUps: number;
  /** In each round. */
  readonly times: number;
}

const GETS: readonly Operations[] = [
  { title: "4 KiB", bytes: 4 * KiB, concurrency: 1, warmUps: 2_000, times: 100 },
  { title: "1 MiB", bytes: MiB, concurrency: 1, warmUps: 500, times: 20 },
  { title: "16 MiB", bytes: 16 * MiB, concurrency: 1, warmUps: 20, times: 2 },
];
/**
 * As in a service: several writers, and members have compiled the code. Three members took 6.6 ms of CPU for each of the
 * first 2,000 puts of 4 KiB, and 2 after 4,000.
 */
const PUTS: readonly Operations[] = [
  { title: "4 KiB", bytes: 4 * KiB, concurrency: 8, warmUps: 20_000, times: 200 },
  { title: "1 MiB", bytes: MiB, concurrency: 8, warmUps: 2_000, times: 24 },
  { title: "64 MiB", bytes: 64 * MiB, concurrency: 2, warmUps: 6, times: 2 },
];
const BUCKET = "bench-values";
/** A replaced version stays for a while. With few keys, many versions of each would be searched. */
const KEYS = 64;
/** Memory that is touched before a round, in sizes of what it writes: two files, and buffers. */
const TOUCHED = 3;

/** One operation of both kinds: median milliseconds from one to the next, and CPU milliseconds of all members. */
interface Pair {
  readonly cachedMs: number;
  readonly valueMs: number;
  readonly cachedCpuMs: number;
  readonly valueCpuMs: number;
}

export const benchmark: Benchmark = {
  question: "How fast are values written to two of three warm members, and read, compared with cached reads of as many bytes?",
  async run() {
    await using origin = await OriginProcess.start();
    await using cluster = await Cluster.start(origin.endpoint, 3, ["--cache-bucket", BUCKET]);
    return await run(origin, cluster);
  },
};

/** An operation by a client. */
type Operation = (client: CacheClient) => Promise<unknown>;

async function run(origin: OriginProcess, { members }: Cluster): Promise<Answer> {
  const rows: (string | number)[][] = [];
  const figures: Figure[] = [];
  const compare = async (name: string, operations: Operations, cached: Operation, value: Operation): Promise<void> => {
    const found = await inTurn(members, operations, cached, value);
    rows.push([name, found.valueMs, found.cachedMs, found.valueCpuMs, found.cachedCpuMs]);
    figures.push({ name: `${name}: rate / a cached read`, value: found.cachedMs / found.valueMs, unit: "x", atLeast: 0.5 });
    figures.push({ name: `${name}: CPU of the members / a cached read`, value: found.valueCpuMs / found.cachedCpuMs, unit: "x" });
  };
  for (const operations of GETS) {
    const { title, bytes } = operations;
    const { url } = await origin.putObject(`object-${bytes}`, bytes);
    const read = (key: string) => (client: CacheClient) => client.readRange(key, 0, bytes);
    await using client = await CacheClient.connect({ endpoint: members[0]!.grpc });
    await client.objects(BUCKET).put(`value-${bytes}`, Buffer.alloc(bytes, 1));
    await compare(`get ${title}`, operations, read(url), read(`cache://${BUCKET}/value-${bytes}`));
  }
  for (const operations of PUTS) {
    const { title, bytes } = operations;
    const { url } = await origin.putObject(`put-${bytes}`, bytes);
    const body = Buffer.alloc(bytes, 2);
    let count = 0;
    const put = (client: CacheClient) => client.objects(BUCKET).put(`put-${bytes}-${count++ % KEYS}`, body);
    const read = (client: CacheClient) => client.readRange(url, 0, bytes);
    await compare(`put ${title}, ${operations.concurrency} at a time`, operations, read, put);
  }
  const columns = ["operation", "value ms", "cached read ms", "value, members' CPU ms", "cached read, members' CPU ms"];
  const table: Table = { columns, rows };
  return { tables: [table], figures, chart: barsOf(figures, "x") };
}

/**
 * Both operations in turn, round by round, each round over connections of its own. BBR, the congestion control of some machines, estimates
 * the rate of a connection, and keeps to that: over one that it took for slow, reads of 1 MiB took twice as long for a whole run.
 */
async function inTurn(
  members: Cluster["members"],
  { bytes, concurrency, warmUps, times }: Operations,
  cached: Operation,
  value: Operation,
): Promise<Pair> {
  const pids = members.map(({ pid }) => pid);
  const found = { cachedMs: [] as number[], valueMs: [] as number[], cachedCpuMs: 0, valueCpuMs: 0 };
  const rounds = Math.ceil(quick(ROUNDS));
  const connect = (): Promise<CacheClient> => CacheClient.connect({ endpoint: members[0]!.grpc });
  const repeat = async (client: CacheClient, work: Operation, count: number): Promise<void> => {
    let left = count;
    const run = async (): Promise<void> => {
      while (left-- > 0) await work(client);
    };
    await Promise.all(Array.from({ length: concurrency }, run));
  };
  {
    await using client = await connect();
    for (const work of [cached, value]) await repeat(client, work, quick(warmUps));
  }
  for (let round = 0; round < rounds; round++) {
    await using client = await connect();
    for (const work of [cached, value]) await repeat(client, work, concurrency);
    for (const kind of ["cached", "value"] as const) {
      const work = kind === "cached" ? cached : value;
      touchMemory(TOUCHED * times * bytes);
      const beforeMs = cpuMsOfAll(pids);
      const spentMs = await timeMs(() => repeat(client, work, times));
      found[`${kind}Ms`].push(spentMs / times);
      found[`${kind}CpuMs`] += cpuMsOfAll(pids) - beforeMs;
    }
  }
  const per = rounds * times;
  return {
    cachedMs: median(found.cachedMs),
    valueMs: median(found.valueMs),
    cachedCpuMs: found.cachedCpuMs / per,
    valueCpuMs: found.valueCpuMs / per,
  };
}
