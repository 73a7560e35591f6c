import { closeSync, ftruncateSync, openSync, readdirSync, readSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { CacheClient } from "@frontcache/client";
import type { Cluster } from "../e2e/cluster.js";
import type { EmulatedPods } from "../e2e/cluster-pods.js";
import type { TestObject } from "../e2e/test-objects.js";
import type { FaultRule } from "../emulators/faults.js";
import type { OverwrittenObject } from "../versions/overwritten-object.js";
import type { Verdicts } from "./verdicts.js";

/** The targets of faults. */
export interface FaultTargets {
  readonly cluster: Cluster;
  readonly pods: EmulatedPods;
  readonly client: CacheClient;
  readonly objects: readonly TestObject[];
  readonly overwritten: OverwrittenObject;
  readonly verdicts: Verdicts;
  /** Members that may be stopped, one at a time. */
  readonly mortal: readonly string[];
  readonly random: () => number;
}

/** One kind of fault; resolves when it is over. */
type Fault = (targets: FaultTargets) => Promise<void>;

/** All kinds of faults by their names in the report. */
export const FAULTS: Readonly<Record<string, Fault>> = {
  "a member is killed": async ({ cluster, mortal, random }) => {
    const name = pick(mortal, random);
    await cluster.kill(name);
    await pause(200 + random() * 2_000);
    await cluster.startAgain(name);
    await cluster.agreed();
  },
  "a member is killed, its files damaged": async ({ cluster, mortal, random }) => {
    const name = pick(mortal, random);
    await cluster.kill(name);
    damageFiles(cluster.cacheOf(name), random);
    await cluster.startAgain(name);
    await cluster.agreed();
  },
  "a member is restarted": async ({ cluster, mortal, random }) => {
    const name = pick(mortal, random);
    const host = cluster.hostOf(name);
    await cluster.shutDown(name);
    await cluster.join({ name, host });
    await cluster.agreed();
  },
  "a member is stopped for a second": async ({ cluster, random }) => {
    const { pid } = cluster.process(pick(cluster.names, random));
    process.kill(pid, "SIGSTOP");
    await pause(1_000);
    process.kill(pid, "SIGCONT");
  },
  "the Kubernetes API is away": async ({ pods, random }) => {
    await pods.api.down();
    await pause(500 + random() * 3_000);
    await pods.api.up();
  },
  "watches break": async ({ pods }) => pods.api.dropWatches(),
  "the origin throttles": (targets) => faultOrigin(targets, { error: { status: 503, code: "SlowDown" }, times: 8 }, 1_000),
  "the origin returns errors": (targets) =>
    faultOrigin(targets, { error: { status: 500, code: "InternalError" }, times: 8 }, 1_000),
  "the origin is slow": (targets) => faultOrigin(targets, { latencyMs: 300 }, 3_000),
  "the origin cuts bodies": (targets) => faultOrigin(targets, { body: { afterBytes: 100_000, how: "reset" }, times: 8 }, 2_000),
  "the origin's bodies stall": (targets) =>
    faultOrigin(targets, { body: { afterBytes: 100_000, how: "stall" }, times: 2 }, 2_000),
  "the origin answers with short bodies": (targets) =>
    faultOrigin(targets, { range: "short", when: ({ method }) => method === "GET", times: 4 }, 1_000),
  "an object is overwritten": async ({ overwritten }) => overwritten.overwrite(),
  "an object is evicted": async ({ client, objects, random }) => void (await client.evict({ url: pick(objects, random).url })),
};

function pick<T>(choices: readonly T[], random: () => number): T {
  return choices[Math.floor(random() * choices.length)]!;
}

async function faultOrigin({ cluster, verdicts }: FaultTargets, fault: FaultRule, forMs: number): Promise<void> {
  const well = verdicts.originInTrouble();
  const remove = cluster.origin.faults.place(fault);
  await pause(forMs);
  remove();
  well();
}

/**
 * Damages the block files of a stopped member: flips a bit in a fifth of them, truncates some, removes some, adds a stray file.
 */
function damageFiles(directory: string, random: () => number): void {
  const files = readdirSync(join(directory, "v1"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  for (const file of files) {
    const dice = random();
    if (dice < 0.2) flipBit(file, random);
    else if (dice < 0.25) truncate(file, random);
    else if (dice < 0.3) rmSync(file);
  }
  closeSync(openSync(join(directory, "v1", "stray"), "w"));
}

function flipBit(file: string, random: () => number): void {
  const fd = openSync(file, "r+");
  const at = Math.floor(random() * statSync(file).size);
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, at);
  byte[0]! ^= 1 << Math.floor(random() * 8);
  writeSync(fd, byte, 0, 1, at);
  closeSync(fd);
}

function truncate(file: string, random: () => number): void {
  const fd = openSync(file, "r+");
  ftruncateSync(fd, Math.floor(random() * statSync(file).size));
  closeSync(fd);
}
