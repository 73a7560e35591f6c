import { type Benchmark, barsOf, type Figure, OURS } from "../answer.js";
import { startLoadGenerator } from "../load/http-load.js";
import type { Target } from "../load/request-cost.js";
import { canPin, cpuMs, keepAwake, OTHER_CPUS, pin, portOf, SERVER_CPU, StolenTime } from "../machine.js";
import { median, quick } from "../measure.js";
import { Nginx } from "../peers/nginx.js";
import { KiB, MiB, onStage } from "../stage.js";

const RUNS = 30;
/** nginx shows how steady this machine is: it runs after every third run of the member. */
const RUNS_PER_PEER_RUN = 3;
const WARM_UP_RUNS = 2;
const SECONDS = 2;
const CONNECTIONS = 64;
/**
 * Runs count if the server, or the reader, used at least this share of its core, and the hypervisor gave at most the rest of the time to
 * others. Otherwise other processes of the machine, or of its host, took the time.
 */
const LEAST_BUSY = 0.95;

/** Of one target, each of its runs that count. */
interface Runs {
  /** Runs in all. */
  runs: number;
  readonly ratesPerSecond: number[];
  readonly p99Ms: number[];
  /** Of all runs: other processes change it less than the rate. */
  readonly cpuUs: number[];
}

export const benchmark: Benchmark = {
  question: "Are the rates of many short runs of wrk alike? wrk chooses the order of its request headers anew in each run.",
  run: () =>
    onStage(async ({ origin, member, hot }) => {
      await using load = startLoadGenerator("wrk");
      await using nginx = await Nginx.start(origin);
      const object = await hot(16 * MiB);
      const path = `/s3/bench/${object.key}`;
      const targets: Target[] = [{ name: `${OURS} member`, port: portOf(member.http), path, pids: [member.pid] }];
      if (nginx !== undefined) {
        targets.push({ name: "nginx, slice cache", port: portOf(nginx.address), path, pids: [nginx.pid] });
      }
      for (const pid of targets.flatMap(({ pids }) => pids)) pin(pid, SERVER_CPU);
      pin(origin.pid, OTHER_CPUS);
      const range = { length: 4 * KiB, first: 0, span: 16 * MiB };
      const all = new Map<string, Runs>(targets.map(({ name }) => [name, { runs: 0, ratesPerSecond: [], p99Ms: [], cpuUs: [] }]));
      using _ = keepAwake(OTHER_CPUS);
      const stolen = canPin() ? new StolenTime() : undefined;
      for (let run = -WARM_UP_RUNS; run < quick(RUNS); run++) {
        for (const { name, port, pids } of run % RUNS_PER_PEER_RUN === 0 || run < 0 ? targets : targets.slice(0, 1)) {
          const before = cpuMs(pids[0]!);
          stolen?.share();
          const order = { port, path, connections: CONNECTIONS, seconds: SECONDS, range };
          const { requests, failures, seconds, p99Us, cpuSeconds = 0 } = await load.run(order, canPin() ? OTHER_CPUS : undefined);
          if (failures > 0) throw new Error(`${failures} of ${requests} requests to ${name} failed`);
          if (run < 0) continue;
          const serverSeconds = (cpuMs(pids[0]!) - before) / 1e3;
          const runs = all.get(name)!;
          runs.runs++;
          runs.cpuUs.push((serverSeconds * 1e6) / requests);
          const busyShare = Math.max(serverSeconds, cpuSeconds) / seconds;
          if (stolen !== undefined && (busyShare < LEAST_BUSY || stolen.share() > 1 - LEAST_BUSY)) continue;
          runs.ratesPerSecond.push(requests / seconds);
          runs.p99Ms.push(p99Us / 1e3);
        }
      }
      const figures: Figure[] = [...all].flatMap(([name, { runs, ratesPerSecond, p99Ms, cpuUs }]): Figure[] => {
        const isOurs = name.startsWith(OURS);
        const counted: Figure[] = [
          { name: `${name}: runs that count, of ${runs}`, value: ratesPerSecond.length, unit: "" },
          { name: `${name}: least CPU of a run / most, of all runs`, value: Math.min(...cpuUs) / Math.max(...cpuUs), unit: "x" },
        ];
        if (ratesPerSecond.length === 0) return counted;
        return [
          ...counted,
          {
            name: `${name}: slowest run / fastest`,
            value: Math.min(...ratesPerSecond) / Math.max(...ratesPerSecond),
            unit: "x",
            ...(isOurs && { atLeast: 0.85 }),
          },
          { name: `${name}: p99 of the median run`, value: median(p99Ms), unit: "ms", ...(isOurs && { atMost: 10 }) },
          { name: `${name}: requests/s of the median run`, value: median(ratesPerSecond), unit: "" },
        ];
      });
      return { figures, chart: barsOf(figures, "x") };
    }),
};
