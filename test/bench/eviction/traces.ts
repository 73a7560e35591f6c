import { seededRandom } from "../../seeded-random.js";

/** One use of a block. After a read, more uses of the same block follow within seconds: its other segments. */
export interface Use {
  readonly atMs: number;
  readonly block: number;
  /** Whether the hit or miss counts: it is the first use of a read, while the trace's job runs. */
  readonly counts: boolean;
}

export interface Trace {
  readonly name: string;
  readonly uses: readonly Use[];
}

/** Size of the cache: 2,000 blocks of 16 MiB are 31 GiB. */
export const CACHE_BLOCKS = 2_000;
/** Random reads cover ten times the cache. */
const BLOCKS = 10 * CACHE_BLOCKS;
const READS = 200_000;
/** 200,000 reads at 50 a second take a little more than an hour. */
const READS_PER_SECOND = 50;
/** Maximum duration of a sequential read of a block, and how many requests it makes. */
const READER_MS = 10_000;
const READER_USES = 8;

/** Numbers from 0 to `count` - 1 by Zipf's law: number k is drawn as often as 1 / (k + 1)^exponent. */
function zipf(count: number, exponent: number, random: () => number): () => number {
  const sums = new Float64Array(count);
  let sum = 0;
  for (let rank = 0; rank < count; rank++) {
    sum += (rank + 1) ** -exponent;
    sums[rank] = sum;
  }
  return () => {
    const drawn = random() * sum;
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle]! < drawn) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

/** A sequential read of a block: uses over several seconds. */
function* readBlock(block: number, atMs: number, counts: boolean, random: () => number): Generator<Use> {
  yield { atMs, block, counts };
  const uses = Math.floor(random() * READER_USES);
  const lengthMs = random() * READER_MS;
  for (let use = 1; use <= uses; use++) yield { atMs: atMs + (lengthMs * use) / READER_USES, block, counts: false };
}

/** A second client that reads blocks in order at the same time. */
interface Job {
  readonly blocks: readonly number[];
  readonly blocksPerSecond: number;
  /** Whether its own reads count: those of a single scan cannot be hits. */
  readonly counts: boolean;
}

/** When jobs begin: the cache has been full for a long time. */
const JOB_MS = 1_000_000;

/** Reads of the blocks that `next` returns, and a job. Uses count while the job runs. */
function trace(name: string, seed: number, next: (read: number) => number, job?: Job): Trace {
  const random = seededRandom(seed);
  const endMs = job === undefined ? Infinity : JOB_MS + (job.blocks.length / job.blocksPerSecond) * 1_000;
  const uses: Use[] = [];
  for (let read = 0; read < READS; read++) {
    const atMs = ((read + random()) / READS_PER_SECOND) * 1_000;
    uses.push(...readBlock(next(read), atMs, atMs >= (job === undefined ? 0 : JOB_MS) && atMs < endMs, random));
  }
  job?.blocks.forEach((block, i) => {
    uses.push(...readBlock(block, JOB_MS + (i / job.blocksPerSecond) * 1_000, job.counts, random));
  });
  return { name, uses: uses.sort((a, b) => a.atMs - b.atMs) };
}

function range(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}

/** The popularity of all blocks shifts by a tenth of the cache every 10,000 reads. */
function shifting(next: () => number): (read: number) => number {
  return (read) => (next() + Math.floor(read / 10_000) * (CACHE_BLOCKS / 10)) % BLOCKS;
}

/** Steady popularity alone, with a concurrent scan and with a concurrent loop; and popularity that shifts. */
export function* traces(): Generator<Trace> {
  const scan = { blocks: range(BLOCKS, 10 * CACHE_BLOCKS), blocksPerSecond: 50, counts: false };
  const round = range(BLOCKS, 1.5 * CACHE_BLOCKS);
  const loop = { blocks: Array.from({ length: 10 }, () => round).flat(), blocksPerSecond: 20, counts: true };
  for (const exponent of [0.8, 1.0]) {
    const popularity = (seed: number): (() => number) => zipf(BLOCKS, exponent, seededRandom(seed));
    const name = `Zipf ${exponent.toFixed(1)}`;
    yield trace(name, 1, popularity(1));
    yield trace(`${name}, a scan of 10 x the cache`, 2, popularity(2), scan);
    yield trace(`${name}, a loop over 1.5 x the cache`, 3, popularity(3), loop);
    yield trace(`${name}, shifting`, 4, shifting(popularity(4)));
  }
}
