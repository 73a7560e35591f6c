import { once } from "node:events";
import { Agent, request } from "node:http";
import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import { type Benchmark, type Figure, OURS } from "../answer.js";
import { cpuMs, OTHER_CPUS, pin, portOf, SERVER_CPU } from "../machine.js";
import { median, quick } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { KiB } from "../stage.js";

const OBJECTS = 64;
const CONNECTIONS = 8;
const ROUNDS = 5;
const HEADS = 1_000;
const WARM_UP_HEADS = 4_000;
const SDK = `${OURS}, --origin-client sdk`;

export const benchmark: Benchmark = {
  question: "What does it cost a member to confirm by a HEAD at the origin that an object has not changed?",
  async run() {
    await using origin = await OriginProcess.start();
    await using directory = await temporaryDirectory();
    const start = (name: string, client: string) =>
      MemberProcess.start({
        endpoint: origin.endpoint,
        cacheDirectory: `${directory.path}/${client}`,
        flags: ["--revalidate-after", "0s", "--origin-client", client],
      }).then((member) => Object.assign(member, { title: name }));
    await using auto = await start(OURS, "auto");
    await using sdk = await start(SDK, "sdk");
    await origin.putMany("head", OBJECTS, 4 * KiB);
    for (const { pid } of [auto, sdk]) pin(pid, SERVER_CPU);
    pin(origin.pid, OTHER_CPUS);
    pin(process.pid, OTHER_CPUS);
    const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
    const ask = async (port: number, number: number, method: "GET" | "HEAD"): Promise<void> => {
      const sent = request({ host: "127.0.0.1", port, path: `/s3/bench/head-${number % OBJECTS}`, method, agent }).end();
      const [response] = await once(sent, "response");
      response.resume();
      await once(response, "end");
      if (response.statusCode !== 200) throw new Error(`${method} was answered with status ${response.statusCode}`);
    };
    const askAll = async (port: number, count: number, method: "GET" | "HEAD"): Promise<void> => {
      let next = 0;
      const askInTurn = async (): Promise<void> => {
        while (next < count) await ask(port, next++, method);
      };
      await Promise.all(Array.from({ length: CONNECTIONS }, askInTurn));
    };
    const costs = new Map([auto, sdk].map(({ title }) => [title, [] as number[]]));
    try {
      for (const { http } of [auto, sdk]) await askAll(portOf(http), OBJECTS, "GET");
      for (let round = -1; round < quick(ROUNDS); round++) {
        const heads = quick(round < 0 ? WARM_UP_HEADS : HEADS);
        for (const { title, http, pid } of [auto, sdk]) {
          const before = cpuMs(pid);
          await askAll(portOf(http), heads, "HEAD");
          if (round >= 0) costs.get(title)!.push((cpuMs(pid) - before) / heads);
        }
      }
    } finally {
      agent.destroy();
    }
    const costOf = (name: string): number => median(costs.get(name)!);
    const figures: Figure[] = [
      { name: "CPU per HEAD", value: costOf(OURS), unit: "ms", atMost: 0.3 },
      { name: "CPU per HEAD over that by the AWS SDK", value: costOf(OURS) / costOf(SDK), unit: "x" },
    ];
    return {
      tables: [{ columns: ["HEAD, 8 connections", "CPU ms/HEAD"], rows: [OURS, SDK].map((name) => [name, costOf(name)]) }],
      figures,
      chart: {
        unit: "CPU ms for a HEAD, less is better",
        bars: [OURS, SDK].map((name) => ({ name, values: [costOf(name)], ours: true })),
      },
    };
  },
};
