import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import { type Benchmark, type Figure, OURS } from "../answer.js";
import { startLoadGenerator } from "../load/http-load.js";
import { anonymousBytes, canPin, cpuMs, OTHER_CPUS, pin, portOf, SERVER_CPU, touchMemory } from "../machine.js";
import { median, quick } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { Nginx } from "../peers/nginx.js";
import { startPlainProxy } from "../peers/peer-process.js";
import { KiB, MiB } from "../stage.js";

const SIZE = 4 * KiB;
const CONNECTIONS = 64;
const ROUNDS = 5;
const OBJECTS = 2_000;
/** V8 has compiled most of a member after so many. */
const WARM_UP_OBJECTS = 20_000;
/** An upper bound: the number of objects ends a round. */
const SECONDS = 120;
/** More than files, page cache and heap of a round. */
const TOUCHED_BYTES = 256 * MiB;
/** A process that has taken no CPU time for so long has written its files. */
const QUIET_MS = 400;
const NGINX = "nginx, slice cache";
const PROXY = "a bare proxy (node:http)";

interface Contestant {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
}

/** CPU time until a process has nothing left to do. */
async function settledCpuMs(pid: number): Promise<number> {
  for (let ms = cpuMs(pid); ; ) {
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    const nextMs = cpuMs(pid);
    // Two ticks: timers run at rest, too.
    if (nextMs - ms <= 20) return nextMs;
    ms = nextMs;
  }
}

export const benchmark: Benchmark = {
  question: "What does a cold object of 4 KiB cost until its file is written, and is it cached after a crash?",
  async run() {
    await using origin = await OriginProcess.start();
    await using directory = await temporaryDirectory();
    const start = () => MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: directory.path });
    await using member = await start();
    await using nginx = await Nginx.start(origin);
    await using proxy = await startPlainProxy(origin.endpoint);
    await using load = startLoadGenerator();
    const contestants: Contestant[] = [
      { name: OURS, pid: member.pid, port: portOf(member.http) },
      ...(nginx === undefined ? [] : [{ name: NGINX, pid: nginx.pid, port: portOf(nginx.address) }]),
      { name: PROXY, pid: proxy.pid, port: proxy.port },
    ];
    for (const { pid } of contestants) pin(pid, SERVER_CPU);
    pin(origin.pid, OTHER_CPUS);
    const cpuList = canPin() ? OTHER_CPUS : undefined;
    const read = async (port: number, prefix: string, requests: number): Promise<number> => {
      const order = { port, path: `/s3/bench/${prefix}-{n}`, requests, connections: CONNECTIONS, seconds: SECONDS };
      const { failures, p50Us } = await load.run(order, cpuList);
      if (failures > 0) throw new Error(`${failures} of ${requests} reads failed`);
      return p50Us;
    };
    const cpuUs = new Map<string, number[]>(contestants.map(({ name }) => [name, []]));
    const p50Us = new Map<string, number[]>(contestants.map(({ name }) => [name, []]));
    const restBytes = anonymousBytes(member.pid);
    const [objects, warmUpObjects] = [quick(OBJECTS), quick(WARM_UP_OBJECTS)];
    for (let round = -1; round < quick(ROUNDS); round++) {
      const requests = round < 0 ? warmUpObjects : objects;
      for (const [index, { name, pid, port }] of contestants.entries()) {
        const prefix = `small-${index}-${round}`;
        await origin.putMany(prefix, requests, SIZE);
        touchMemory(TOUCHED_BYTES);
        const before = await settledCpuMs(pid);
        const p50 = await read(port, prefix, requests);
        const spentMs = (await settledCpuMs(pid)) - before;
        if (round < 0) continue;
        cpuUs.get(name)!.push((spentMs * 1e3) / requests);
        p50Us.get(name)!.push(p50);
      }
    }
    const keptBytes = (anonymousBytes(member.pid) - restBytes) / (warmUpObjects + Math.ceil(quick(ROUNDS)) * objects);
    await member.kill();
    await using restarted = await start();
    await origin.traffic();
    await read(portOf(restarted.http), "small-0-0", objects);
    const { gets } = await origin.traffic();
    const costOf = (name: string): number => median(cpuUs.get(name)!);
    const ratios: Figure[] = [
      { name: `CPU per object over that of ${PROXY}`, value: costOf(OURS) / costOf(PROXY), unit: "x", atMost: 3 },
    ];
    if (nginx !== undefined) {
      ratios.push({ name: `CPU per object over that of ${NGINX}`, value: costOf(OURS) / costOf(NGINX), unit: "x", atMost: 6 });
    }
    return {
      tables: [
        {
          columns: ["4 KiB, cold, 64 connections", "CPU us/object", "p50 us"],
          rows: contestants.map(({ name }) => [name, costOf(name), median(p50Us.get(name)!)]),
        },
      ],
      figures: [
        ...ratios,
        { name: "anonymous memory per object, garbage included", value: keptBytes / KiB, unit: "KiB" },
        { name: "hits after kill -9 and a restart", value: 1 - gets / objects, unit: "", atLeast: 0.99 },
      ],
      chart: {
        unit: "CPU us for an object, less is better",
        bars: contestants.map(({ name }) => ({ name, values: [costOf(name)], ours: name === OURS })),
      },
    };
  },
};
