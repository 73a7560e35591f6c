import type { CacheClient } from "@frontcache/client";
import { eventually } from "@frontcache/proto/testing";
import { request } from "undici";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { namesOf } from "../e2e/addresses.js";
import { Cluster, type Surroundings } from "../e2e/cluster.js";
import { staticPods } from "../e2e/cluster-pods.js";
import { BLOCK_BYTES, isRight, MiB, readAll, type TestObject } from "../e2e/test-objects.js";
import { rampBytes } from "../emulators/s3.js";

const OBJECTS = 10;
/** Longer than any test: the origin accepts requests and answers none. */
const NEVER_MS = 3_600_000;

interface Answer {
  readonly kind: string;
  readonly ok: boolean;
  readonly cached: string | null;
  readonly tookMs: number;
}

describe("a cluster whose origin does not answer, or answers late", () => {
  let cluster: Cluster;
  let objects: TestObject[];

  beforeEach(async () => {
    // Every record has expired when it is read.
    const flags = ["--revalidate-after", "1ms"];
    const pods = async ({ places, port }: Surroundings) => staticPods(places, port, () => places, true);
    cluster = await Cluster.start({ processes: [], names: namesOf(3), pods, flags });
    objects = cluster.put(OBJECTS, 1);
    await readAll(await cluster.client(), objects);
  });
  afterEach(() => cluster[Symbol.asyncDispose]());

  const urlOf = (name: string, key: string): string => `http://${cluster.member(name).http}/s3/bucket/${key}`;

  async function answered(kind: string, ask: () => Promise<{ ok: boolean; cached?: string | null }>): Promise<Answer> {
    const beganMs = performance.now();
    const { ok, cached } = await ask().catch(() => ({ ok: false, cached: null }));
    return { kind, ok, cached: cached ?? null, tookMs: performance.now() - beganMs };
  }

  /** One read of each kind of one object at one member. */
  function allKinds(name: string, client: CacheClient, object: TestObject): Promise<Answer[]> {
    const { key, url, version, seed } = object;
    // Not by `fetch`, which sends Cache-Control: no-cache with a condition, so that the origin must confirm the version.
    const get = (kind: string, headers: Record<string, string>, expected: (status: number, body: Buffer) => boolean) =>
      answered(kind, async () => {
        const response = await request(urlOf(name, key), { headers });
        const body = Buffer.from(await response.body.arrayBuffer());
        return { ok: expected(response.statusCode, body), cached: String(response.headers["x-cache"]) };
      });
    const range = { offset: 10, length: 100 };
    return Promise.all([
      get("range", { range: "bytes=10-109" }, (status, body) => status === 206 && isRight(body, object, range)),
      get("whole", {}, (status, body) => status === 200 && isRight(body, object, { offset: 0, length: BLOCK_BYTES })),
      get("suffix", { range: "bytes=-8" }, (status, body) => status === 206 && body.equals(rampBytes(MiB - 8, 8, seed))),
      get("condition", { "if-none-match": `"${version}"` }, (status) => status === 304),
      answered("HEAD", async () => {
        const response = await fetch(urlOf(name, key), { method: "HEAD" });
        return { ok: response.status === 200, cached: response.headers.get("x-cache") };
      }),
      answered("stat", async () => ({ ok: (await client.stat(url)).version === version })),
      answered("readRange", async () => ({ ok: isRight(await client.readRange(url, 10, 100), object, range) })),
    ]);
  }

  /** Reads all objects by all kinds of reads at all members. */
  async function readEverything(): Promise<Answer[]> {
    const perMember = cluster.names.map(async (name) => {
      const client = await cluster.client(name);
      const answers: Answer[] = [];
      for (const object of objects) answers.push(...(await allKinds(name, client, object)));
      return answers;
    });
    return (await Promise.all(perMember)).flat();
  }

  /**
   * Reads everything twice while the origin is silent; resolves with the answers, and a function that lets the origin answer again.
   * A member that stood still for half a second confirms its versions, because others may have decided meanwhile: its reads wait for
   * the origin. That happens on a busy machine only, and never in each of five rounds.
   */
  async function readWhileSilent(): Promise<{ answers: Answer[]; up: () => void }> {
    for (let round = 1; ; round++) {
      const up = cluster.origin.faults.place({ latencyMs: NEVER_MS });
      const answers = [...(await readEverything()), ...(await readEverything())];
      if (failedOf(answers).length === 0 || round === 5) return { answers, up };
      console.info(`round ${round}: ${failedOf(answers).length} reads have waited for the origin`);
      up();
      await eventually(async () => expect(failedOf(await readEverything())).toEqual([]));
    }
  }

  const failedOf = (answers: readonly Answer[]): string[] => answers.filter(({ ok }) => !ok).map(({ kind }) => kind);
  const logged = (event: string): number =>
    cluster.names.reduce((sum, name) => sum + cluster.member(name).log.filter((line) => line.event === event).length, 0);

  it("serves everything that is cached, by every kind of read at every member, and fails all else at once", async () => {
    const { answers, up } = await readWhileSilent();
    expect(failedOf(answers)).toEqual([]);
    expect(new Set(answers.filter(({ kind }) => kind === "whole").map(({ cached }) => cached))).toEqual(new Set(["STALE"]));
    const times = answers.map(({ tookMs }) => tookMs).sort((a, b) => a - b);
    const at = (share: number): number => Math.round(times[Math.floor(share * (times.length - 1))]!);
    console.info(`${times.length} reads: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, slowest ${at(1)} ms`);

    cluster.origin.putRamp("bucket", "new", MiB, 1);
    const name = cluster.names[0]!;
    const read = async (): Promise<string> => {
      const response = await fetch(urlOf(name, "new"), { headers: { range: "bytes=0-9" } });
      return `${response.status} ${await response.text()}`;
    };
    await expect.poll(read, { timeout: 60_000 }).toContain(`the origin ${cluster.origin.endpoint} has not answered`);
    await expect.poll(() => logged("origin-unavailable")).toBeGreaterThan(0);
    up();
    await expect.poll(read, { timeout: 60_000 }).toMatch(/^206 /);
    await expect.poll(() => logged("origin-available")).toBeGreaterThan(0);
  });

  it("is not taken for unavailable if it answers in three seconds, and what is cached does not wait for it", async () => {
    const calm = cluster.origin.faults.place({ latencyMs: 3_000 });
    const answers = await readEverything();
    expect(failedOf(answers)).toEqual([]);
    cluster.origin.putRamp("bucket", "new", MiB, 1);
    const cold = await fetch(urlOf(cluster.names[0]!, "new"), { headers: { range: "bytes=0-9" } });
    expect([cold.status, Buffer.from(await cold.arrayBuffer()).equals(rampBytes(0, 10, 1))]).toEqual([206, true]);
    calm();
    expect(logged("origin-unavailable")).toBe(0);
  });
});
