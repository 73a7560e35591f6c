import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { loadKubeConfig } from "../../server/src/membership/kube-config.js";
import { kubernetesMembers, kubernetesTimes } from "../../server/src/membership/kubernetes-members.js";
import { silentLog } from "../../server/src/runtime/log.js";
import { KubeEmulator, type PodObject } from "../emulators/kube.js";
import { FlowingTime } from "./flowing-time.js";

const STEPS = 150;
const POD_NAMES = Array.from({ length: 8 }, (_, ordinal) => `frontcache-${ordinal}`);

let directory: string;
let time: FlowingTime;
let api: KubeEmulator;

// Loading the package takes real time, in which no time of the tests should pass.
beforeAll(async () => {
  await import("@kubernetes/client-node");
});

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "frontcache-kube-"));
  time = new FlowingTime();
  api = await KubeEmulator.start("cache", time.clock);
});

afterEach(async () => {
  await api.close();
  await rm(directory, { recursive: true });
});

/** Mulberry32: numbers in [0, 1) that a seed repeats. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Who should be a member, read off the pods themselves. */
function rightful(): Record<string, string> {
  const serves = ({ metadata, status }: PodObject): boolean =>
    metadata.deletionTimestamp === undefined &&
    status.podIP !== undefined &&
    status.conditions.some(({ type, status: state }) => type === "Ready" && state === "True");
  const members = api.pods.all().filter(serves);
  return Object.fromEntries(members.map(({ metadata, status }) => [metadata.name, `${status.podIP}:8080`]));
}

function changePods(random: () => number): void {
  const name = POD_NAMES[Math.floor(random() * POD_NAMES.length)]!;
  const ip = `10.0.${Math.floor(random() * 256)}.${Math.floor(random() * 256)}`;
  const known = api.pods.all().find(({ metadata }) => metadata.name === name);
  if (known === undefined) api.pods.set(name, { ready: random() < 0.5, ip: random() < 0.2 ? null : ip });
  else if (known.metadata.deletionTimestamp !== undefined) api.tellAgain("DELETED", api.pods.remove(name));
  else if (random() < 0.3) api.pods.startDeleting(name);
  else api.pods.set(name, { ready: random() < 0.7, ip });
}

/** What may go wrong between two changes. Whatever it is ends when the next one begins. */
const troubles: readonly (() => void | Promise<void>)[] = [
  () => api.dropWatches(),
  () => api.endWatches(),
  () => api.pods.compact(),
  () => api.bookmark(),
  () => api.silenceWatches(),
  () => api.failWatches(410, "too old resource version"),
  () => {
    api.behaviour.refuse = 500;
  },
  () => {
    api.behaviour.hang = true;
  },
  () => {
    api.behaviour.goneAs = api.behaviour.goneAs === "event" ? "status" : "event";
  },
  async () => {
    await api.down();
    await time.pass(3000);
    await api.up();
  },
];

function calm(): void {
  api.unsilenceWatches();
  api.behaviour.refuse = undefined;
  api.behaviour.hang = false;
}

describe("members by Kubernetes, whatever happens to pods and API", () => {
  it.each([1, 2, 3, 4, 5, 6])("are the rightful ones once it is calm (seed %d)", async (seed) => {
    const random = seeded(seed);
    const kubeconfig = join(directory, "kubeconfig");
    await writeFile(kubeconfig, api.kubeconfig());
    const source = kubernetesMembers({
      loadConfig: () => loadKubeConfig(kubeconfig),
      namespace: undefined,
      labelSelector: "app=frontcache",
      identity: "pod",
      grpcPort: 8080,
      httpPort: 8081,
      unreadyGraceMs: 10_000,
      blockBytes: 1 << 24,
      times: kubernetesTimes,
      clock: time.clock,
      random,
      log: silentLog,
    });
    for (let step = 0; step < STEPS; step++) {
      changePods(random);
      if (random() < 0.3) {
        calm();
        await troubles[Math.floor(random() * troubles.length)]!();
      }
      await time.pass(Math.floor(random() * 1500));
    }
    calm();
    // The longest watch that may have gone silent unnoticed, then its list, then the grace of who turned not ready.
    await time.pass(1.2 * kubernetesTimes.watchMs + kubernetesTimes.watchSlackMs + 10_000 + 2000);
    const members = source.current()!.members.map(({ name, grpcAddress }) => [name, grpcAddress]);
    expect(Object.fromEntries(members)).toEqual(rightful());
    expect(source.report().failures).toBeGreaterThan(0);
    await source.close();
    await time.until("the source has left its connections", () => api.openSockets === 0);
    expect(time.clock.waits).toBe(0);
  });
});
