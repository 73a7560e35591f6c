import { describe, expect, it } from "vitest";
import { readPod } from "./pod.js";

const object = {
  metadata: { name: "frontcache-0", uid: "u1", creationTimestamp: "2024-05-01T10:00:00Z" },
  spec: { nodeName: "node-a" },
  status: {
    phase: "Running",
    podIP: "10.0.0.1",
    conditions: [
      { type: "Initialized", status: "True" },
      { type: "Ready", status: "True", lastTransitionTime: "2024-05-01T10:00:07Z" },
    ],
  },
};

describe("reading a pod", () => {
  it("takes the fields that membership needs", () => {
    expect(readPod(object)).toEqual({
      name: "frontcache-0",
      uid: "u1",
      createdMs: Date.UTC(2024, 4, 1, 10),
      nodeName: "node-a",
      address: "10.0.0.1",
      ready: true,
      readyTurnedMs: Date.UTC(2024, 4, 1, 10, 0, 7),
      terminating: false,
    });
  });

  it("accepts a new pod without address and node, not ready", () => {
    const created = readPod({ metadata: object.metadata, spec: {}, status: { phase: "Pending" } });
    expect(created).toEqual({
      name: "frontcache-0",
      uid: "u1",
      createdMs: Date.UTC(2024, 4, 1, 10),
      ready: false,
      terminating: false,
    });
  });

  it.each([
    ["is being deleted", { ...object, metadata: { ...object.metadata, deletionTimestamp: "2024-05-01T11:00:00Z" } }],
    ["was evicted", { ...object, status: { ...object.status, phase: "Failed" } }],
    ["ran to its end", { ...object, status: { ...object.status, phase: "Succeeded" } }],
  ])("recognizes a terminating pod because it %s", (_why, terminating) => {
    expect(readPod(terminating)?.terminating).toBe(true);
  });

  it("refuses objects that are not pods", () => {
    expect([undefined, null, 7, {}, { metadata: { name: "x" } }].map(readPod)).toEqual(Array(5).fill(undefined));
  });
});
