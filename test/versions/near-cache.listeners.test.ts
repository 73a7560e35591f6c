import type { CacheClient, NearOptions } from "@frontcache/client";
import { eventually } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { hostOf, namesOf } from "../e2e/addresses.js";
import { Cluster, type Surroundings } from "../e2e/cluster.js";
import { staticPods } from "../e2e/cluster-pods.js";
import { connectClient, temporaryDirectory } from "../e2e/member-process.js";

const WRITES = 6;
const OVERWRITES = 3;
const url = "s3://bucket/object";

/** Reads the object again and again, and checks that its number never decreases. */
class NearReader {
  readonly #client: CacheClient;
  #isOver = false;
  #reads = 0;
  #last = 0;
  /** Rejects if a number was older than one before. */
  readonly done: Promise<void>;

  constructor(client: CacheClient) {
    this.#client = client;
    this.done = this.#run();
    // Awaited by `stop`.
    this.done.catch(() => {});
  }

  /** The number that a read returns which begins now. Every second one is streamed. */
  async read(): Promise<number> {
    const isStreamed = this.#reads++ % 2 === 1;
    return Number(
      isStreamed ? Buffer.concat(await this.#client.stream(url).toArray()) : await this.#client.readRange(url, 0, 100),
    );
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.done;
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      const number = await this.read();
      if (number < this.#last) throw new Error(`${number} was read after ${this.#last}`);
      this.#last = number;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

describe("clients with a near cache, of three members", () => {
  it("answer no read with an older version than the cluster: neither after a write, nor after another client's read", async () => {
    const pods = async ({ places, port }: Surroundings) => staticPods(places, port, undefined, true);
    const flags = ["--writes", "anonymous", "--revalidate-after", "1s"];
    await using cluster = await Cluster.start({ processes: [], names: namesOf(3), pods, flags });
    cluster.origin.put("bucket", "object", "0");
    const plain = await cluster.client(cluster.names[0]!);
    const endpoints = cluster.names.map((name) => `${hostOf(cluster.names.indexOf(name))}:${cluster.port}`);
    await using directory = await temporaryDirectory();
    // Two of them share a directory.
    const disk = `${directory.path}:64MiB`;
    const nears: readonly NearOptions[] = [{ memory: "1MiB" }, { memory: "1MiB", disk }, { disk }];
    const near = await Promise.all(endpoints.map((endpoint, at) => connectClient({ endpoint, near: nears[at] })));
    const readers = near.map((client) => new NearReader(client));

    let number = 0;
    for (let write = 0; write < WRITES; write++) {
      await plain.put(url, `${++number}`);
      for (const reader of readers) expect(await reader.read()).toBe(number);
    }
    for (let overwrite = 0; overwrite < OVERWRITES; overwrite++) {
      cluster.origin.put("bucket", "object", `${++number}`);
      await eventually(async () => expect(Number(await plain.readRange(url, 0, 100))).toBe(number));
      for (const reader of readers) expect(await reader.read()).toBe(number);
    }
    for (const reader of readers) await reader.stop();
    for (const client of near) await client.close();
    for (const client of near.slice(0, 2)) expect(client.nearReads().hits).toBeGreaterThan(0);
    for (const client of near.slice(1)) expect(client.nearReads().disk).toMatchObject({ failures: 0, damagedBlocks: 0 });
  });
});
