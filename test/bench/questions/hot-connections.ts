import { type Bar, type Benchmark, type Figure, OURS, type Table } from "../answer.js";
import { pin } from "../machine.js";
import { median } from "../measure.js";
import { Load } from "../peers/load.js";
import { Nginx } from "../peers/nginx.js";
import { SliceServer } from "../peers/slice-server.js";
import { KiB, MiB, onStage, type StageObject } from "../stage.js";

const CONNECTIONS = 64;
const ROUNDS = 7;
const ROUND_MS = 700;
/** The server's core; whoever asks has the others. */
const SERVER_CORE = "0";
const OTHER_CORES = "1-1023";

interface Server {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
}

const SIZES = [
  { length: 4 * KiB, title: "4 KiB", atLeast: 40_000 },
  { length: 64 * KiB, title: "64 KiB", atLeast: 30_000 },
];

function requestOf({ key, version }: StageObject, length: number): string {
  return `GET /s3/bench/${key} HTTP/1.1\r\nHost: bench\r\nRange: bytes=0-${length - 1}\r\nIf-Match: "${version}"\r\n\r\n`;
}

/** Medians by the servers' names. */
async function measure(load: Load, servers: readonly Server[], request: string): Promise<Map<string, number>> {
  const rates = new Map(servers.map(({ name }) => [name, [] as number[]]));
  for (let round = -1; round < ROUNDS; round++) {
    for (const { name, port } of round % 2 === 0 ? servers : servers.toReversed()) {
      const rate = await load.readsPerSecond({ port, request, connections: CONNECTIONS, ms: ROUND_MS });
      if (round >= 0) rates.get(name)!.push(rate);
    }
  }
  return new Map([...rates].map(([name, figures]) => [name, median(figures)]));
}

const portOf = (address: string): number => Number(address.slice(address.lastIndexOf(":") + 1));

export const benchmark: Benchmark = {
  question: "How many reads a second does one member on one core answer over 64 connections?",
  run: () =>
    onStage(async ({ member, origin, hot }) => {
      const object = await hot(16 * MiB);
      using slices = await SliceServer.start();
      using load = await Load.start();
      await using nginx = await Nginx.start(origin);
      const [ours, bare] = [`${OURS} member`, "bare node:http, slices of a Buffer"];
      const servers: Server[] = [
        { name: ours, port: portOf(member.http), pid: member.pid },
        { name: bare, port: slices.httpPort, pid: slices.pid },
        ...(nginx === undefined ? [] : [{ name: "nginx slice cache", port: portOf(nginx.address), pid: nginx.pid }]),
      ];
      const pinned = servers.every(({ pid }) => pin(pid, SERVER_CORE)) && pin(load.pid, OTHER_CORES);
      if (!pinned) console.log("  taskset or a second core is missing: nothing is held to one core");
      const rates: Map<string, number>[] = [];
      for (const { length } of SIZES) rates.push(await measure(load, servers, requestOf(object, length)));
      const figures: Figure[] = SIZES.flatMap(({ title, atLeast }, index) => {
        const [member, plain] = [rates[index]!.get(ours)!, rates[index]!.get(bare)!];
        return [
          { name: `${title}: a member's reads/s`, value: member, unit: "", atLeast },
          { name: `${title}: ... of bare node:http`, value: member / plain, unit: "x", atLeast: 0.7 },
        ];
      });
      const rows = servers.map(({ name }) => [name, ...rates.map((rate) => rate.get(name)!)]);
      const table: Table = { columns: ["reads/s, 64 connections", ...SIZES.map(({ title }) => title)], rows };
      const bars: Bar[] = servers.map(({ name }) => ({
        name,
        values: rates.map((rate) => rate.get(name)!),
        ours: name.startsWith(OURS),
      }));
      return { tables: [table], figures, chart: { unit: "reads/s", groups: SIZES.map(({ title }) => title), bars } };
    }),
};
