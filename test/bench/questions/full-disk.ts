import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { CacheClient } from "@frontcache/client";
import { rampChunks } from "@frontcache/server/testing";
import { MemberProcess } from "../../e2e/member-process.js";
import { mayMount, SmallDisk } from "../../fault/small-disk.js";
import { volumeFiles } from "../../fault/volume-files.js";
import { ticks } from "../../fault/volume-report.js";
import { type Benchmark, barsOf, type Figure } from "../answer.js";
import { timeMs } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { GiB, MiB } from "../stage.js";

const READ_BYTES = 4 * MiB;
const CONCURRENCY = 16;
const SEED = 7;
const SAMPLE_MS = 20;
/** The largest file that a purge may take more than it needs: a block with its footer. */
const FILE_BYTES = 16 * MiB + 4096;

/** Result of reads: wrong and failed ones are counted, not thrown. */
interface Reads {
  bytes: number;
  failed: number;
}

/** Whether the bytes are those of the ramp. */
function areRight(bytes: Buffer, offset: number): boolean {
  let at = 0;
  for (const chunk of rampChunks(offset, READ_BYTES, SEED, MiB)) {
    if (!chunk.equals(bytes.subarray(at, at + chunk.length))) return false;
    at += chunk.length;
  }
  return at === bytes.length;
}

/** A member on a disk of 1 GiB, and the space that it uses. */
class Stage implements AsyncDisposable {
  /** Maximum share of the limit, percent, sampled all the time. */
  largestShare = 0;
  readonly #watch: NodeJS.Timeout;

  readonly disk: SmallDisk;
  readonly member: MemberProcess;
  readonly client: CacheClient;
  readonly object: { readonly url: string; readonly version: string };

  private constructor(
    disk: SmallDisk,
    member: MemberProcess,
    client: CacheClient,
    object: { readonly url: string; readonly version: string },
    usedBytes: () => number,
  ) {
    this.disk = disk;
    this.member = member;
    this.client = client;
    this.object = object;
    this.#watch = setInterval(() => {
      this.largestShare = Math.max(this.largestShare, (usedBytes() / GiB) * 100);
    }, SAMPLE_MS);
  }

  /** Starts a member on a disk of 1 GiB, or with a budget of 1 GiB on a larger disk. */
  static async set(origin: OriginProcess, isBudget: boolean): Promise<Stage> {
    const object = await origin.putRamp("large", 10 * GiB, SEED);
    const disk = new SmallDisk(isBudget ? 2 * GiB : GiB);
    const cacheDirectory = isBudget ? `${disk.path}:1GiB` : disk.path;
    const flags = ["--log-level", "debug"];
    const member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory, ownDisk: !isBudget, flags });
    const client = await CacheClient.connect({ endpoint: member.grpc });
    return new Stage(disk, member, client, object, () => disk.usedBytes);
  }

  /** Reads from `start` to `end` with 16 concurrent reads, and compares every byte. */
  async read(start: number, end: number): Promise<Reads> {
    const reads: Reads = { bytes: 0, failed: 0 };
    let next = start;
    const readInTurn = async (): Promise<void> => {
      for (let at = next; at < end; at = next) {
        next += READ_BYTES;
        const bytes = await this.client.readRange(this.object.url, at, READ_BYTES, this.object.version).catch(() => undefined);
        if (bytes !== undefined && areRight(bytes, at)) reads.bytes += bytes.length;
        else reads.failed++;
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, readInTurn));
    return reads;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#watch);
    await this.client.close();
    await this.member.stop();
    this.disk[Symbol.dispose]();
  }
}

async function readTenTimesItsSize(origin: OriginProcess, isBudget: boolean): Promise<Figure[]> {
  await using stage = await Stage.set(origin, isBudget);
  const name = isBudget ? "budget" : "disk";
  let reads: Reads | undefined;
  const ms = await timeMs(async () => {
    reads = await stage.read(0, 10 * GiB);
  });
  const { usedBytes, reservedBytes } = await ticks(stage.member, 2);
  const { allocatedBytes } = volumeFiles(stage.disk.path);
  const share = (usedBytes / GiB) * 100;
  return [
    { name: `${name}: read and compared`, value: reads!.bytes / GiB, unit: "GiB", atLeast: 10 },
    { name: `${name}: ... a second`, value: reads!.bytes / ms / 1e6, unit: "GB/s" },
    { name: `${name}: failed or wrong reads`, value: reads!.failed, unit: "", atMost: 0 },
    { name: `${name}: used, largest`, value: stage.largestShare, unit: "%", atMost: 100 },
    { name: `${name}: used two ticks later`, value: share, unit: "%", atMost: 95 },
    { name: `${name}: ... at least`, value: share, unit: "%", atLeast: 90 - (FILE_BYTES / GiB) * 100 },
    {
      name: `${name}: the member's figure and that of du differ by`,
      value: allocatedBytes - usedBytes,
      unit: "bytes",
      atMost: 0,
    },
    { name: `${name}: reserved, at rest`, value: reservedBytes, unit: "", atMost: 0 },
    { name: `${name}: volume failures`, value: failures(stage.member), unit: "", atMost: 0 },
  ];
}

function failures(member: MemberProcess): number {
  return member.log.filter(({ event }) => event === "volume-failed").length;
}

/** Another program, which fills the disk again and again until it is stopped. */
class DiskFiller {
  #isFull = false;
  #stopped = false;
  readonly #ended: Promise<void>;

  readonly #disk: SmallDisk;

  constructor(disk: SmallDisk) {
    this.#disk = disk;
    this.#ended = this.#fill();
  }

  /** Whether it has filled the disk. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** Ends the program and frees its space. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#ended;
    this.#disk.clearUp();
  }

  async #fill(): Promise<void> {
    const to = `of=${join(this.#disk.path, "foreign")}`;
    while (!this.#stopped) {
      const dd = spawn("dd", ["if=/dev/zero", "bs=1M", "oflag=append", "conv=notrunc", to], { stdio: "ignore" });
      const [exitCode] = (await once(dd, "exit")) as [number | null];
      this.#isFull ||= exitCode === 1;
      await setTimeout(100);
    }
  }
}

async function readBesideAnother(origin: OriginProcess): Promise<Figure[]> {
  await using stage = await Stage.set(origin, false);
  const before = await stage.read(0, GiB);
  const filler = new DiskFiller(stage.disk);
  const during: Reads = { bytes: 0, failed: 0 };
  // Until the other program has all the space, and then another GiB.
  for (let at = GiB, left = GiB; left > 0; at += GiB / 4) {
    const { bytes, failed } = await stage.read(at % (9 * GiB), (at % (9 * GiB)) + GiB / 4);
    during.bytes += bytes;
    during.failed += failed;
    if (stage.disk.usedBytes === GiB && (await ticks(stage.member, 1)).blocks === 0) left -= GiB / 4;
  }
  const { blocks } = await ticks(stage.member, 1);
  await filler.stop();
  let failed = 0;
  const backMs = await timeMs(async () => {
    for (let gets = 1; gets > 0; ) {
      await origin.traffic();
      failed += (await stage.read(0, GiB / 2)).failed;
      ({ gets } = await origin.traffic());
    }
  });
  const { usedBytes } = await ticks(stage.member, 1);
  const { allocatedBytes } = volumeFiles(stage.disk.path);
  return [
    { name: "beside another program: read and compared", value: (before.bytes + during.bytes) / GiB, unit: "GiB", atLeast: 2 },
    { name: "... failed or wrong reads", value: before.failed + during.failed + failed, unit: "", atMost: 0 },
    { name: "... used by both, largest", value: stage.largestShare, unit: "%", atLeast: 100 },
    { name: "... blocks left to the member when it was full", value: blocks, unit: "", atMost: 0 },
    { name: "space is back: seconds until 512 MiB are kept again", value: backMs / 1000, unit: "s", atMost: 30 },
    { name: "... the member's figure and that of du differ by", value: allocatedBytes - usedBytes, unit: "bytes", atMost: 0 },
  ];
}

export const benchmark: Benchmark = {
  question: "Does a full disk of 1 GiB ever fail a read, at full speed and beside another program that fills it?",
  async run() {
    if (!mayMount()) throw new Error("a tmpfs must be mounted for this: run it as root");
    await using origin = await OriginProcess.start();
    const figures = [
      ...(await readTenTimesItsSize(origin, false)),
      ...(await readTenTimesItsSize(origin, true)),
      ...(await readBesideAnother(origin)),
    ];
    return { figures, chart: barsOf(figures, "%") };
  },
};
