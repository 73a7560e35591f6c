import { Agent, get, type IncomingMessage } from "node:http";
import type { Benchmark, Figure } from "../answer.js";
import { loopDelay, withLoopDelay } from "../loop-delay.js";
import { canPin, cpuMs, OTHER_CPUS, pin, portOf, SERVER_CPU, touchMemory } from "../machine.js";
import { median, quick, timeMs } from "../measure.js";
import { Nginx } from "../peers/nginx.js";
import { GiB, MiB, onStage } from "../stage.js";

const ROUNDS = 3;
const LATENCY_MS = 30;
const BYTES_PER_SECOND = 100e6;
const CONNECTIONS = 8;
const RANGE_BYTES = 16 * MiB;
/** Memory that is touched before a read, in sizes of the object: its file, and buffers of sockets. */
const TOUCHED = 2;

/** Discards the body of a response. Rejects unless it has `length` bytes. */
async function discard(response: IncomingMessage, length: number): Promise<void> {
  let bytes = 0;
  for await (const chunk of response) bytes += (chunk as Buffer).length;
  if (bytes !== length) throw new Error(`${response.statusCode}: ${bytes} bytes instead of ${length}`);
}

function request(url: string, agent: Agent, headers: Record<string, string>): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => void get(url, { agent, headers }, resolve).once("error", reject));
}

/** Reads a whole object by one GET. */
async function byOneGet(url: string, size: number): Promise<void> {
  const agent = new Agent();
  await discard(await request(url, agent, {}), size);
  agent.destroy();
}

/** Reads a whole object by ranges of 16 MiB over several connections. */
async function byRanges(url: string, size: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  let next = 0;
  const readInTurn = async (): Promise<void> => {
    while (next < size) {
      const start = next;
      next += RANGE_BYTES;
      const end = Math.min(size, next);
      await discard(await request(url, agent, { range: `bytes=${start}-${end - 1}` }), end - start);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, readInTurn));
  agent.destroy();
}

interface Cost {
  readonly ms: number;
  /** CPU seconds of the server. */
  readonly cpu: number;
}

export const benchmark: Benchmark = {
  question: "What does a cold GiB cost by one GET and by 8 connections, beside nginx's slice cache?",
  run: () =>
    onStage(
      async ({ origin, member }) => {
        const size = Math.ceil(quick(GiB / RANGE_BYTES)) * RANGE_BYTES;
        await origin.pace(LATENCY_MS, BYTES_PER_SECOND);
        const nginx = await Nginx.start(origin, "16m");
        pin(origin.pid, OTHER_CPUS);
        pin(process.pid, OTHER_CPUS);
        const ports = { frontcache: portOf(member.http), ...(nginx && { nginx: portOf(nginx.address) }) };
        const pids = { frontcache: member.pid, ...(nginx && { nginx: nginx.pid }) };
        let objects = 0;
        const read = async (name: "frontcache" | "nginx", by: typeof byOneGet): Promise<Cost> => {
          const key = `cold-${objects++}`;
          await origin.putRamp(key, size, objects);
          touchMemory(TOUCHED * size);
          const pid = pids[name]!;
          const before = cpuMs(pid);
          const ms = await timeMs(() => by(`http://127.0.0.1:${ports[name]}/s3/bench/${key}`, size));
          return { ms, cpu: (cpuMs(pid) - before) / 1e3 };
        };
        const ratios = async (by: typeof byOneGet): Promise<{ ours: Cost; ms: number; cpu: number }> => {
          const [ours, peers]: [Cost[], Cost[]] = [[], []];
          for (let round = -1; round < quick(ROUNDS); round++) {
            const cost = await read("frontcache", by);
            const peer = nginx === undefined ? cost : await read("nginx", by);
            if (round < 0) continue;
            ours.push(cost);
            peers.push(peer);
          }
          const of = (pick: (cost: Cost) => number): number => median(ours.map((cost, i) => pick(cost) / pick(peers[i]!)));
          const middle = { ms: median(ours.map(({ ms }) => ms)), cpu: median(ours.map(({ cpu }) => cpu)) };
          return { ours: middle, ms: of(({ ms }) => ms), cpu: of(({ cpu }) => cpu) };
        };
        for (const pid of Object.values(pids)) pin(pid, SERVER_CPU);
        const whole = await ratios(byOneGet);
        const ranges = await ratios(byRanges);
        const delay = await loopDelay(member);
        if (canPin()) pin(member.pid, "0-1");
        const direct: number[] = [];
        const both: number[] = [];
        for (let round = 0; round < quick(ROUNDS); round++) {
          both.push((await read("frontcache", byOneGet)).ms);
          await origin.putRamp(`direct-${round}`, size, 1);
          direct.push(await timeMs(() => byRanges(`${origin.endpoint}/bench/direct-${round}`, size)));
        }
        await nginx?.[Symbol.asyncDispose]();
        const overDirect = median(both.map((ms, round) => ms / direct[round]!));
        const figures: Figure[] = [
          { name: "one GET: time", value: whole.ours.ms, unit: "ms" },
          { name: "one GET: CPU", value: whole.ours.cpu, unit: "s" },
          { name: "one GET: time / nginx's", value: whole.ms, unit: "x", atMost: 0.5 },
          { name: "8 connections: time", value: ranges.ours.ms, unit: "ms" },
          { name: "8 connections: CPU", value: ranges.ours.cpu, unit: "s" },
          { name: "8 connections: CPU / nginx's", value: ranges.cpu, unit: "x", atMost: 2 },
          { name: "two cores, one GET: time / 8 connections to the origin", value: overDirect, unit: "x", atMost: 1.3 },
          { name: "event loop delay, p99", value: delay.p99, unit: "ms", atMost: 20 },
        ];
        return {
          figures,
          chart: {
            unit: "times nginx's, less is better",
            bars: [
              { name: "one GET, time", values: [whole.ms], ours: true },
              { name: "8 connections, CPU", values: [ranges.cpu], ours: true },
            ],
          },
        };
      },
      { env: withLoopDelay },
    ),
};
