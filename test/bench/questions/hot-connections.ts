import { type Answer, type Bar, type Benchmark, type Figure, OURS, type Table } from "../answer.js";
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
import { type SliceServer, startSliceServer } from "../peers/peer-process.js";
import { MiB, onStage, type Stage } from "../stage.js";

const MEMBER = `${OURS} member`;
const MEMBER_MAPPED = `${OURS} member, --sendfile false`;
const BARE_NET = "bare net server, slices of a Buffer";
const NODE_HTTP = "plain node:http, slices of a Buffer";
const NGINX_FILES = "nginx, static file";
const NGINX_SLICES = "nginx, slice cache";
const ROUNDS = { rounds: 5, seconds: 1, warmUpSeconds: 3 };
/** CPU of a member over that of other servers. The other servers that are shown have no target. */
const AT_MOST: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "4 KiB": { [BARE_NET]: 1.4, [NGINX_SLICES]: 4 },
  "64 KiB": { [NGINX_SLICES]: 1.5 },
  "1 MiB": { [NGINX_SLICES]: 1 },
  "16 MiB": { [NGINX_SLICES]: 0.9 },
};
/** Rate of a member over nginx's slice cache. */
const AT_LEAST: Readonly<Record<string, number>> = { "16 MiB": 1.4 };

function figuresOf({ title }: RequestSize, costs: ReadonlyMap<string, RequestCost>): Figure[] {
  const member = costs.get(MEMBER)!;
  const figures: Figure[] = [{ name: `${title}: requests/s of a member`, value: member.requestsPerSecond, unit: "" }];
  for (const name of [MEMBER_MAPPED, BARE_NET, NGINX_SLICES, NGINX_FILES]) {
    const other = costs.get(name);
    if (other === undefined) continue;
    const atMost = AT_MOST[title]?.[name];
    const value = member.cpuUs / other.cpuUs;
    figures.push({ name: `${title}: CPU of a member / ${name}`, value, unit: "x", ...(atMost && { atMost }) });
  }
  const slices = costs.get(NGINX_SLICES);
  if (slices !== undefined) {
    const value = member.requestsPerSecond / slices.requestsPerSecond;
    const atLeast = AT_LEAST[title];
    figures.push({ name: `${title}: rate of a member / ${NGINX_SLICES}`, value, unit: "x", ...(atLeast && { atLeast }) });
    // At 1, the rates compare how fast one core receives what the servers send.
    for (const [name, { readerShare }] of [[MEMBER, member] as const, [NGINX_SLICES, slices] as const]) {
      if (atLeast && readerShare > 0)
        figures.push({ name: `${title}: share of a core that the reader of ${name} uses`, value: readerShare, unit: "" });
    }
  }
  return figures;
}

/** The servers, all with the same 16 MiB. */
async function targetsOf(
  { member, origin, hot }: Stage,
  mapped: Stage,
  slices: SliceServer,
  nginx: Nginx | undefined,
): Promise<Target[]> {
  const object = await hot(16 * MiB);
  await mapped.hot(16 * MiB);
  const path = `/s3/bench/${object.key}`;
  const targets: Target[] = [
    { name: MEMBER, port: portOf(member.http), path, pids: [member.pid] },
    { name: MEMBER_MAPPED, port: portOf(mapped.member.http), path, pids: [mapped.member.pid] },
    { name: BARE_NET, port: slices.port.bareHttp, path, pids: [slices.pid] },
    { name: NODE_HTTP, port: slices.port.http, path, pids: [slices.pid] },
  ];
  if (nginx === undefined) return targets;
  const listener = { port: portOf(nginx.address), pids: [nginx.pid] };
  const file = await nginx.addFile(origin, object);
  return [...targets, { name: NGINX_SLICES, path, ...listener }, { name: NGINX_FILES, path: file, ...listener }];
}

export const benchmark: Benchmark = {
  question: "How many requests does one member on one core answer over 64 connections, and what does each cost?",
  run: () => onStage((stage) => onStage((mapped) => run(stage, mapped), { flags: ["--sendfile", "false"] })),
};

async function run(stage: Stage, mapped: Stage): Promise<Answer> {
  using slices = await startSliceServer();
  await using load = startLoadGenerator();
  await using nginx = await Nginx.start(stage.origin);
  const targets = await targetsOf(stage, mapped, slices, nginx);
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
}
