import { join } from "node:path";
import type { CacheClient } from "@frontcache/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { namesOf } from "../e2e/addresses.js";
import { Cluster } from "../e2e/cluster.js";
import { frontcache } from "../e2e/command-line.js";
import { connectClient, lostOthers } from "../e2e/member-process.js";
import type { Fault, SeenRequest } from "../emulators/faults.js";

const MiB = 1 << 20;
const BLOCK = 16 * MiB;
/** Of one block: its parts, their repetitions, and the questions for the version. */
const MOST_REQUESTS = 6;

const faults: readonly [string, Fault][] = [
  ["resets every connection", { reset: true }],
  ["answers 503", { error: { status: 503, code: "ServiceUnavailable" } }],
  ["throttles", { error: { status: 503, code: "SlowDown" } }],
  ["resets every body at its first bytes", { body: { afterBytes: 10, how: "reset" } }],
  ["resets every body in the middle", { body: { afterBytes: 100 << 10, how: "reset" } }],
];

describe.each([1, 3])("the origin of %d members", (members) => {
  let cluster: Cluster;
  let http: CacheClient;
  let grpc: CacheClient;
  let endpoint: string;
  /** Requests by key. */
  const requests = new Map<string, string[]>();
  let keys = 0;

  beforeAll(async () => {
    cluster = await Cluster.start({
      names: namesOf(members),
      processes: [],
      flags: ["--block-size", "16MiB", "--part-size", "4MiB"],
    });
    endpoint = cluster.addressOf("cache-0");
    http = await connectClient({ endpoint, deadlineMs: 60_000 });
    grpc = await connectClient({ endpoint, transport: "grpc", deadlineMs: 60_000 });
    cluster.origin.faults.place({ when: (request) => count(request) });
  });

  const count = ({ key, method, headers }: SeenRequest): boolean => {
    requests.set(key, [...(requests.get(key) ?? []), `${method} ${headers.range ?? ""}`.trim()]);
    return false;
  };

  afterAll(async () => {
    await Promise.all([http.close(), grpc.close()]);
    await cluster[Symbol.asyncDispose]();
  });

  const newObject = (blocks: number): { key: string; url: string } => {
    // A bucket of its own: while a bucket is known to be unavailable, members request nothing from it.
    const key = `object-${keys++}`;
    cluster.origin.putRamp(`bucket-of-${key}`, key, blocks * BLOCK, 3);
    return { key, url: `s3://bucket-of-${key}/${key}` };
  };

  it.each(faults)("gets a bounded number of requests for a read that fails because it %s", async (_, fault) => {
    const isDown = cluster.origin.faults.place(fault);
    const get = async (...args: string[]): Promise<never> => {
      const { exitCode, stderr } = await frontcache(["get", ...args, "--endpoint", endpoint]);
      throw new Error(`${exitCode}: ${stderr}`);
    };
    const reads: (readonly [string, (url: string, key: string) => Promise<unknown>])[] = [
      ["readRange by HTTP", (url) => http.readRange(url, 0, BLOCK)],
      ["readRange by gRPC", (url) => grpc.readRange(url, 0, BLOCK)],
      ["readRange of another block", (url) => http.readRange(url, BLOCK, BLOCK)],
      ["a small readRange", (url) => http.readRange(url, 6 * MiB - 1_000, 1_000)],
      ["stream", (url) => http.stream(url, 0, BLOCK).toArray()],
      ["stat, then readRange of that version", async (url) => http.readRange(url, 0, BLOCK, (await grpc.stat(url)).version)],
      // A command is a client of its own, whatever the number of members.
      ...(members === 1 ? [["get to standard output", (url: string) => get(url)] as const] : []),
      ["get to a file", (url, key) => get(url, "-o", join(cluster.directory.path, key))],
    ];
    const failures = reads.map(async ([name, read]) => {
      const { key, url } = newObject(name.includes("another block") ? 2 : 1);
      const error = await read(url, key).then(
        () => undefined,
        (thrown: unknown) => String(thrown),
      );
      expect(error, name).toMatch(/attempts|has not answered/);
      return { name, requests: requests.get(key) ?? [], error };
    });
    const outcomes = await Promise.all(failures);
    isDown();
    expect(cluster.names.map((name) => lostOthers(cluster.member(name)))).toEqual(cluster.names.map(() => 0));
    expect(outcomes.filter((outcome) => outcome.requests.length > MOST_REQUESTS)).toEqual([]);
  });
});
