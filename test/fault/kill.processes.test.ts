import type { CacheClient } from "@frontcache/client";
import { eventually } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { connectClient, MemberProcess, temporaryDirectory } from "../e2e/member-process.js";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { scrape, sumOf } from "../metrics/scrape.js";
import { seededRandom } from "../seeded-random.js";
import { arm, chooseFailpoint, type Failpoint, withFailpoint } from "./killed-member.js";
import { volumeFiles } from "./volume-files.js";

const MiB = 1 << 20;
const PAGE_BYTES = 4096;

/** For long runs set FRONTCACHE_KILLS=50; to repeat a run set FRONTCACHE_KILLS_SEED=17. */
const kills = Number(process.env.FRONTCACHE_KILLS ?? 8);
const seed = Number(process.env.FRONTCACHE_KILLS_SEED ?? 1);

/** Directories on which members are killed concurrently. */
const LANES = 2;
const OBJECTS = 8;
const OBJECT_BYTES = 12 * MiB;
const READERS = 6;
/** Room for a third of the objects, so that blocks are continuously filled, extended and purged. */
const FLAGS = ["--block-size", "4MiB", "--part-size", "1MiB", "--purge-interval", "100ms"];
const BUDGET = "32MiB";

/** A member that lives longer than this did not reach its failpoint. */
const MOST_READS = 10_000;

/** A cache directory over many restarts of its member. */
class Lives {
  constructor(
    readonly origin: S3Emulator,
    /** Versions of the objects. */
    readonly versions: readonly string[],
    readonly directory: string,
    readonly random: () => number,
  ) {}

  start(failpoint?: Failpoint): Promise<MemberProcess> {
    return MemberProcess.start({
      endpoint: this.origin.endpoint,
      cacheDirectory: `${this.directory}:${BUDGET}`,
      flags: FLAGS,
      ...(failpoint === undefined ? {} : { env: withFailpoint(failpoint, this.directory) }),
    });
  }

  /** Runs a member until its failpoint, during recovery or reads. Before that, checks the state that its predecessor left. */
  async liveUntil(failpoint: Failpoint): Promise<void> {
    let member: MemberProcess;
    try {
      member = await this.start(failpoint);
    } catch (error) {
      if (failpoint.armed === "at start" && String(error).includes("ended with null")) return;
      throw error;
    }
    await using client = await connectClient({ endpoint: member.grpc, attempts: 1 });
    await using living = member;
    if (failpoint.armed === "by signal") {
      await expectSound(living, this.directory);
      arm(living.pid);
    }
    const reader = async (): Promise<void> => {
      for (let reads = 0; reads < MOST_READS && living.runs; reads++) await this.readOnce(client);
      if (living.runs) throw new Error(`the member lives on after ${MOST_READS} reads`);
    };
    await Promise.all(Array.from({ length: READERS }, reader));
  }

  /** One random read. It may fail, because the member dies; it must not be wrong. */
  async readOnce(client: CacheClient): Promise<void> {
    const object = Math.floor(this.random() * OBJECTS);
    const offset = Math.floor(this.random() * OBJECT_BYTES);
    const length = Math.min(OBJECT_BYTES - offset, 1 + Math.floor(this.random() * 3 * MiB));
    const read = client.readRange(`s3://bucket/object-${object}`, offset, length, this.versions[object]);
    const bytes = await read.catch((error) => {
      // A member on a busy machine may reject reads as overloaded.
      expect(["UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED"]).toContain(error.code);
    });
    if (bytes !== undefined && !bytes.equals(rampBytes(offset, length, object))) {
      throw new Error(`wrong bytes of object-${object} at ${offset}, ${length} long`);
    }
  }
}

/** Checks a recovered member: no incomplete file, no damage, no unaccounted space. */
async function expectSound(member: MemberProcess, directory: string): Promise<void> {
  const recovered = member.log.find((entry) => entry.event === "volumes-recovered") as { volumes: { blocks: number }[] };
  // It may evict what its predecessor had above the watermark, from the first moment on.
  await eventually(async () => {
    const figures = await scrape(member.http);
    const [blocks, evicted] = [sumOf(figures, "frontcache_volume_blocks"), sumOf(figures, "frontcache_evictions_total")];
    const usedBytes = sumOf(figures, "frontcache_volume_usage_bytes");
    expect(blocks + evicted).toBe(recovered.volumes[0]!.blocks);
    const { blockFiles, allocatedBytes } = volumeFiles(directory);
    expect(blocks).toBe(blockFiles);
    expect(allocatedBytes).toBeGreaterThanOrEqual(usedBytes);
    // File systems may need another page for the metadata of a fragmented file.
    expect(allocatedBytes - usedBytes).toBeLessThanOrEqual(blockFiles * PAGE_BYTES);
  });
}

/** Kills consecutive members on one directory, then reads everything. */
async function killOften(
  origin: S3Emulator,
  versions: readonly string[],
  failpoints: readonly Failpoint[],
  random: () => number,
): Promise<void> {
  await using directory = await temporaryDirectory();
  const lives = new Lives(origin, versions, directory.path, random);
  for (const failpoint of failpoints) await lives.liveUntil(failpoint);
  await using member = await lives.start();
  await expectSound(member, directory.path);
  await using client = await connectClient({ endpoint: member.grpc });
  for (let object = 0; object < OBJECTS; object++) {
    const bytes = await client.readRange(`s3://bucket/object-${object}`, 0, OBJECT_BYTES, versions[object]);
    expect(bytes.equals(rampBytes(0, OBJECT_BYTES, object))).toBe(true);
  }
  expect(await member.stop()).toBe(0);
}

describe("kill -9 at any step of fills and purges", () => {
  it(`causes no wrong byte, no stray file and no lost space (${kills} kills, seed ${seed})`, async () => {
    await using origin = await S3Emulator.start();
    const versions = Array.from({ length: OBJECTS }, (_, i) => origin.putRamp("bucket", `object-${i}`, OBJECT_BYTES, i));
    const random = seededRandom(seed);
    const failpoints = Array.from({ length: kills }, () => chooseFailpoint(random));
    const lanes = Array.from({ length: LANES }, (_, lane) => failpoints.filter((_point, i) => i % LANES === lane));
    await Promise.all(lanes.map((lane, i) => killOften(origin, versions, lane, seededRandom(seed + i))));
  });
});
