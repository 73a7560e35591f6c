import { type Bar, type Benchmark, type Figure, OURS, type Table } from "../answer.js";
import { startLoadGenerator } from "../load/http-load.js";
import {
  REQUEST_SIZES,
  type RequestCost,
  type RequestSize,
  requestCosts,
  requestCostTable,
  type Target,
} from "../load/request-cost.js";
import { OTHER_CPUS, pin, portOf, SERVER_CPU } from "../machine.js";
import { Nginx } from "../peers/nginx.js";
import { SliceServer } from "../peers/raw-tcp.js";
import { MiB, onStage, type Stage } from "../stage.js";

const MEMBER = `${OURS} member`;
const NODE_HTTP = "plain node:http, slices of a Buffer";
const NGINX_FILES = "nginx, static file";
const NGINX_SLICES = "nginx, slice cache";
const ROUNDS = { rounds: 7, seconds: 1, warmUpSeconds: 3 };
const AT_LEAST: Readonly<Record<string, number>> = { "4 KiB": 40_000, "64 KiB": 30_000 };

/**
 * The targets compare a member's rate with that of a Node server that reads no files. The other servers are shown for comparison.
 */
function figuresOf({ title }: RequestSize, costs: ReadonlyMap<string, RequestCost>): Figure[] {
  const [member, plain] = [costs.get(MEMBER)!, costs.get(NODE_HTTP)!];
  const atLeast = AT_LEAST[title];
  const figures: Figure[] = [
    { name: `${title}: requests/s of a member`, value: member.requestsPerSecond, unit: "", ...(atLeast && { atLeast }) },
    {
      name: `${title}: ... over plain node:http`,
      value: member.requestsPerSecond / plain.requestsPerSecond,
      unit: "x",
      ...(atLeast && { atLeast: 0.7 }),
    },
  ];
  for (const name of [NGINX_SLICES, NGINX_FILES]) {
    const nginx = costs.get(name);
    if (nginx === undefined) continue;
    figures.push({ name: `${title}: CPU of a member / ${name}`, value: member.cpuUs / nginx.cpuUs, unit: "x" });
  }
  return figures;
}

/** The servers, all with the same 16 MiB. */
async function targetsOf({ member, origin, hot }: Stage, slices: SliceServer, nginx: Nginx | undefined): Promise<Target[]> {
  const object = await hot(16 * MiB);
  const path = `/s3/bench/${object.key}`;
  const targets: Target[] = [
    { name: MEMBER, port: portOf(member.http), path, pids: [member.pid] },
    { name: NODE_HTTP, port: slices.httpPort, path, pids: [slices.pid] },
  ];
  if (nginx === undefined) return targets;
  const listener = { port: portOf(nginx.address), pids: [nginx.pid] };
  const file = await nginx.addFile(origin, object);
  return [...targets, { name: NGINX_SLICES, path, ...listener }, { name: NGINX_FILES, path: file, ...listener }];
}

export const benchmark: Benchmark = {
  question: "How many requests does one member on one core answer over 64 connections, and what does each cost?",
  run: () =>
    onStage(async (stage) => {
      using slices = await SliceServer.start();
      await using load = startLoadGenerator();
      await using nginx = await Nginx.start(stage.origin);
      const targets = await targetsOf(stage, slices, nginx);
      const isPinned = targets.flatMap(({ pids }) => pids).every((pid) => pin(pid, SERVER_CPU));
      if (isPinned) pin(stage.origin.pid, OTHER_CPUS);
      else console.log("  note: no process is pinned to a core, since there is only one or taskset is missing");
      console.log(`  load generator: ${load.name}`);
      const tables: Table[] = [];
      const figures: Figure[] = [];
      const all: Map<string, RequestCost>[] = [];
      for (const size of REQUEST_SIZES) {
        const costs = await requestCosts(load, targets, size, ROUNDS);
        tables.push(requestCostTable(size, costs));
        figures.push(...figuresOf(size, costs));
        all.push(costs);
      }
      // Rates of larger responses differ by orders of magnitude: they are in the tables.
      const inChart = all.slice(0, 2);
      const bars: Bar[] = targets.map(({ name }) => ({
        name,
        values: inChart.map((costs) => costs.get(name)!.requestsPerSecond),
        ours: name.startsWith(OURS),
      }));
      const groups = REQUEST_SIZES.slice(0, inChart.length).map(({ title }) => title);
      return { tables, figures, chart: { unit: "requests/s", groups, bars } };
    }),
};
