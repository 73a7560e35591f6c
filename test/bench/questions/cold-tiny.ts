import { type Benchmark, type Figure, OURS } from "../answer.js";
import { startLoadGenerator } from "../load/http-load.js";
import { canPin, cpuMsOfAll, OTHER_CPUS, pin, portOf, SERVER_CPU } from "../machine.js";
import { median, quick } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { Cluster } from "../stage.js";

const SIZE = 128;
const CONNECTIONS = 8;
const ROUNDS = 5;
const OBJECTS = 2_000;
/**
 * For each member: until then V8 compiles code that each object runs. Three members took 2,555 us for each of the first 4,000 objects
 * that they filled together, and 645 after 20,000; one member 1,190 and 350.
 */
const WARM_UP_OBJECTS = 20_000;
/** An upper bound: the number of objects ends a round. */
const SECONDS = 120;

/** What one round of cold reads cost, for each object. */
interface Cost {
  readonly cpuUs: number;
  readonly originCpuUs: number;
  readonly p50Us: number;
}

export const benchmark: Benchmark = {
  question: "What does a cold object of 128 bytes cost, read through one of three members that have each filled 20,000 before?",
  async run() {
    await using origin = await OriginProcess.start();
    await using one = await Cluster.start(origin.endpoint, 1);
    await using three = await Cluster.start(origin.endpoint, 3);
    await using load = startLoadGenerator();
    for (const { members } of [one, three]) for (const { pid } of members) pin(pid, SERVER_CPU);
    pin(origin.pid, OTHER_CPUS);
    const readCold = async ({ members }: Cluster, requests: number, prefix: string): Promise<Cost> => {
      await origin.putMany(prefix, requests, SIZE);
      const pids = members.map(({ pid }) => pid);
      const [before, originBefore] = [cpuMsOfAll(pids), cpuMsOfAll([origin.pid])];
      const order = { port: portOf(members[0]!.http), path: `/s3/bench/${prefix}-{n}`, requests };
      const { p50Us, failures } = await load.run(
        { ...order, connections: CONNECTIONS, seconds: SECONDS },
        canPin() ? OTHER_CPUS : undefined,
      );
      if (failures > 0) throw new Error(`${failures} of ${requests} cold reads failed`);
      const perObject = (ms: number): number => (ms * 1e3) / requests;
      return {
        cpuUs: perObject(cpuMsOfAll(pids) - before),
        originCpuUs: perObject(cpuMsOfAll([origin.pid]) - originBefore),
        p50Us,
      };
    };
    const costs: [Cost[], Cost[]] = [[], []];
    for (let round = -1; round < quick(ROUNDS); round++) {
      for (const [index, cluster] of [one, three].entries()) {
        const objects = round < 0 ? WARM_UP_OBJECTS * cluster.members.length : OBJECTS;
        const cost = await readCold(cluster, quick(objects), `tiny-${index}-${round}`);
        if (round >= 0) costs[index]!.push(cost);
      }
    }
    const [alone, together] = costs.map((all) => ({
      cpuUs: median(all.map(({ cpuUs }) => cpuUs)),
      originCpuUs: median(all.map(({ originCpuUs }) => originCpuUs)),
      p50Us: median(all.map(({ p50Us }) => p50Us)),
    })) as [Cost, Cost];
    const names = [`${OURS}, one member`, `${OURS}, three members`];
    const rows = [alone, together].map(({ cpuUs, originCpuUs, p50Us }, index) => [names[index], cpuUs, originCpuUs, p50Us]);
    const figures: Figure[] = [
      { name: "CPU of three members / of one member alone", value: together.cpuUs / alone.cpuUs, unit: "x", atMost: 1.5 },
    ];
    return {
      tables: [
        { columns: ["128 bytes, cold, 8 connections", "members' CPU us/object", "origin's CPU us/object", "p50 us"], rows },
      ],
      figures,
      chart: {
        unit: "CPU us of all members for an object, less is better",
        bars: [alone, together].map(({ cpuUs }, index) => ({ name: names[index]!, values: [cpuUs], ours: true })),
      },
    };
  },
};
