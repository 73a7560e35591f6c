import { CacheClient } from "@frontcache/client";
import { eventually } from "@frontcache/proto/testing";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { namesOf } from "../e2e/addresses.js";
import { Cluster } from "../e2e/cluster.js";
import { staticPods } from "../e2e/cluster-pods.js";
import { Readers } from "../e2e/cluster-readers.js";
import { connectClient, lostOthers } from "../e2e/member-process.js";
import { BLOCK_BYTES, readAll, type TestObject } from "../e2e/test-objects.js";

const FROZEN = "cache-2";
const load = { readers: 4, bytes: 16 << 10 };

describe("a cluster of three members of which one is stopped by SIGSTOP", () => {
  let cluster: Cluster;
  let objects: TestObject[];

  beforeAll(async () => {
    const withHttp = async ({ places, port }: Parameters<NonNullable<Parameters<typeof Cluster.start>[0]["pods"]>>[0]) =>
      staticPods(places, port, () => places, true);
    cluster = await Cluster.start({ names: namesOf(3), processes: [FROZEN], pods: withHttp, flags: ["--member-timeout", "1s"] });
    objects = cluster.put(4, 12);
    await readAll(await cluster.client(), objects);
  });
  afterEach(() => cluster.process(FROZEN).thaw());
  afterAll(() => cluster?.[Symbol.asyncDispose]());

  /** A client that finds out about a frozen member as soon as one by default. On a busy machine it may have to connect again. */
  const connect = (transport: "auto" | "http" | "grpc" = "auto"): Promise<CacheClient> =>
    eventually(() => CacheClient.connect({ endpoint: cluster.addressOf("cache-0"), transport, deadlineMs: 120_000 }));

  type Read = (object: TestObject, range: { offset: number; length: number }) => Promise<Buffer>;

  /** Reads while the member is frozen and after it continued; no read may fail. */
  async function readAround(read: Read): Promise<void> {
    await using readers = new Readers(read, objects, load);
    await readers.more(100);
    cluster.process(FROZEN).freeze();
    await readers.more(400);
    cluster.process(FROZEN).thaw();
    await readers.more(100);
    const { failed, wrong, slowestMs } = await readers.stop();
    console.info(`the slowest read took ${slowestMs} ms`);
    expect({ failed, wrong }).toEqual({ failed: [], wrong: 0 });
  }

  it.each(["auto", "http", "grpc"] as const)("fails no read of a client with transport %s", async (transport) => {
    await using client = await connect(transport);
    await readAround(({ url, version }, { offset, length }) => client.readRange(url, offset, length, version));
  });

  it("fails no read at the HTTP listener of another member, which finds the stopped one reachable again afterwards", async () => {
    const { http, log } = cluster.member("cache-0");
    const count = (event: string): number => log.filter((line) => line.event === event && line.member === FROZEN).length;
    const read: Read = async ({ key }, { offset, length }) => {
      const headers = { range: `bytes=${offset}-${offset + length - 1}` };
      const response = await fetch(`http://${http}/s3/bucket/${key}`, { headers });
      if (response.status !== 206) throw new Error(`status ${response.status}`);
      return Buffer.from(await response.arrayBuffer());
    };
    /** Reads until the member is reachable: until every loss that was logged is followed by a return. */
    const untilReachable = (): Promise<void> =>
      expect
        .poll(async () => {
          for (const object of objects) await read(object, { offset: 0, length: 1 });
          return count("member-unreachable") - count("member-reachable");
        })
        .toBe(0) as unknown as Promise<void>;
    // The tests before have stopped it, too.
    await untilReachable();
    const before = count("member-unreachable");
    await readAround(read);
    await expect.poll(() => count("member-unreachable")).toBeGreaterThan(before);
    const reason = { code: "NO_ANSWER", error: expect.stringContaining("unreachable") };
    expect(log).toContainEqual(expect.objectContaining({ event: "member-unreachable", member: FROZEN, ...reason }));
    await untilReachable();
  });

  it("answers stat and HEAD of objects whose home is the stopped member", async () => {
    await using client = await connect();
    cluster.process(FROZEN).freeze();
    for (const { url, key, version, blocks } of objects) {
      expect(await client.stat(url)).toMatchObject({ version, objectSize: blocks * BLOCK_BYTES });
      const response = await fetch(`http://${cluster.member("cache-1").http}/s3/bucket/${key}`, { method: "HEAD" });
      expect([response.status, response.headers.get("etag")]).toEqual([200, `"${version}"`]);
    }
  });
});

it("does not take a member for frozen that waits for a slow origin, whatever the transport", async () => {
  await using cluster = await Cluster.start({ names: namesOf(2), processes: [] });
  const objects = cluster.put(8, 1);
  const calm = cluster.origin.faults.place({ latencyMs: 2_500 });
  await using client = await connectClient({ endpoint: cluster.addressOf("cache-0"), transport: "grpc" });
  const { http } = cluster.member("cache-0");
  await Promise.all(
    objects.flatMap(({ url, key, version }) => [
      client.readRange(url, 0, 1, version),
      fetch(`http://${http}/s3/bucket/${key}`, { headers: { range: "bytes=0-0", "if-match": `"${version}"` } }).then((response) =>
        response.arrayBuffer(),
      ),
    ]),
  );
  calm();
  expect(cluster.names.map((name) => lostOthers(cluster.member(name)))).toEqual([0, 0]);
});
