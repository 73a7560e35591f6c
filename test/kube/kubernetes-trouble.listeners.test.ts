import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { kubernetesTimes, silentLog } from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { KubeEmulator } from "../emulators/kube.js";
import type { FlowingTime } from "./flowing-time.js";
import { WatchedMembers } from "./watched-members.js";

let members: WatchedMembers;
let time: FlowingTime;
let api: KubeEmulator;

beforeEach(async () => {
  members = await WatchedMembers.open();
  ({ time, api } = members.kubernetes);
});

afterEach(() => members.close());

describe("a watch", () => {
  it("resumes where the last one stopped, without another list", async () => {
    await members.beginWatching();
    api.endWatches();
    api.pods.set("frontcache-3", { ip: "10.0.0.3" });
    await members.until(0, 1, 2, 3);
    await time.pass(120_000);
    expect(api.counts.watches).toBeGreaterThan(4);
    expect(api.counts.lists).toBe(1);
  });

  it("resumes where it stopped when its connection is lost, and misses nothing", async () => {
    await members.beginWatching();
    for (let ordinal = 3; ordinal < 8; ordinal++) {
      api.dropWatches();
      api.pods.set(`frontcache-${ordinal}`, { ip: `10.0.0.${ordinal}` });
      await time.until("another watch is open", () => members.names.length === ordinal + 1);
    }
    expect(api.counts.lists).toBe(1);
  });

  it("advances through bookmarks, so an expired history does not matter", async () => {
    await members.beginWatching();
    api.pods.compact();
    api.bookmark();
    await time.pass(100);
    api.dropWatches();
    api.pods.set("frontcache-3", { ip: "10.0.0.3" });
    await members.until(0, 1, 2, 3);
    expect(api.counts.lists).toBe(1);
  });

  it.each(["status", "event"] as const)("is followed by a list if its history has expired, reported by %s", async (goneAs) => {
    await members.beginWatching();
    api.behaviour.goneAs = goneAs;
    api.dropWatches();
    api.pods.remove("frontcache-0");
    api.pods.compact();
    expect(await members.until(1, 2)).toBeLessThan(2000);
    expect(api.counts.lists).toBe(2);
  });

  it("is followed by a list if it ends with an ERROR", async () => {
    await members.beginWatching();
    api.failWatches(500, "etcdserver: leader changed");
    await time.until("another list was made", () => api.counts.lists === 2);
    api.pods.remove("frontcache-0");
    await members.until(1, 2);
  });

  it("that goes silent is detected by its time limit; later watches are short until one ends as requested", async () => {
    await members.beginWatching();
    api.silenceWatches();
    api.pods.set("frontcache-3", { ip: "10.0.0.3" });
    expect(await members.until(0, 1, 2, 3)).toBeLessThan(33_000);
    api.pods.set("frontcache-4", { ip: "10.0.0.4" });
    expect(await members.until(0, 1, 2, 3, 4)).toBeLessThan(8_000);
    api.unsilenceWatches();
    await time.pass(30_000);
    const watches = api.counts.watches;
    await time.pass(60_000);
    expect(api.counts.watches - watches).toBeLessThanOrEqual(3);
  });

  it("that repeatedly ends immediately is not requested in a busy loop", async () => {
    await members.beginWatching();
    const untilMs = time.clock.monotonicMs() + 60_000;
    while (time.clock.monotonicMs() < untilMs) {
      api.endWatches();
      await time.pass(10);
    }
    expect(api.counts.watches).toBeLessThan(60);
  });
});

describe("lists", () => {
  it("are made every few minutes, whatever the watches report", async () => {
    await members.beginWatching();
    await time.pass(kubernetesTimes.relistMs * 1.2 + kubernetesTimes.watchMs * 1.2 + 1000);
    expect(api.counts.lists).toBe(2);
  });
});

describe("an unavailable API server", () => {
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
    "for a minute because it %s leaves the list unchanged; it is correct within 10 s of the API's return",
    async (_how, it) => {
      await members.beginWatching();
      await it.begin();
      api.pods.remove("frontcache-0");
      api.pods.set("frontcache-1", { ready: false });
      api.pods.set("frontcache-3", { ip: "10.0.0.3" });
      await time.pass(60_000);
      expect(members.lists.length).toBe(1);
      expect(members.source.report().ageMs).toBeGreaterThanOrEqual(59_000);
      expect(members.source.report().failures).toBeGreaterThan(5);
      await it.end();
      expect(await members.until(2, 3)).toBeLessThan(10_000);
      expect(Math.min(...members.lists.map((membership) => membership.members.length))).toBeGreaterThan(0);
      expect(members.source.report().ageMs).toBeLessThan(1_000);
    },
  );

  it("at the start delays the first list and causes no failure", async () => {
    await api.down();
    await members.begin();
    await time.pass(20_000);
    expect(members.source.current()).toBeUndefined();
    await api.up();
    expect(await members.until(0, 1, 2)).toBeLessThan(10_000);
  });

  it("may be slow, as long as bytes arrive every 5 s", async () => {
    api.behaviour.latencyMs = 4000;
    api.behaviour.listPauseMs = 4000;
    await members.begin();
    await members.until(0, 1, 2);
    expect(members.source.report().failures).toBe(0);
  });

  it("that stops in the middle of a list is asked again", async () => {
    api.behaviour.listPauseMs = 20_000;
    await members.begin();
    await time.until("the list was given up", () => members.source.report().failures === 1);
    api.behaviour.listPauseMs = 0;
    expect(await members.until(0, 1, 2)).toBeLessThan(1000);
    // The emulator's own delay must end, too.
    await time.pass(20_000);
  });
});

describe("credentials", () => {
  it("are read again when the API rejects them", async () => {
    const tokenFile = join(members.kubernetes.directory, "token");
    await writeFile(tokenFile, "first");
    api.behaviour.token = "first";
    await members.beginWatching({ user: { "auth-provider": { name: "tokenFile", config: { tokenFile } } } });
    await writeFile(tokenFile, "second");
    api.behaviour.token = "second";
    api.dropWatches();
    api.pods.remove("frontcache-0");
    await members.until(1, 2);
  });

  it("that are refused leave the last list in use and are logged", async () => {
    const warnings: unknown[] = [];
    await members.beginWatching({ log: { ...silentLog, warn: (line: unknown) => warnings.push(line), info: () => {} } as never });
    api.behaviour.refuse = 403;
    api.dropWatches();
    await time.pass(5000);
    expect(members.names.length).toBe(3);
    expect(warnings.length).toBe(1);
  });
});

describe("closing", () => {
  it("ends a running list", async () => {
    api.behaviour.hang = true;
    await members.begin();
    await time.until("the list was asked for", () => api.openSockets === 1);
  });

  it("ends a wait between two attempts", async () => {
    await api.down();
    await members.begin();
    await time.until("an attempt failed", () => members.source.report().failures > 0);
    await members.source.close();
    expect(time.clock.waits).toBe(0);
    await api.up();
  });
});
