import { kubernetesTimes } from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { KubeEmulator, PodObject } from "../emulators/kube.js";
import { seededRandom } from "../seeded-random.js";
import { EmulatedKubernetes } from "./emulated-kubernetes.js";
import type { FlowingTime } from "./flowing-time.js";

const STEPS = 150;
const POD_NAMES = Array.from({ length: 8 }, (_, ordinal) => `frontcache-${ordinal}`);

let kubernetes: EmulatedKubernetes;
let time: FlowingTime;
let api: KubeEmulator;

beforeEach(async () => {
  kubernetes = await EmulatedKubernetes.open();
  ({ time, api } = kubernetes);
});

afterEach(() => kubernetes.close());

/** Returns the expected members, computed from the pods. */
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

/** Disturbances between two changes. Each one ends when the next one begins. */
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

describe("members from Kubernetes under random disturbances of pods and API", () => {
  it.each([1, 2, 3, 4, 5, 6])("are correct after the disturbances (seed %d)", async (seed) => {
    const random = seededRandom(seed);
    const source = await kubernetes.members({ random });
    for (let step = 0; step < STEPS; step++) {
      changePods(random);
      if (random() < 0.3) {
        calm();
        await troubles[Math.floor(random() * troubles.length)]!();
      }
      await time.pass(Math.floor(random() * 1500));
    }
    calm();
    // The longest silent watch, then its list, then the grace period of pods that became not ready.
    await time.pass(1.2 * kubernetesTimes.watchMs + kubernetesTimes.watchSlackMs + 10_000 + 2000);
    const members = source.current()!.members.map(({ name, grpcAddress }) => [name, grpcAddress]);
    expect(Object.fromEntries(members)).toEqual(rightful());
    expect(source.report().failures).toBeGreaterThan(0);
    await kubernetes.closeSource(source);
  });
});
