import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { measured } from "../../../server/src/api/measured-cache.js";
import type { ObjectRead } from "../../../server/src/cache/object-read.js";
import { HottestObjects } from "../../../server/src/metrics/hottest-objects.js";
import { Metrics } from "../../../server/src/metrics/metrics.js";
import { ReadMeter } from "../../../server/src/metrics/read-meter.js";
import { RecentErrors } from "../../../server/src/metrics/recent-errors.js";
import type { Cache, ReadRequest } from "../../../server/src/routing/cache.js";
import { systemClock } from "../../../server/src/runtime/clock.js";
import { RawClient } from "../../../server/src/testing/raw-client.js";
import { type Benchmark, barsOf } from "../answer.js";
import { median, timeMs } from "../measure.js";
import { OriginProcess } from "../origin-process.js";

const MEMBER = fileURLToPath(new URL("../metrics-cost-main.ts", import.meta.url));
const ROUNDS = 61;
const READS = 4_000;
const CONNECTIONS = 16;
const RANGE = "Range: bytes=0-4095";
/** What else a reader is asked for, which nothing here asks. */

/** A member's gateway in a process of its own. */
class Member {
  readonly #clients: RawClient[] = [];

  private constructor(
    private readonly child: ChildProcess,
    private readonly target: string,
  ) {}

  static async start(endpoint: string, mode: "with" | "without", target: string): Promise<Member> {
    const child = fork(MEMBER, [endpoint, mode], { execArgv: ["--import", "tsx"] });
    const member = new Member(child, target);
    const [port] = (await once(child, "message")) as [number];
    for (let i = 0; i < CONNECTIONS; i++) member.#clients.push(await RawClient.connect(port));
    return member;
  }

  /** One round of hot reads: CPU microseconds of the member for each of them, and reads a second. */
  async round(): Promise<{ cpuUs: number; rate: number }> {
    const before = await this.#cpuUs();
    let left = READS;
    const ms = await timeMs(() =>
      Promise.all(
        this.#clients.map(async (client) => {
          while (left-- > 0) {
            const { status } = await client.get(this.target, RANGE);
            if (status !== 206) throw new Error(`answered with ${status}`);
          }
        }),
      ),
    );
    return { cpuUs: ((await this.#cpuUs()) - before) / READS, rate: (1_000 * READS) / ms };
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) await client[Symbol.asyncDispose]();
    this.child.disconnect();
    await once(this.child, "exit");
  }

  async #cpuUs(): Promise<number> {
    this.child.send("cpu");
    const [cpuUs] = (await once(this.child, "message")) as [number];
    return cpuUs;
  }
}

/** Nanoseconds that counting adds to one read that is at hand: the same loop over the same read, counted and not. */
function countingNs(): number {
  const slice = { bytes: Buffer.alloc(4_096), release() {} };
  const info = { version: "v", objectSize: 4_096 };
  const open = (): ObjectRead => {
    let sent = false;
    return {
      info,
      offset: 0,
      length: 4_096,
      result: "hit",
      next: () => {
        if (sent) return undefined;
        sent = true;
        return slice;
      },
      close() {},
    };
  };
  const cache: Pick<Cache, "open"> = { open };
  const meter = new ReadMeter(new Metrics([], 0), new HottestObjects(100), new RecentErrors(50), systemClock);
  const request = { ref: { url: "s3://bucket/hot" }, cachedOnly: false } as never as ReadRequest;
  const loop = (of: Pick<Cache, "open">): number => {
    const begun = performance.now();
    for (let i = 0; i < 1_000_000; i++) {
      const read = of.open(request) as ObjectRead;
      read.next();
      read.close();
    }
    return performance.now() - begun;
  };
  const counted = measured(meter)(cache as Cache);
  const costs = Array.from({ length: 7 }, () => loop(counted) - loop(cache));
  return median(costs);
}

export const benchmark: Benchmark = {
  question: "What do metrics and logs cost a hot read of 4 KiB?",
  async run() {
    await using origin = await OriginProcess.start();
    const { url } = await origin.putRamp("hot", 64 << 10, 1);
    const target = url.replace("s3://", "/s3/");
    const counting = countingNs();
    const members = {
      with: await Member.start(origin.endpoint, "with", target),
      without: await Member.start(origin.endpoint, "without", target),
    };
    const figures = { with: [] as { cpuUs: number; rate: number }[], without: [] as { cpuUs: number; rate: number }[] };
    for (let round = -2; round < ROUNDS; round++) {
      for (const mode of ["with", "without"] as const) {
        const figure = await members[mode].round();
        if (round >= 0) figures[mode].push(figure);
      }
    }
    await Promise.all([members.with.stop(), members.without.stop()]);
    const cpuUs = (mode: "with" | "without"): number => median(figures[mode].map((figure) => figure.cpuUs));
    const rate = (mode: "with" | "without"): number => median(figures[mode].map((figure) => figure.rate));
    const results = [
      { name: "counting one read, by itself", value: counting, unit: "ns" },
      { name: "CPU of the member for a read, with", value: cpuUs("with"), unit: "us" },
      { name: "CPU of the member for a read, without", value: cpuUs("without"), unit: "us" },
      { name: "counting by itself / CPU without", value: (100 * counting) / 1_000 / cpuUs("without"), unit: "%", atMost: 3 },
      { name: "throughput with / without", value: rate("with") / rate("without"), unit: "x", atLeast: 0.97 },
    ];
    return { figures: results, chart: barsOf(results, "us") };
  },
};
