import { CacheClient } from "@frontcache/client";
import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import { type Benchmark, barsOf } from "../answer.js";
import { timeMs } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { MiB } from "../stage.js";

const BLOCK_BYTES = 16 * MiB;
const READS = 3_000;
const CONCURRENCY = 8;

/** Milliseconds, and the number of origin requests. */
interface Outcome {
  readonly p50: number;
  readonly p99: number;
  readonly requests: number;
}

/** Cold reads of 1 MiB, each from a block of its own, through a member with or without hedging. */
async function readCold(origin: OriginProcess, hedge: boolean): Promise<Outcome> {
  await using directory = await temporaryDirectory();
  await using member = await MemberProcess.start({
    endpoint: origin.endpoint,
    cacheDirectory: directory.path,
    flags: ["--fill", "wanted", "--hedge", String(hedge)],
  });
  await using client = await CacheClient.connect({ endpoint: member.grpc });
  const { url, version } = await origin.putRamp(`hedge-${hedge}`, READS * BLOCK_BYTES, 1);
  await origin.tail(20, 0.02, 1_000);
  await origin.traffic();
  const times: number[] = [];
  let next = 0;
  const readInTurn = async (): Promise<void> => {
    for (let block = next++; block < READS; block = next++) {
      times.push(await timeMs(() => client.readRange(url, block * BLOCK_BYTES, MiB, version)));
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, readInTurn));
  times.sort((a, b) => a - b);
  const { requests } = await origin.traffic();
  return { p50: times[READS / 2]!, p99: times[Math.floor(READS * 0.99)]!, requests };
}

export const benchmark: Benchmark = {
  question: "How much does hedging shorten the tail of an origin of 20 ms latency, where 2 % of the responses take a second?",
  async run() {
    await using origin = await OriginProcess.start();
    const plain = await readCold(origin, false);
    const hedged = await readCold(origin, true);
    const figures = [
      { name: "without: a cold read of 1 MiB, p50", value: plain.p50, unit: "ms" },
      { name: "without: p99", value: plain.p99, unit: "ms" },
      { name: "with: p50", value: hedged.p50, unit: "ms" },
      { name: "with: p99", value: hedged.p99, unit: "ms" },
      { name: "p99 with / without", value: hedged.p99 / plain.p99, unit: "x", atMost: 0.35 },
      { name: "requests with / without", value: hedged.requests / plain.requests, unit: "x", atMost: 1.05 },
    ];
    return { figures, chart: barsOf(figures, "ms") };
  },
};
