import { namesOf } from "../e2e/addresses.js";
import { Cluster } from "../e2e/cluster.js";
import type { Chance } from "../seeded-random.js";

const BUCKET = "builds";

/** What a member answered. Status 0: it could not be reached, or the response was cut off. */
export interface Answered {
  readonly status: number;
  readonly body: Buffer;
}

/** Members as processes that keep values, and requests to them over HTTP. */
export class ValueMembers implements AsyncDisposable {
  readonly cluster: Cluster;

  private constructor(cluster: Cluster) {
    this.cluster = cluster;
  }

  static async start(members: number): Promise<ValueMembers> {
    const flags = ["--cache-bucket", BUCKET, "--member-timeout", "1s"];
    return new ValueMembers(await Cluster.start({ names: namesOf(members), flags }));
  }

  /** Names of the members whose processes run. */
  get living(): string[] {
    return this.cluster.names.filter((name) => this.cluster.member(name).runs);
  }

  /** Sends a request for a value to a member, by default to a random one that runs. */
  async send(method: string, key: string, from: string | Chance, body?: Buffer): Promise<Answered> {
    const { living } = this;
    const name = typeof from === "string" ? from : living[from.below(living.length)]!;
    const url = `http://${this.cluster.hostOf(name)}:${this.cluster.port + 1}/values/${BUCKET}/${key}`;
    try {
      const response = await fetch(url, { method, ...(body !== undefined && { body: new Uint8Array(body) }) });
      return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
    } catch {
      return { status: 0, body: Buffer.alloc(0) };
    }
  }

  /** Copies of values on the members that run, by their metrics. */
  async copies(): Promise<number> {
    const counts = this.living.map(async (name) => {
      const text = await (await fetch(`http://${this.cluster.hostOf(name)}:${this.cluster.port + 1}/metrics`)).text();
      return Number(/^frontcache_values(?:\{[^}]*\})? (\d+)/m.exec(text)![1]);
    });
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  }

  /** Resolves with the seconds until the members have this many copies; rejects after `limitMs`. */
  async untilCopies(copies: number, limitMs: number): Promise<number> {
    const beganMs = performance.now();
    for (let found = -1; ; ) {
      found = await this.copies();
      const passedMs = performance.now() - beganMs;
      if (found === copies) return passedMs / 1_000;
      if (passedMs > limitMs) throw new Error(`${found} instead of ${copies} copies after ${Math.round(passedMs / 1_000)} s`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
  }
}
