import { setTimeout as sleep } from "node:timers/promises";
import { CacheClient } from "@frontcache/client";
import { type Benchmark, barsOf, type Figure } from "../answer.js";
import { quick } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { Cluster, KiB, MiB, type StageObject } from "../stage.js";

const BLOCKS = 10;
const READ_BYTES = 64 * KiB;
const READERS = 4;
const FROZEN_SECONDS = 25;
/** Between two reads of a reader. */
const PAUSE_MS = 20;
/** After it continues, the member is probed and asked again before the next way to read. */
const RECOVERY_MS = 3_000;
const WAYS = ["auto", "grpc", "HTTP listener"] as const;

/** Reads the beginning of the block at `offset`. */
type Read = (offset: number) => Promise<Buffer>;

/** Reads of one way while a member was stopped. */
interface Outcome {
  reads: number;
  failed: number;
  slowestMs: number;
}

/** The bytes of an object put by `OriginProcess.putObject`. */
function isRight(bytes: Buffer, offset: number): boolean {
  return bytes.length === READ_BYTES && bytes.every((byte, at) => byte === (offset + at + 1) % 251);
}

async function readWhileFrozen(read: Read): Promise<Outcome> {
  const outcome: Outcome = { reads: 0, failed: 0, slowestMs: 0 };
  const untilMs = performance.now() + quick(FROZEN_SECONDS) * 1e3;
  const reader = async (index: number): Promise<void> => {
    for (let block = index; performance.now() < untilMs; block = (block + 3) % BLOCKS) {
      const beganMs = performance.now();
      const bytes = await read(block * 16 * MiB).catch(() => undefined);
      if (bytes === undefined || !isRight(bytes, block * 16 * MiB)) outcome.failed++;
      outcome.reads++;
      outcome.slowestMs = Math.max(outcome.slowestMs, performance.now() - beganMs);
      await sleep(PAUSE_MS);
    }
  };
  await Promise.all(Array.from({ length: READERS }, (_, index) => reader(index)));
  return outcome;
}

/** Reads over HTTP at one member, which forwards most of the reads. */
function atListener(http: string, { key }: StageObject): Read {
  return async (offset) => {
    const headers = { range: `bytes=${offset}-${offset + READ_BYTES - 1}` };
    const response = await fetch(`http://${http}/s3/bench/${key}`, { headers });
    const bytes = Buffer.from(await response.arrayBuffer());
    if (response.status !== 206) throw new Error(`status ${response.status}`);
    return bytes;
  };
}

export const benchmark: Benchmark = {
  question: "How long does a read take at most while one of three members is stopped (SIGSTOP)?",
  async run() {
    await using origin = await OriginProcess.start();
    await using cluster = await Cluster.start(origin.endpoint, 3, ["--fill", "whole"]);
    const [first, , frozen] = cluster.members;
    const object = await origin.putObject("frozen", BLOCKS * 16 * MiB);
    const figures: Figure[] = [];
    for (const way of WAYS) {
      const client = way === "HTTP listener" ? undefined : await CacheClient.connect({ endpoint: first!.grpc, transport: way });
      const read: Read =
        client === undefined
          ? atListener(first!.http, object)
          : (offset) => client.readRange(object.url, offset, READ_BYTES, object.version);
      for (let block = 0; block < BLOCKS; block++) await read(block * 16 * MiB);
      frozen!.freeze();
      const { failed, slowestMs } = await readWhileFrozen(read).finally(() => frozen!.thaw());
      await sleep(RECOVERY_MS);
      await client?.close();
      figures.push(
        { name: `${way}: slowest read`, value: slowestMs / 1e3, unit: "s", atMost: 2 },
        { name: `${way}: failed reads`, value: failed, unit: "", atMost: 0 },
      );
    }
    return { figures, chart: barsOf(figures, "s") };
  },
};
