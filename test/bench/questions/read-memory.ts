import type { CacheClient } from "@frontcache/client";
import { type Benchmark, barsOf, type Figure } from "../answer.js";
import { MiB, onStage, type StageObject } from "../stage.js";

/** Reads of one kind, one after the other. Each result is dropped when the next one is read. */
interface Reads {
  readonly name: string;
  readonly count: number;
  readonly length: number;
  readonly intoOwn: boolean;
}

const READS: readonly Reads[] = [
  { name: "10,000 x 1 MiB into new memory", count: 10_000, length: MiB, intoOwn: false },
  { name: "1,000 x 16 MiB into new memory", count: 1_000, length: 16 * MiB, intoOwn: false },
  { name: "10,000 x 1 MiB into own memory", count: 10_000, length: MiB, intoOwn: true },
];
/** Samples of the memory for all reads of a kind. */
const SAMPLES = 200;
/** Samples at the start that do not count: V8's heap grows to the size that it works with. */
const WARM_UP = 20;
/** The moments at which V8 collects vary. */
const MOST = 1.1;

/** Memory of this process, in bytes. */
interface Sample {
  readonly rss: number;
  readonly external: number;
}

async function samplesOf(
  { count, length, intoOwn }: Reads,
  client: CacheClient,
  { url, version }: StageObject,
): Promise<Sample[]> {
  const own = intoOwn ? { into: Buffer.alloc(length) } : {};
  const samples: Sample[] = [];
  const every = count / SAMPLES;
  for (let read = 1 - WARM_UP * every; read <= count; read++) {
    const bytes = await client.readRange(url, 0, length, version, own);
    if (bytes.length !== length) throw new Error(`${bytes.length} bytes instead of ${length}`);
    if (read > 0 && read % every === 0) {
      const { rss, external } = process.memoryUsage();
      samples.push({ rss, external });
    }
  }
  return samples;
}

export const benchmark: Benchmark = {
  question: "Does the memory of a client stay flat while it reads thousands of ranges?",
  run: () =>
    onStage(async ({ client, hot }) => {
      const object = await hot(16 * MiB);
      const figures: Figure[] = [];
      for (const reads of READS) {
        const samples = await samplesOf(reads, client, object);
        const halves = [samples.slice(0, SAMPLES / 2), samples.slice(SAMPLES / 2)] as const;
        const mostOf = (kind: keyof Sample) => halves.map((half) => Math.max(...half.map((sample) => sample[kind])));
        const [firstRss, secondRss] = mostOf("rss") as [number, number];
        const [firstExternal, secondExternal] = mostOf("external") as [number, number];
        figures.push(
          { name: `${reads.name}: largest RSS, first half`, value: firstRss / MiB, unit: "MiB" },
          { name: `${reads.name}: largest RSS, second half`, value: secondRss / MiB, unit: "MiB" },
          { name: `${reads.name}: the second / the first`, value: secondRss / firstRss, unit: "x", atMost: MOST },
          { name: `${reads.name}: largest external memory, first half`, value: firstExternal / MiB, unit: "MiB" },
          { name: `${reads.name}: largest external memory, second half`, value: secondExternal / MiB, unit: "MiB" },
        );
      }
      return {
        figures,
        chart: barsOf(
          figures.filter(({ unit }) => unit === "MiB"),
          "MiB",
        ),
      };
    }),
};
