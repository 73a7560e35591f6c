import type { MemberInfo } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { beforeEach, describe, expect, it } from "vitest";
import type { Pod } from "./pod.js";
import { PodMembers } from "./pod-members.js";

const CREATED = Date.UTC(2024, 4, 1);
const GRACE_MS = 10_000;
const GATHER_MS = 100;

let clock: ManualClock;
let lists: (readonly MemberInfo[])[];

beforeEach(() => {
  clock = new ManualClock(CREATED + 3_600_000);
  lists = [];
});

function podMembers(identity: "pod" | "node" = "pod"): PodMembers {
  return new PodMembers({
    identity,
    grpcPort: 8080,
    httpPort: 8081,
    unreadyGraceMs: GRACE_MS,
    gatherMs: GATHER_MS,
    clock,
    onMembers: (members) => lists.push(members),
  });
}

/** A pod that is a member, of node `node-<ordinal>`, by default. */
function pod(ordinal: number, changes: Partial<Pod> = {}): Pod {
  const ready = changes.ready ?? true;
  return {
    name: `frontcache-${ordinal}`,
    uid: `uid-${ordinal}`,
    createdMs: CREATED,
    nodeName: `node-${ordinal}`,
    address: `10.0.0.${ordinal}`,
    terminating: false,
    ...changes,
    ready,
  };
}

function without(of: Pod, name: "address" | "nodeName"): Pod {
  const { [name]: _, ...rest } = of;
  return rest;
}

const names = (): string[] => (lists.at(-1) ?? []).map((member) => member.name).toSorted();

/** Lets gathered changes become a list, and names who is on it. */
function settled(): string[] {
  clock.advance(GATHER_MS);
  return names();
}

describe("pods as members", () => {
  it("publish the first list immediately, even if it is empty", () => {
    podMembers().replace([]);
    expect(lists).toEqual([[]]);
  });

  it("are named after their pods, with the pods' addresses and this member's ports", () => {
    const members = podMembers();
    members.replace([pod(1), pod(2, { address: "fd00::2" })]);
    expect(lists).toEqual([
      [
        { name: "frontcache-1", grpcAddress: "10.0.0.1:8080", httpAddress: "10.0.0.1:8081" },
        { name: "frontcache-2", grpcAddress: "[fd00::2]:8080", httpAddress: "[fd00::2]:8081" },
      ],
    ]);
  });

  it("have no HTTP address if members have no HTTP listener", () => {
    const options = { identity: "pod", grpcPort: 8080, httpPort: undefined, unreadyGraceMs: 0, gatherMs: 0, clock } as const;
    new PodMembers({ ...options, onMembers: (members) => lists.push(members) }).replace([pod(1)]);
    expect(lists).toEqual([[{ name: "frontcache-1", grpcAddress: "10.0.0.1:8080" }]]);
  });

  it("never include a pod that is not ready, has no address or is terminating", () => {
    podMembers().replace([pod(0), pod(1, { ready: false }), without(pod(2), "address"), pod(3, { terminating: true })]);
    expect(names()).toEqual(["frontcache-0"]);
  });

  it("combine changes within 100 ms into one list", () => {
    const members = podMembers();
    members.replace([pod(0)]);
    members.set(pod(1));
    clock.advance(GATHER_MS / 2);
    members.set(pod(2));
    members.remove(pod(0));
    expect(lists.length).toBe(1);
    clock.advance(GATHER_MS / 2);
    expect(lists.length).toBe(2);
    expect(names()).toEqual(["frontcache-1", "frontcache-2"]);
  });

  it("lose a terminating pod immediately, before it is deleted", () => {
    const members = podMembers();
    members.replace([pod(0), pod(1)]);
    members.set(pod(1, { terminating: true }));
    expect(settled()).toEqual(["frontcache-0"]);
  });

  it("lose a pod without an address immediately", () => {
    const members = podMembers();
    members.replace([pod(0), pod(1)]);
    members.set(without(pod(1, { ready: false }), "address"));
    expect(settled()).toEqual(["frontcache-0"]);
  });

  it("lose pods that a whole list does not contain", () => {
    const members = podMembers();
    members.replace([pod(0), pod(1)]);
    members.replace([pod(1), pod(2)]);
    expect(settled()).toEqual(["frontcache-1", "frontcache-2"]);
  });
});

describe("a member that becomes not ready", () => {
  it("is removed after the grace period", () => {
    const members = podMembers();
    members.replace([pod(0), pod(1)]);
    members.set(pod(1, { ready: false }));
    clock.advance(GRACE_MS - 1);
    expect(names()).toEqual(["frontcache-0", "frontcache-1"]);
    clock.advance(1 + GATHER_MS);
    expect(names()).toEqual(["frontcache-0"]);
  });

  it("stays if it is ready again within the grace period", () => {
    const members = podMembers();
    members.replace([pod(0), pod(1)]);
    members.set(pod(1, { ready: false }));
    clock.advance(GRACE_MS - 1);
    members.set(pod(1));
    clock.advance(10 * GRACE_MS);
    expect(names()).toEqual(["frontcache-0", "frontcache-1"]);
    expect(clock.waits).toBe(0);
  });

  it("gets no second grace period from a repeated event or list", () => {
    const members = podMembers();
    members.replace([pod(0), pod(1)]);
    members.set(pod(1, { ready: false }));
    clock.advance(GRACE_MS - 1);
    members.set(pod(1, { ready: false }));
    members.replace([pod(0), pod(1, { ready: false, readyTurnedMs: clock.nowMs() })]);
    clock.advance(1 + GATHER_MS);
    expect(names()).toEqual(["frontcache-0"]);
  });

  it("has only the rest of its grace period if a list reports it late, and the whole one if the clocks disagree", () => {
    const members = podMembers();
    members.replace([pod(0), pod(1), pod(2), pod(3)]);
    members.replace([
      pod(0),
      pod(1, { ready: false, readyTurnedMs: clock.nowMs() - 60_000 }),
      pod(2, { ready: false, readyTurnedMs: clock.nowMs() - GRACE_MS + 1000 }),
      pod(3, { ready: false, readyTurnedMs: clock.nowMs() + 60_000 }),
    ]);
    expect(settled()).toEqual(["frontcache-0", "frontcache-2", "frontcache-3"]);
    clock.advance(1000);
    expect(names()).toEqual(["frontcache-0", "frontcache-3"]);
    clock.advance(GRACE_MS);
    expect(names()).toEqual(["frontcache-0"]);
  });

  it("is removed immediately if it terminates during the grace period", () => {
    const members = podMembers();
    members.replace([pod(0), pod(1)]);
    members.set(pod(1, { ready: false }));
    members.set(pod(1, { ready: false, terminating: true }));
    expect(settled()).toEqual(["frontcache-0"]);
  });

  it("does not return through an event that reports it as not ready", () => {
    const members = podMembers();
    members.replace([pod(0), pod(1)]);
    members.set(pod(1, { ready: false }));
    clock.advance(GRACE_MS + GATHER_MS);
    members.set(pod(1, { ready: false }));
    expect(settled()).toEqual(["frontcache-0"]);
  });
});

describe("a pod that is recreated with the same name", () => {
  const successor = (changes: Partial<Pod> = {}): Pod => pod(1, { uid: "uid-1b", createdMs: CREATED + 5000, ...changes });

  it("is a member with its new address when it is ready", () => {
    const members = podMembers();
    members.replace([pod(0), pod(1)]);
    members.set(pod(1, { terminating: true }));
    members.remove(pod(1));
    members.set(without(successor({ ready: false }), "address"));
    expect(settled()).toEqual(["frontcache-0"]);
    members.set(successor({ address: "10.0.9.9" }));
    expect(settled()).toEqual(["frontcache-0", "frontcache-1"]);
    expect(lists.at(-1)?.find((member) => member.name === "frontcache-1")?.grpcAddress).toBe("10.0.9.9:8080");
  });

  it("gets no grace period from the readiness of its predecessor", () => {
    const members = podMembers();
    members.replace([pod(0), pod(1)]);
    members.set(successor({ ready: false }));
    expect(settled()).toEqual(["frontcache-0"]);
  });

  it.each([
    ["a change", (members: PodMembers) => members.set(pod(1, { address: "10.0.0.99" }))],
    ["a deletion's beginning", (members: PodMembers) => members.set(pod(1, { terminating: true }))],
    ["an end", (members: PodMembers) => members.remove(pod(1))],
  ])("ignores %s of its predecessor that arrives late", (_what, report) => {
    for (const createdMs of [CREATED, CREATED + 5000]) {
      const members = podMembers();
      members.replace([pod(0), pod(1)]);
      members.set(successor({ address: "10.0.9.9", createdMs }));
      report(members);
      expect(settled()).toEqual(["frontcache-0", "frontcache-1"]);
      expect(lists.at(-1)?.find((member) => member.name === "frontcache-1")?.grpcAddress).toBe("10.0.9.9:8080");
    }
  });
});

describe("members named by their node", () => {
  it("are one for each node, and keep their name when the pod changes", () => {
    const members = podMembers("node");
    members.replace([pod(0), without(pod(1), "nodeName")]);
    expect(names()).toEqual(["node-0"]);
    members.set(pod(7, { nodeName: "node-0", createdMs: CREATED + 1000 }));
    members.remove(pod(0));
    expect(settled()).toEqual(["node-0"]);
    expect(lists.at(-1)?.[0]?.grpcAddress).toBe("10.0.0.7:8080");
  });

  it("are the ready pod, then the newer one, while a node has two", () => {
    const members = podMembers("node");
    members.replace([pod(0), pod(7, { nodeName: "node-0", createdMs: CREATED + 1000 })]);
    expect(lists.at(-1)).toEqual([{ name: "node-0", grpcAddress: "10.0.0.7:8080", httpAddress: "10.0.0.7:8081" }]);
    members.set(pod(7, { nodeName: "node-0", createdMs: CREATED + 1000, ready: false }));
    clock.advance(GATHER_MS);
    expect(lists.at(-1)?.[0]?.grpcAddress).toBe("10.0.0.0:8080");
  });
});

describe("closing", () => {
  it("leaves no timer and publishes nothing more", () => {
    const members = podMembers();
    members.replace([pod(0), pod(1)]);
    members.set(pod(1, { ready: false }));
    members.close();
    expect(clock.waits).toBe(0);
    clock.advance(10 * GRACE_MS);
    expect(lists.length).toBe(1);
  });
});
