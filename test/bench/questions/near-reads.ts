import { randomBytes } from "node:crypto";
import { CacheClient } from "@frontcache/client";
import { temporaryDirectory } from "../../e2e/member-process.js";
import { type Benchmark, barsOf, type Figure } from "../answer.js";
import { median } from "../measure.js";
import { KiB, MiB, onStage } from "../stage.js";

const ROUNDS = 9;

/** What is measured: reads at random offsets of one object. */
interface Question {
  readonly name: string;
  readonly length: number;
  readonly reads: number;
  readonly atMost?: number;
}

const QUESTIONS: readonly Question[] = [
  { name: "4 KiB", length: 4 * KiB, reads: 20_000, atMost: 5 },
  { name: "64 KiB", length: 64 * KiB, reads: 4_000 },
  { name: "16 MiB", length: 16 * MiB, reads: 20 },
];

/** CPU microseconds of this process for one call, the median of some rounds. */
async function cpuUs(calls: number, call: (index: number) => unknown): Promise<number> {
  const rounds: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const before = process.cpuUsage();
    for (let index = 0; index < calls; index++) await call(index);
    const { user, system } = process.cpuUsage(before);
    rounds.push((user + system) / calls);
  }
  // The first round warms up.
  return median(rounds.slice(1));
}

export const benchmark: Benchmark = {
  question: "What does a read from the near cache cost, in memory and on disk?",
  run: () =>
    onStage(async ({ member, hot }) => {
      const { url, version } = await hot(32 * MiB);
      await using directory = await temporaryDirectory();
      const endpoint = member.grpc;
      await using memory = await CacheClient.connect({ endpoint, near: { memory: "64MiB" } });
      await using disk = await CacheClient.connect({ endpoint, near: { disk: `${directory.path}:1GiB` } });
      await memory.readObject(url, version);
      // The second pass reads what the first one has written.
      for (let written = 0; written < 32 * MiB; written = disk.nearReads().disk!.writtenBytes) {
        await disk.readObject(url, version);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      const source = randomBytes(32 * MiB);
      const figures: Figure[] = [];
      for (const { name, length, reads, atMost } of QUESTIONS) {
        const into = Buffer.alloc(length);
        const offsetOf = (index: number): number => ((index * 7_919 * 4 * KiB) % (32 * MiB - length + 1)) & ~(4 * KiB - 1);
        const by = (client: CacheClient) => (index: number) => client.readRange(url, offsetOf(index), length, version, { into });
        const fromMemory = await cpuUs(reads, by(memory));
        figures.push({ name: `${name} from memory`, value: fromMemory, unit: "us", ...(atMost !== undefined && { atMost }) });
        const copied = await cpuUs(reads, (index) => source.copy(into, 0, offsetOf(index), offsetOf(index) + length));
        figures.push({ name: `${name} copied by memcpy`, value: copied, unit: "us" });
        figures.push({ name: `${name} from disk`, value: await cpuUs(Math.ceil(reads / 10), by(disk)), unit: "us" });
      }
      return { figures, chart: barsOf(figures, "us") };
    }),
};
