import {
  type Cache,
  HottestObjects,
  Metrics,
  measured,
  type ObjectRead,
  ReadMeter,
  type ReadRequest,
  RecentErrors,
  systemClock,
} from "@frontcache/server/testing";
import { type Benchmark, barsOf } from "../answer.js";
import { startLoadGenerator } from "../load/http-load.js";
import { REQUEST_SIZES, requestCosts, type Target } from "../load/request-cost.js";
import { pin, portOf, SERVER_CPU } from "../machine.js";
import { median } from "../measure.js";
import { MiB, onStage } from "../stage.js";

const ROUNDS = { rounds: 9, seconds: 1, warmUpSeconds: 3 };

/** Nanoseconds that counting adds to a cached read: the difference of two loops over the same read, one of them counted. */
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
  const meter = new ReadMeter(new Metrics({}, 0), new HottestObjects(100), new RecentErrors(50), systemClock);
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
  question: "What does counting cost a hot read of 4 KiB?",
  run: () =>
    onStage(async ({ member, hot }) => {
      const counting = countingNs();
      const { key } = await hot(16 * MiB);
      await using load = startLoadGenerator();
      pin(member.pid, SERVER_CPU);
      const target: Target = { name: "member", port: portOf(member.http), path: `/s3/bench/${key}`, pids: [member.pid] };
      const { cpuUs } = (await requestCosts(load, [target], REQUEST_SIZES[0]!, ROUNDS)).get(target.name)!;
      const figures = [
        { name: "counting one read", value: counting / 1e3, unit: "us" },
        { name: "CPU of the member for a read", value: cpuUs, unit: "us" },
        {
          name: "counting / all other CPU of the read",
          value: (100 * counting) / (cpuUs * 1e3 - counting),
          unit: "%",
          atMost: 3,
        },
      ];
      return { figures, chart: barsOf(figures, "us") };
    }),
};
