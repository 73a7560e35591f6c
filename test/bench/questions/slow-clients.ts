import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Benchmark, Figure } from "../answer.js";
import { OTHER_CPUS, pin } from "../machine.js";
import { latenciesOf, readHot } from "../measure.js";
import type { CrowdOrder, CrowdReport } from "../peers/crowd-main.js";
import { MiB, onStage } from "../stage.js";

const ROUND_MS = 8_000;
/** How long the crowd connects before its effect is measured. */
const GATHER_MS = 8_000;
/** As in the image: see deploy/Dockerfile. */
const env = { NODE_OPTIONS: "--max-semi-space-size=32" };
const CROWD = { slowClients: 2_000, idle: 5_000, aborting: 20 };

export const benchmark: Benchmark = {
  question:
    "How long do hot reads of 4 KiB take beside 2,000 clients that read a byte a second, 5,000 idle connections and aborted reads?",
  run: () =>
    onStage(
      async ({ member, client, hot }) => {
        const small = await hot(16 * MiB);
        await readHot(client, small, 1_000, []);
        const [quiet, busy]: [number[], number[]] = [[], []];
        await readHot(client, small, ROUND_MS, quiet);
        const before = member.residentBytes.anonymous;
        const child = fork(join(import.meta.dirname, "..", "peers", "crowd-main.ts"), { execArgv: ["--import", "tsx"] });
        await once(child, "message");
        // In reality the crowd runs on other machines: its own CPU time must not slow the member down.
        pin(child.pid!, OTHER_CPUS);
        const path = `/s3/${small.url.slice("s3://".length)}`;
        const request = `GET ${path} HTTP/1.1\r\nHost: member\r\nRange: bytes=0-${small.size - 1}\r\n\r\n`;
        child.send({ port: Number(member.http.split(":").at(-1)), request, ...CROWD } satisfies CrowdOrder);
        await readHot(client, small, GATHER_MS, []);
        await readHot(client, small, ROUND_MS, busy);
        const grown = member.residentBytes.anonymous - before;
        child.send("report");
        const [report] = (await once(child, "message")) as [CrowdReport];
        child.disconnect();
        await once(child, "exit");
        const [alone, among] = [latenciesOf(quiet), latenciesOf(busy)];
        const figures: Figure[] = [
          { name: "p99 beside the crowd / p99 alone", value: among.p99 / alone.p99, unit: "x", atMost: 3 },
          { name: "anonymous memory that the crowd costs", value: grown / MiB, unit: "MiB", atMost: 512 },
          { name: "slow clients at the end", value: report.slowOpen, unit: "" },
          { name: "idle connections at the end", value: report.idleOpen, unit: "" },
          { name: "aborted reads", value: report.aborted, unit: "" },
        ];
        const rows = [
          ["alone", alone.p50, alone.p99, alone.reads],
          ["beside the crowd", among.p50, among.p99, among.reads],
        ];
        const bars = rows.map(([name, p50, p99]) => ({ name: String(name), values: [Number(p50), Number(p99)], ours: true }));
        return {
          tables: [{ columns: ["4 KiB cached, 200 reads/s", "p50 ms", "p99 ms", "reads"], rows }],
          figures,
          chart: { unit: "ms a read, less is better", groups: ["p50", "p99"], bars },
        };
      },
      { env },
    ),
};
