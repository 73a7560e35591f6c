import { CacheClient } from "@frontcache/client";
import { request } from "undici";
import { seededRandom } from "../../seeded-random.js";
import { type Benchmark, barsOf, type Figure } from "../answer.js";
import { latenciesOf, quick } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { Cluster, KiB } from "../stage.js";

const OBJECTS = 1_000;
const OBJECT_BYTES = 64 * KiB;
const READERS = 8;
const SECONDS = 20;
/** Longer than the benchmark: the origin accepts requests and answers none. */
const NEVER_MS = 3_600_000;
const SLOW_MS = 3_000;
/** Records expire all the time, so that reads depend on what is known of the origin. */
const FLAGS = ["--revalidate-after", "1s"];

/** A member, as clients of both protocols reach it. */
interface Entrance {
  readonly http: string;
  readonly client: CacheClient;
}

/** Reads an object through a member. Resolves to whether the answer is right. */
type Read = (entrance: Entrance, key: string) => Promise<boolean>;

/** Not by `fetch`, which sends Cache-Control: no-cache with a condition, so that the origin must confirm the version. */
const get = async ({ http }: Entrance, key: string, headers: Record<string, string>, method: "GET" | "HEAD" = "GET") => {
  const response = await request(`http://${http}/s3/bench/${key}`, { headers, method });
  return {
    status: response.statusCode,
    bytes: (await response.body.arrayBuffer()).byteLength,
    etag: response.headers.etag ?? null,
  };
};

/** The kinds of reads. ETags of the condition are those of another object, so that the answer has bytes. */
const READS: readonly Read[] = [
  async (entrance, key) => {
    const { status, bytes } = await get(entrance, key, { range: "bytes=10-109" });
    return status === 206 && bytes === 100;
  },
  async (entrance, key) => {
    const { status, bytes } = await get(entrance, key, {});
    return status === 200 && bytes === OBJECT_BYTES;
  },
  async (entrance, key) => {
    const { status, bytes } = await get(entrance, key, { range: "bytes=-8" });
    return status === 206 && bytes === 8;
  },
  async (entrance, key) => {
    const { status, bytes } = await get(entrance, key, { "if-none-match": '"another"', range: "bytes=0-7" });
    return status === 206 && bytes === 8;
  },
  async (entrance, key) => {
    const { status, etag } = await get(entrance, key, {}, "HEAD");
    return status === 200 && etag !== null;
  },
  async ({ client }, key) => (await client.stat(`s3://bench/${key}`)).objectSize === OBJECT_BYTES,
  async ({ client }, key) => (await client.readRange(`s3://bench/${key}`, 10, 100)).length === 100,
];

interface Load {
  readonly failed: number;
  readonly readsPerSecond: number;
  readonly p50: number;
  readonly p99: number;
}

/** Reads of all kinds, of random objects, through all members. */
async function load(entrances: readonly Entrance[], seconds: number): Promise<Load> {
  const random = seededRandom(1);
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)]!;
  const times: number[] = [];
  let failed = 0;
  const beganMs = performance.now();
  const reader = async (): Promise<void> => {
    while (performance.now() - beganMs < seconds * 1e3) {
      const fromMs = performance.now();
      const isRight = await pick(READS)(pick(entrances), keyOf(Math.floor(random() * OBJECTS))).catch(() => false);
      times.push(performance.now() - fromMs);
      if (!isRight) failed++;
    }
  };
  await Promise.all(Array.from({ length: READERS }, reader));
  const { p50, p99 } = latenciesOf(times);
  return { failed, readsPerSecond: (times.length / (performance.now() - beganMs)) * 1e3, p50, p99 };
}

const keyOf = (number: number): string => `silent-${number}`;

export const benchmark: Benchmark = {
  question: "What do reads of cached objects notice of an origin that is slow, or whose packets are dropped?",
  async run() {
    await using origin = await OriginProcess.start();
    await using cluster = await Cluster.start(origin.endpoint, 3, FLAGS);
    await origin.putMany("silent", OBJECTS, OBJECT_BYTES);
    const entrances: Entrance[] = [];
    for (const { grpc, http } of cluster.members) {
      // The member itself is asked, whoever owns the block.
      entrances.push({ http, client: await CacheClient.connect({ endpoint: grpc }) });
    }
    for (let number = 0; number < OBJECTS; number++) await READS[1]!(entrances[0]!, keyOf(number));
    await load(entrances, quick(SECONDS));
    const before = await load(entrances, quick(SECONDS));
    await origin.pace(SLOW_MS, undefined);
    const slow = await load(entrances, quick(SECONDS));
    await origin.pace(NEVER_MS, undefined);
    await load(entrances, 1);
    const silent = await load(entrances, quick(SECONDS));
    await Promise.all(entrances.map(({ client }) => client.close()));
    const figures: Figure[] = [
      { name: "the origin answers: p50", value: before.p50, unit: "ms" },
      { name: "the origin answers: p99", value: before.p99, unit: "ms" },
      { name: "the origin answers: reads", value: before.readsPerSecond, unit: "reads/s" },
      { name: "after 3 s: throughput over before", value: slow.readsPerSecond / before.readsPerSecond, unit: "x", atLeast: 0.9 },
      { name: "after 3 s: p99", value: slow.p99, unit: "ms" },
      { name: "after 3 s: failed reads", value: slow.failed, unit: "", atMost: 0 },
      { name: "never: throughput over before", value: silent.readsPerSecond / before.readsPerSecond, unit: "x" },
      { name: "never: p50", value: silent.p50, unit: "ms" },
      { name: "never: p99", value: silent.p99, unit: "ms", atMost: 50 },
      { name: "never: failed reads", value: silent.failed, unit: "", atMost: 0 },
    ];
    return { figures, chart: barsOf(figures, "ms") };
  },
};
