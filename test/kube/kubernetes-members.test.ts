import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Membership } from "@frontcache/proto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { kubernetesTimes } from "../../server/src/membership/kubernetes-members.js";
import { firstMembership, type MemberSource } from "../../server/src/membership/member-source.js";
import { silentLog } from "../../server/src/runtime/log.js";
import type { KubeEmulator } from "../emulators/kube.js";
import { EmulatedKubernetes } from "./emulated-kubernetes.js";
import type { FlowingTime } from "./flowing-time.js";

const BLOCK = 16 * 1024 * 1024;

let kubernetes: EmulatedKubernetes;
let time: FlowingTime;
let api: KubeEmulator;
let source: MemberSource;
let lists: Membership[];

beforeEach(async () => {
  kubernetes = await EmulatedKubernetes.open();
  ({ time, api } = kubernetes);
  for (const ordinal of [0, 1, 2]) api.pods.set(`frontcache-${ordinal}`, { ip: `10.0.0.${ordinal}` });
  lists = [];
});

afterEach(async () => {
  await kubernetes.leave(source);
  await kubernetes.close();
});

async function begin(options: Parameters<EmulatedKubernetes["members"]>[0] = {}): Promise<void> {
  source = await kubernetes.members(options);
  source.subscribe((membership) => lists.push(membership));
}

/** Begins, and waits for the first list and the first watch. */
async function beginWatching(options: Parameters<typeof begin>[0] = {}): Promise<void> {
  await begin(options);
  await time.until("a watch is open", () => api.openWatches === 1);
  expect(names()).toEqual(["frontcache-0", "frontcache-1", "frontcache-2"]);
}

const names = (): string[] => (source.current()?.members ?? []).map((member) => member.name);

/** Waits until the members are these, by their ordinals, and returns how long it took. */
function untilMembers(...ordinals: number[]): Promise<number> {
  const wanted = ordinals.map((ordinal) => `frontcache-${ordinal}`).join();
  return time.until(`the members are ${wanted}`, () => names().join() === wanted);
}

describe("members by Kubernetes", () => {
  it("are the ready pods of the label, in a list that changes as they come and go", async () => {
    api.pods.set("other", { ip: "10.0.0.9", labels: { app: "other" } });
    await beginWatching();
    expect(source.current()?.member("frontcache-1")).toEqual({
      name: "frontcache-1",
      grpcAddress: "10.0.0.1:8080",
      httpAddress: "10.0.0.1:8081",
    });
    api.pods.set("frontcache-3", { ready: false });
    api.pods.set("frontcache-3", { ip: "10.0.0.3" });
    await time.pass(1000);
    expect(lists.length).toBe(1);
    api.pods.set("frontcache-3", { ready: true });
    await untilMembers(0, 1, 2, 3);
    api.pods.startDeleting("frontcache-1");
    await untilMembers(0, 2, 3);
    api.pods.remove("frontcache-1");
    await time.pass(1000);
    expect(lists.length).toBe(3);
    expect(source.report()).toMatchObject({ members: 3, changes: 2, failures: 0 });
  });

  it("become one list for changes that come together", async () => {
    await beginWatching();
    for (const ordinal of [3, 4, 5, 6]) api.pods.set(`frontcache-${ordinal}`, { ip: `10.0.0.${ordinal}` });
    await untilMembers(0, 1, 2, 3, 4, 5, 6);
    expect(lists.length).toBe(2);
  });

  it("keep their name and get their new address when their pod is made again", async () => {
    await beginWatching();
    const before = source.current()!;
    api.pods.startDeleting("frontcache-1");
    const old = api.pods.remove("frontcache-1");
    await untilMembers(0, 2);
    api.pods.set("frontcache-1", { ip: "10.0.7.7" });
    await untilMembers(0, 1, 2);
    api.tellAgain("MODIFIED", old);
    api.tellAgain("DELETED", old);
    await time.pass(1000);
    expect(source.current()?.member("frontcache-1")?.grpcAddress).toBe("10.0.7.7:8080");
    for (let block = 0; block < 50; block++) {
      expect(source.current()?.owner("s3://b/k", block * BLOCK)?.name).toBe(before.owner("s3://b/k", block * BLOCK)?.name);
    }
  });

  it("leave when their label is taken away", async () => {
    await beginWatching();
    api.pods.set("frontcache-2", { labels: { app: "retired" } });
    await untilMembers(0, 1);
  });

  it("stay through a readiness flap and leave when it lasts", async () => {
    await beginWatching();
    api.pods.set("frontcache-2", { ready: false });
    await time.pass(9_000);
    api.pods.set("frontcache-2", { ready: true });
    await time.pass(20_000);
    expect(lists.length).toBe(1);
    api.pods.set("frontcache-2", { ready: false });
    expect(await untilMembers(0, 1)).toBeGreaterThanOrEqual(10_000);
  });

  it("are named by their nodes where asked so", async () => {
    api.pods.set("frontcache-2", { nodeName: "node-c" });
    await begin({ identity: "node" });
    await time.until("the first list is there", () => source.current() !== undefined);
    expect(names()).toEqual(["node-c"]);
  });

  it("are complete when the API answers in pages", async () => {
    for (let ordinal = 3; ordinal < 250; ordinal++) api.pods.set(`frontcache-${ordinal}`, { ip: `10.0.1.${ordinal}` });
    await begin();
    await time.until("the first list is there", () => source.current() !== undefined);
    expect(source.current()?.members.length).toBe(250);
    expect(api.counts.lists).toBe(3);
  });

  it("may be none: the first list comes all the same", async () => {
    for (const ordinal of [0, 1, 2]) api.pods.remove(`frontcache-${ordinal}`);
    await begin();
    const first = firstMembership(source, new AbortController().signal);
    await time.until("the first list is there", () => source.current() !== undefined);
    expect((await first).members).toEqual([]);
  });
});

describe("a watch", () => {
  it("goes on where the last one stopped, without another list", async () => {
    await beginWatching();
    api.endWatches();
    api.pods.set("frontcache-3", { ip: "10.0.0.3" });
    await untilMembers(0, 1, 2, 3);
    await time.pass(120_000);
    expect(api.counts.watches).toBeGreaterThan(4);
    expect(api.counts.lists).toBe(1);
  });

  it("that is dropped is begun again from where it stopped, and misses nothing", async () => {
    await beginWatching();
    for (let ordinal = 3; ordinal < 8; ordinal++) {
      api.dropWatches();
      api.pods.set(`frontcache-${ordinal}`, { ip: `10.0.0.${ordinal}` });
      await time.until("another watch is open", () => names().length === ordinal + 1);
    }
    expect(api.counts.lists).toBe(1);
  });

  it("moves on by bookmarks, so that a history that was forgotten does not matter", async () => {
    await beginWatching();
    api.pods.compact();
    api.bookmark();
    await time.pass(100);
    api.dropWatches();
    api.pods.set("frontcache-3", { ip: "10.0.0.3" });
    await untilMembers(0, 1, 2, 3);
    expect(api.counts.lists).toBe(1);
  });

  it.each(["status", "event"] as const)("whose history is gone, said by %s, is followed by a list", async (goneAs) => {
    await beginWatching();
    api.behaviour.goneAs = goneAs;
    api.dropWatches();
    api.pods.remove("frontcache-0");
    api.pods.compact();
    expect(await untilMembers(1, 2)).toBeLessThan(2000);
    expect(api.counts.lists).toBe(2);
  });

  it("that ends by an ERROR is followed by a list", async () => {
    await beginWatching();
    api.failWatches(500, "etcdserver: leader changed");
    await time.until("another list was made", () => api.counts.lists === 2);
    api.pods.remove("frontcache-0");
    await untilMembers(1, 2);
  });

  it("that went silent is found out by its time limit; later ones are short until one is well", async () => {
    await beginWatching();
    api.silenceWatches();
    api.pods.set("frontcache-3", { ip: "10.0.0.3" });
    expect(await untilMembers(0, 1, 2, 3)).toBeLessThan(33_000);
    api.pods.set("frontcache-4", { ip: "10.0.0.4" });
    expect(await untilMembers(0, 1, 2, 3, 4)).toBeLessThan(8_000);
    api.unsilenceWatches();
    await time.pass(30_000);
    const watches = api.counts.watches;
    await time.pass(60_000);
    expect(api.counts.watches - watches).toBeLessThanOrEqual(3);
  });

  it("that ends at once, again and again, is not asked for in a tight circle", async () => {
    await beginWatching();
    const untilMs = time.clock.monotonicMs() + 60_000;
    while (time.clock.monotonicMs() < untilMs) {
      api.endWatches();
      await time.pass(10);
    }
    expect(api.counts.watches).toBeLessThan(60);
  });
});

describe("lists afresh", () => {
  it("are made every few minutes, whatever the watches say", async () => {
    await beginWatching();
    await time.pass(kubernetesTimes.relistMs * 1.2 + kubernetesTimes.watchMs * 1.2 + 1000);
    expect(api.counts.lists).toBe(2);
  });
});

describe("an API server that is away", () => {
  const away = {
    "refuses connections": { begin: () => api.down(), end: () => api.up() },
    "takes connections and never answers": {
      begin: async () => {
        api.behaviour.hang = true;
        api.dropWatches();
      },
      end: async () => {
        api.behaviour.hang = false;
      },
    },
    "answers 503": {
      begin: async () => {
        api.behaviour.refuse = 503;
        api.dropWatches();
      },
      end: async () => {
        api.behaviour.refuse = undefined;
      },
    },
  };

  it.each(Object.entries(away))(
    "for a minute because it %s leaves the list, which is right within 10 s of its return",
    async (_how, it) => {
      await beginWatching();
      await it.begin();
      api.pods.remove("frontcache-0");
      api.pods.set("frontcache-1", { ready: false });
      api.pods.set("frontcache-3", { ip: "10.0.0.3" });
      await time.pass(60_000);
      expect(lists.length).toBe(1);
      expect(source.report().silentSeconds).toBeGreaterThanOrEqual(59);
      expect(source.report().failures).toBeGreaterThan(5);
      await it.end();
      expect(await untilMembers(2, 3)).toBeLessThan(10_000);
      expect(Math.min(...lists.map((membership) => membership.members.length))).toBeGreaterThan(0);
      expect(source.report().silentSeconds).toBeLessThan(1);
    },
  );

  it("from the beginning delays the first list and fails nothing", async () => {
    await api.down();
    await begin();
    await time.pass(20_000);
    expect(source.current()).toBeUndefined();
    await api.up();
    expect(await untilMembers(0, 1, 2)).toBeLessThan(10_000);
  });

  it("may be slow, as long as something moves every 5 s", async () => {
    api.behaviour.latencyMs = 4000;
    api.behaviour.listPauseMs = 4000;
    await begin();
    await untilMembers(0, 1, 2);
    expect(source.report().failures).toBe(0);
  });

  it("that stops in the middle of a list is asked again", async () => {
    api.behaviour.listPauseMs = 20_000;
    await begin();
    await time.until("the list was given up", () => source.report().failures === 1);
    api.behaviour.listPauseMs = 0;
    expect(await untilMembers(0, 1, 2)).toBeLessThan(1000);
    // The emulator's own wait has to end, too.
    await time.pass(20_000);
  });
});

describe("credentials", () => {
  it("are read again when the API no longer takes them", async () => {
    const tokenFile = join(kubernetes.directory, "token");
    await writeFile(tokenFile, "first");
    api.behaviour.token = "first";
    await beginWatching({ user: { "auth-provider": { name: "tokenFile", config: { tokenFile } } } });
    await writeFile(tokenFile, "second");
    api.behaviour.token = "second";
    api.dropWatches();
    api.pods.remove("frontcache-0");
    await untilMembers(1, 2);
  });

  it("that are refused leave the last list and say so", async () => {
    const warnings: unknown[] = [];
    await beginWatching({ log: { ...silentLog, warn: (line: unknown) => warnings.push(line), info: () => {} } as never });
    api.behaviour.refuse = 403;
    api.dropWatches();
    await time.pass(5000);
    expect(names().length).toBe(3);
    expect(warnings.length).toBe(1);
  });
});

describe("closing", () => {
  it("ends a list that is under way", async () => {
    api.behaviour.hang = true;
    await begin();
    await time.until("the list was asked for", () => api.openSockets === 1);
  });

  it("ends a wait between two attempts", async () => {
    await api.down();
    await begin();
    await time.until("an attempt failed", () => source.report().failures > 0);
    await source.close();
    expect(time.clock.waits).toBe(0);
    await api.up();
  });
});
