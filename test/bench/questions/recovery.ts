import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { blockDigest, blockPath, DEFAULT_GEOMETRY, encodeFooter, segmentCount } from "@frontcache/proto";
import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import { type Benchmark, barsOf } from "../answer.js";
import { loopDelay, withLoopDelay } from "../loop-delay.js";
import { median, timeMs } from "../measure.js";

const BLOCKS = 65_536;
const BLOCKS_AN_OBJECT = 64;
const STARTS = 3;
const { blockBytes } = DEFAULT_GEOMETRY;
const NO_ORIGIN = "http://127.0.0.1:9";

/** Sparse block files with a footer only: 1 TiB by length, one page each on the disk. */
async function makeBlocks(directory: string): Promise<void> {
  const segments = segmentCount(blockBytes, DEFAULT_GEOMETRY);
  const info = { version: "9bb58f26192e4ba00f01e2e7b136bbd8-64", objectSize: BLOCKS_AN_OBJECT * blockBytes };
  for (let block = 0; block < BLOCKS; block++) {
    const url = `s3://bench/events/part-${String(Math.floor(block / BLOCKS_AN_OBJECT)).padStart(5, "0")}.parquet`;
    const id = { url, version: info.version, offset: (block % BLOCKS_AN_OBJECT) * blockBytes };
    const crcs = Array.from({ length: segments }, (_, segment) => (block * 2_654_435_761 + segment) % 2 ** 32);
    const path = blockPath(directory, blockDigest(id, blockBytes));
    await mkdir(dirname(path), { recursive: true });
    await using file = await open(path, "w", 0o600);
    await file.write(
      encodeFooter({ id, info, createdAtMs: 1_700_000_000_000, crcs, drops: 0 }, DEFAULT_GEOMETRY)!,
      0,
      undefined,
      blockBytes,
    );
  }
}

interface Start {
  readonly readyMs: number;
  readonly residentBytes: number;
  readonly blocks: number;
}

/** Starts a member with a budget for all blocks, and ends it when it is ready. */
async function start(directory: string): Promise<Start> {
  let member: MemberProcess | undefined;
  const readyMs = await timeMs(async () => {
    member = await MemberProcess.start({ endpoint: NO_ORIGIN, cacheDirectory: `${directory}:2TiB` });
  });
  const { blocks } = member!.log.find(({ event }) => event === "volumes-recovered") as { blocks: number } & object;
  const { all: residentBytes } = member!.residentBytes;
  await member!.stop();
  return { readyMs, residentBytes, blocks };
}

/** Starts a member whose budget is too small by a quarter. Resolves when the purger is done. */
async function purge(directory: string): Promise<{ blocks: number; longestMs: number }> {
  await using member = await MemberProcess.start({
    endpoint: NO_ORIGIN,
    cacheDirectory: `${directory}:768GiB`,
    flags: ["--purge-interval", "5s"],
    env: withLoopDelay,
  });
  // Resets the delay: that of the start does not count.
  await loopDelay(member);
  const purged = (): Record<string, unknown> | undefined => member.log.find(({ event }) => event === "purged");
  while (purged() === undefined) await new Promise((resolve) => setTimeout(resolve, 50));
  const { max: longestMs } = await loopDelay(member);
  return { blocks: (purged() as { blocks: number }).blocks, longestMs };
}

export const benchmark: Benchmark = {
  question: "How soon is a member ready with 65,536 block files, and does a purge of a quarter of them stall it?",
  async run() {
    await using empty = await temporaryDirectory();
    await using full = await temporaryDirectory();
    await makeBlocks(full.path);
    const without: Start[] = [];
    const starts: Start[] = [];
    for (let i = 0; i < STARTS; i++) {
      without.push(await start(empty.path));
      starts.push(await start(full.path));
    }
    const of = (all: Start[], field: keyof Start): number => median(all.map((each) => each[field]));
    const { blocks, longestMs } = await purge(full.path);
    const moreBytes = of(starts, "residentBytes") - of(without, "residentBytes");
    const figures = [
      { name: "blocks recovered", value: of(starts, "blocks"), unit: "", atLeast: BLOCKS },
      { name: "process started to ready, no blocks", value: of(without, "readyMs") / 1000, unit: "s" },
      { name: "process started to ready", value: of(starts, "readyMs") / 1000, unit: "s", atMost: 5 },
      { name: "more resident memory", value: moreBytes / 1e6, unit: "MB", atMost: 150 },
      { name: "blocks purged in one run", value: blocks, unit: "", atLeast: BLOCKS / 4 },
      { name: "... maximum event loop delay during the purge", value: longestMs, unit: "ms", atMost: 10 },
    ];
    return { figures, chart: barsOf(figures, "s") };
  },
};
