import { CacheClient } from "@frontcache/client";
import { type Answer, type Benchmark, barsOf, type Figure, type Table } from "../answer.js";
import { cpuMsOfAll } from "../machine.js";
import { median, quick, timeMs } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { Cluster, KiB, MiB } from "../stage.js";

const ROUNDS = 15;
/**
 * Operations of one size. V8 compiles what has run often, so the warm-up is a number of operations: on a busy machine, fewer run in a
 * time.
 */
interface Operations {
  readonly title: string;
  readonly bytes: number;
  readonly warmUps: number;
  readonly times: number;
}

const GETS: readonly Operations[] = [
  { title: "4 KiB", bytes: 4 * KiB, warmUps: 2_000, times: 100 },
  { title: "1 MiB", bytes: MiB, warmUps: 500, times: 20 },
  { title: "16 MiB", bytes: 16 * MiB, warmUps: 20, times: 2 },
];
const PUTS: readonly Operations[] = [
  { title: "4 KiB", bytes: 4 * KiB, warmUps: 2_000, times: 50 },
  { title: "1 MiB", bytes: MiB, warmUps: 1_000, times: 10 },
  { title: "64 MiB", bytes: 64 * MiB, warmUps: 5, times: 1 },
];
/** A replaced version stays for a while. With few keys, many versions of each would be searched. */
const KEYS = 64;

/** One operation of both kinds: median milliseconds, and CPU milliseconds of all members. */
interface Pair {
  readonly cachedMs: number;
  readonly valueMs: number;
  readonly cachedCpuMs: number;
  readonly valueCpuMs: number;
}

export const benchmark: Benchmark = {
  question: "How fast are values written to two of three members, and read, compared with cached reads of as many bytes?",
  async run() {
    await using origin = await OriginProcess.start();
    await using cluster = await Cluster.start(origin.endpoint, 3, ["--cache-bucket", "bench-values"]);
    await using client = await CacheClient.connect({ endpoint: cluster.members[0]!.grpc });
    return await run(origin, cluster, client);
  },
};

async function run(origin: OriginProcess, { members }: Cluster, client: CacheClient): Promise<Answer> {
  const values = client.objects("bench-values");
  const pids = members.map(({ pid }) => pid);
  const rows: (string | number)[][] = [];
  const figures: Figure[] = [];
  const compare = async (
    name: string,
    operations: Operations,
    cached: () => Promise<unknown>,
    value: () => Promise<unknown>,
  ): Promise<void> => {
    const found = await inTurn(pids, operations, cached, value);
    rows.push([name, found.valueMs, found.cachedMs, found.valueCpuMs, found.cachedCpuMs]);
    figures.push({ name: `${name}: rate / a cached read`, value: found.cachedMs / found.valueMs, unit: "x", atLeast: 0.5 });
    figures.push({ name: `${name}: CPU of the members / a cached read`, value: found.valueCpuMs / found.cachedCpuMs, unit: "x" });
  };
  for (const operations of GETS) {
    const { title, bytes } = operations;
    const { url } = await origin.putObject(`object-${bytes}`, bytes);
    await values.put(`value-${bytes}`, Buffer.alloc(bytes, 1));
    const read = (key: string) => () => client.readRange(key, 0, bytes);
    await compare(`get ${title}`, operations, read(url), read(`cache://bench-values/value-${bytes}`));
  }
  for (const operations of PUTS) {
    const { title, bytes } = operations;
    const { url } = await origin.putObject(`put-${bytes}`, bytes);
    const body = Buffer.alloc(bytes, 2);
    let count = 0;
    const put = () => values.put(`put-${bytes}-${count++ % KEYS}`, body);
    await compare(`put ${title}`, operations, () => client.readRange(url, 0, bytes), put);
  }
  const columns = ["operation", "value ms", "cached read ms", "value, members' CPU ms", "cached read, members' CPU ms"];
  const table: Table = { columns, rows };
  return { tables: [table], figures, chart: barsOf(figures, "x") };
}

/** Both operations in turn, round by round. */
async function inTurn(
  pids: readonly number[],
  { warmUps, times }: Operations,
  cached: () => Promise<unknown>,
  value: () => Promise<unknown>,
): Promise<Pair> {
  const found = { cachedMs: [] as number[], valueMs: [] as number[], cachedCpuMs: 0, valueCpuMs: 0 };
  const rounds = Math.ceil(quick(ROUNDS));
  for (const work of [cached, value]) for (let time = 0; time < quick(warmUps); time++) await work();
  for (let round = 0; round < rounds; round++) {
    for (const kind of ["cached", "value"] as const) {
      const work = kind === "cached" ? cached : value;
      const beforeMs = cpuMsOfAll(pids);
      const spentMs = await timeMs(async () => {
        for (let time = 0; time < times; time++) await work();
      });
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
