import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { ClusterReport, ListedMember } from "../api/admin/member-report.js";
import { clusterStatus, formatStatus } from "./cluster-status.js";

let servers: Server[] = [];

afterEach(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  }
  servers = [];
});

/** The address of an HTTP listener that answers as given. */
async function listening(answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const plain = { tls: undefined, token: "a-token" };
const statusOf = (addresses: readonly string[], signal = new AbortController().signal) =>
  clusterStatus(
    addresses.map((httpAddress, at) => ({ name: `m${at}`, grpcAddress: `10.0.0.1:${at + 1}`, httpAddress })),
    plain,
    signal,
  );

describe("the status of a cluster", () => {
  it("is requested from the first member that answers, with the token", async () => {
    const report = { member: "m1", members: [] };
    const seen: unknown[] = [];
    const address = await listening(({ url, headers }, response) => {
      seen.push([url, headers.authorization]);
      response.end(JSON.stringify(report));
    });
    expect(await statusOf(["127.0.0.1:1", address])).toEqual(report);
    expect(seen).toEqual([["/status", "Bearer a-token"]]);
  });

  it("fails with the address and the cause", async () => {
    await expect(statusOf(["127.0.0.1:1"])).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringMatching(/^cannot get the status from 127\.0\.0\.1:1: connect ECONNREFUSED/),
    });
    const refusing = await listening((_, response) => response.writeHead(401).end());
    await expect(statusOf([refusing])).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    await expect(statusOf([])).rejects.toThrow("the members do not publish their HTTP listeners");
  });

  it("ends its request when it is interrupted", async () => {
    const watch = new AbortController();
    const address = await listening(() => watch.abort(new Error("interrupted")));
    await expect(statusOf([address], watch.signal)).rejects.toThrow("interrupted");
  });
});

const report = {
  atMs: 75_000,
  startedAtMs: 0,
  hitRatio: 0.91,
  fills: { running: 2 },
  notReady: [],
  membershipAgeMs: 0,
  volumes: [{ path: "/cache", usedBytes: 1 << 20, limitBytes: 2 << 20, blocks: 3, state: "ok" }],
};

const member = (name: string, rest: object): ListedMember =>
  ({ name, grpcAddress: "10.0.0.1:1", ringShare: 0.5, ...rest }) as ListedMember;

describe("the table of the status", () => {
  it("contains a row per member, totals, and a line per problem", () => {
    const full = { ...report.volumes[0], path: "/full", usedBytes: 0, state: "full" };
    const members = [
      member("a", { state: "ready", report: { ...report, volumes: [...report.volumes, full] } }),
      member("b", {
        state: "not ready",
        report: { ...report, notReady: ["this member is shutting down"], membershipAgeMs: 120_000 },
      }),
      member("c", { state: "unreachable", problem: "connect ECONNREFUSED" }),
    ];
    const lines = formatStatus({ members } as unknown as ClusterReport, 120).split("\n");
    expect(lines[1]).toMatch(/^a +10\.0\.0\.1:1 +ready +50\.0 % +6 +1\.0 MiB +4\.0 MiB +91\.0 % +2 +75 s$/);
    expect(lines[3]).toMatch(/^c +10\.0\.0\.1:1 +unreachable +50\.0 % +- /);
    expect(lines.slice(4)).toEqual([
      "1 of 3 ready, 2.0 MiB of 6.0 MiB used",
      "a: volume /full is full, nothing is cached on it",
      "b: this member is shutting down",
      "b: its member list was last confirmed 120 s ago",
      "c: connect ECONNREFUSED",
    ]);
  });

  it("contains a line per bucket of values, with its share and pin, summed over the members", () => {
    const builds = { url: "cache://builds", usedBytes: 1 << 20, limitBytes: 4 << 20, isPinned: true };
    const thumbs = { url: "cache://thumbs", usedBytes: 3 << 20, isPinned: false };
    const members = ["a", "b"].map((name) => member(name, { state: "ready", report: { ...report, buckets: [builds, thumbs] } }));
    expect(
      formatStatus({ members } as unknown as ClusterReport, 120)
        .split("\n")
        .slice(4),
    ).toEqual(["cache://builds: 2.0 MiB of 8.0 MiB used, pinned", "cache://thumbs: 6.0 MiB used"]);
  });
});
