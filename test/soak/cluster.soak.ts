import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { namesOf } from "../e2e/addresses.js";
import { Cluster } from "../e2e/cluster.js";
import { EmulatedPods } from "../e2e/cluster-pods.js";
import { MiB } from "../e2e/test-objects.js";
import { volumeFiles } from "../fault/volume-files.js";
import { seededRandom } from "../seeded-random.js";
import { OverwrittenObject } from "../versions/overwritten-object.js";
import { FAULTS, type FaultTargets } from "./faults.js";
import { runLoad } from "./load.js";
import { MemoryCurve, type Resources, resourcesOf } from "./resources.js";
import { Verdicts } from "./verdicts.js";

const MINUTE_MS = 60_000;
/** Duration in minutes. Memory is compared between the second and the last minute. */
const minutes = Number(process.env.FRONTCACHE_SOAK_MINUTES ?? 10);
const seed = Number(process.env.FRONTCACHE_SOAK_SEED ?? Date.now() % 1_000_000);
/** Each minute one line reports the state. */
const SAMPLE_MS = 5_000;
/** A third more than all volumes together, so that the purger must evict. */
const OBJECTS = 12;
const BLOCKS_EACH = 24;
const VOLUME = "72MiB";
const VOLUME_BYTES = 72 * MiB;
/** This member is never stopped: its memory reveals leaks. */
const ELDER = "cache-0";

describe(`three members under mixed load and faults for ${minutes} minutes, seed ${seed}`, () => {
  it("return no wrong byte, fail only reads that the rules allow, and leak nothing", {
    timeout: (minutes + 3) * MINUTE_MS,
  }, async () => {
    let pods!: EmulatedPods;
    await using cluster = await Cluster.start({
      names: namesOf(3),
      flags: ["--revalidate-after", "500ms", "--purge-interval", "2s", "--fill-memory", "32MiB"],
      volumeSize: VOLUME,
      pods: async ({ directory }) => {
        pods = await EmulatedPods.start(directory);
        return pods;
      },
    });
    const random = seededRandom(seed);
    const verdicts = new Verdicts();
    const overwritten = new OverwrittenObject(cluster.origin, "bucket", "overwritten");
    overwritten.overwrite();
    const objects = cluster.put(OBJECTS, BLOCKS_EACH);
    const clients = [await cluster.client("cache-0"), await cluster.client("cache-1")];
    const client = clients[0]!;
    await client.readRange(objects[0]!.url, 0, MiB, objects[0]!.version);
    const atStart = resourcesOf(cluster.process(ELDER));

    const stop = new AbortController();
    const began = performance.now();
    const memory = new MemoryCurve();
    const http = cluster.member(ELDER).http;
    const load = runLoad({ clients, objects, overwritten, http, verdicts }, seed, stop.signal);
    const mortal = ["cache-1", "cache-2"];
    const faults = causeFaults({ cluster, pods, client, objects, overwritten, verdicts, mortal, random }, stop.signal);
    for (let at = SAMPLE_MS; at <= minutes * MINUTE_MS; at += SAMPLE_MS) {
      await pause(Math.max(0, began + at - performance.now()));
      memory.add(at, cluster.process(ELDER).residentBytes.anonymous);
      if (verdicts.wrong.length > 0 || verdicts.failed.length > 20) break;
      if (at % MINUTE_MS === 0) report(at, verdicts, memory, resourcesOf(cluster.process(ELDER)));
    }
    stop.abort();
    const happened = await faults;
    await load;
    console.info(JSON.stringify({ happened, answers: verdicts.answers, allowed: verdicts.allowed }, undefined, 1));
    expect({ wrong: verdicts.wrong, failed: verdicts.failed }).toEqual({ wrong: [], failed: [] });

    await atRest(cluster, atStart);
    if (minutes >= 3) {
      const early = memory.meanBytes(MINUTE_MS, 2 * MINUTE_MS);
      const late = memory.meanBytes((minutes - 1) * MINUTE_MS, minutes * MINUTE_MS + 1);
      console.info(`memory in minute two ${mib(early)}, in the last one ${mib(late)}: ${(late / early).toFixed(3)}`);
      expect(late / early).toBeLessThan(1.1);
    }
  });
});

/** Causes faults one after the other with pauses; resolves with the count of each. */
async function causeFaults(targets: FaultTargets, stopped: AbortSignal): Promise<Record<string, number>> {
  const happened: Record<string, number> = {};
  const names = Object.keys(FAULTS);
  while (!stopped.aborted) {
    const name = names[Math.floor(targets.random() * names.length)]!;
    happened[name] = (happened[name] ?? 0) + 1;
    try {
      await FAULTS[name]!(targets);
    } catch (cause) {
      throw new Error(`cannot cause or end the fault: ${name}`, { cause });
    }
    await pause(500 + targets.random() * 1_500);
  }
  return happened;
}

/** Checks the invariants of a cluster at rest. */
async function atRest(cluster: Cluster, atStart: Resources): Promise<void> {
  // The purger has evicted everything necessary after two runs.
  await pause(6_000);
  for (const name of cluster.names) {
    const { allocatedBytes } = volumeFiles(cluster.cacheOf(name));
    expect(allocatedBytes).toBeLessThanOrEqual(VOLUME_BYTES);
  }
  const client = await cluster.client();
  await client.evict({ prefix: "s3://bucket/" });
  await pause(6_000);
  for (const name of cluster.names) {
    expect({ name, blocks: await cluster.cachedBlocks(name) }).toEqual({ name, blocks: 0 });
    const { mappedBlocks } = resourcesOf(cluster.process(name));
    expect({ name, mappedBlocks }).toEqual({ name, mappedBlocks: 0 });
  }
  const atEnd = resourcesOf(cluster.process(ELDER));
  console.info(`resources at the start and at the end: ${JSON.stringify(atStart)}, ${JSON.stringify(atEnd)}`);
  // Some idle connections remain: to the origin, from the clients, from the other members.
  expect(atEnd.descriptors).toBeLessThan(atStart.descriptors + 60);
}

function report(atMs: number, { answers, bytes, failed, allowed }: Verdicts, memory: MemoryCurve, resources: Resources): void {
  const reads = Object.values(answers).reduce((sum, count) => sum + count, 0);
  const excused = Object.values(allowed).reduce((sum, count) => sum + count, 0);
  const recent = mib(memory.meanBytes(atMs - MINUTE_MS, atMs + 1));
  console.info(
    `minute ${atMs / MINUTE_MS}: ${reads} reads, ${mib(bytes)}, ${failed.length} failed, ${excused} excused, ${recent} of memory, ${JSON.stringify(resources)}`,
  );
}

function mib(bytes: number): string {
  return `${Math.round(bytes / MiB)} MiB`;
}
