import { firstMembership } from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { KubeEmulator } from "../emulators/kube.js";
import type { FlowingTime } from "./flowing-time.js";
import { WatchedMembers } from "./watched-members.js";

const BLOCK = 16 * 1024 * 1024;

let members: WatchedMembers;
let time: FlowingTime;
let api: KubeEmulator;

beforeEach(async () => {
  members = await WatchedMembers.open();
  ({ time, api } = members.kubernetes);
});

afterEach(() => members.close());

describe("members from Kubernetes", () => {
  it("are the ready pods with the label, and follow their changes", async () => {
    api.pods.set("other", { ip: "10.0.0.9", labels: { app: "other" } });
    await members.beginWatching();
    expect(members.source.current()?.member("frontcache-1")).toEqual({
      name: "frontcache-1",
      grpcAddress: "10.0.0.1:8080",
      httpAddress: "10.0.0.1:8081",
    });
    api.pods.set("frontcache-3", { ready: false });
    api.pods.set("frontcache-3", { ip: "10.0.0.3" });
    await time.pass(1000);
    expect(members.lists.length).toBe(1);
    api.pods.set("frontcache-3", { ready: true });
    await members.until(0, 1, 2, 3);
    api.pods.startDeleting("frontcache-1");
    await members.until(0, 2, 3);
    api.pods.remove("frontcache-1");
    await time.pass(1000);
    expect(members.lists.length).toBe(3);
    expect(members.source.report()).toMatchObject({ failures: 0 });
  });

  it("change once for simultaneous changes of pods", async () => {
    await members.beginWatching();
    for (const ordinal of [3, 4, 5, 6]) api.pods.set(`frontcache-${ordinal}`, { ip: `10.0.0.${ordinal}` });
    await members.until(0, 1, 2, 3, 4, 5, 6);
    expect(members.lists.length).toBe(2);
  });

  it("keep their name and get the new address when their pod is recreated", async () => {
    await members.beginWatching();
    const before = members.source.current()!;
    api.pods.startDeleting("frontcache-1");
    const old = api.pods.remove("frontcache-1");
    await members.until(0, 2);
    api.pods.set("frontcache-1", { ip: "10.0.7.7" });
    await members.until(0, 1, 2);
    api.tellAgain("MODIFIED", old);
    api.tellAgain("DELETED", old);
    await time.pass(1000);
    expect(members.source.current()?.member("frontcache-1")?.grpcAddress).toBe("10.0.7.7:8080");
    for (let block = 0; block < 50; block++) {
      expect(members.source.current()?.owner("s3://b/k", block * BLOCK)?.name).toBe(
        before.owner("s3://b/k", block * BLOCK)?.name,
      );
    }
  });

  it("are removed when their label is removed", async () => {
    await members.beginWatching();
    api.pods.set("frontcache-2", { labels: { app: "retired" } });
    await members.until(0, 1);
  });

  it("stay during a readiness flap and are removed when it lasts", async () => {
    await members.beginWatching();
    api.pods.set("frontcache-2", { ready: false });
    await time.pass(9_000);
    api.pods.set("frontcache-2", { ready: true });
    await time.pass(20_000);
    expect(members.lists.length).toBe(1);
    api.pods.set("frontcache-2", { ready: false });
    expect(await members.until(0, 1)).toBeGreaterThanOrEqual(10_000);
  });

  it("are named after their nodes with --identity node", async () => {
    api.pods.set("frontcache-2", { nodeName: "node-c" });
    await members.begin({ identity: "node" });
    await time.until("the first list is there", () => members.source.current() !== undefined);
    expect(members.names).toEqual(["node-c"]);
  });

  it("are complete when the API answers in pages", async () => {
    for (let ordinal = 3; ordinal < 250; ordinal++) api.pods.set(`frontcache-${ordinal}`, { ip: `10.0.1.${ordinal}` });
    await members.begin();
    await time.until("the first list is there", () => members.source.current() !== undefined);
    expect(members.source.current()?.members.length).toBe(250);
    expect(api.counts.lists).toBe(3);
  });

  it("may be none; the first list is still published", async () => {
    for (const ordinal of [0, 1, 2]) api.pods.remove(`frontcache-${ordinal}`);
    await members.begin();
    const first = firstMembership(members.source, new AbortController().signal);
    await time.until("the first list is there", () => members.source.current() !== undefined);
    expect((await first).members).toEqual([]);
  });
});
