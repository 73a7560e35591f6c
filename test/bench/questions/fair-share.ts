import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Benchmark, Figure } from "../answer.js";
import { type Latencies, latenciesOf, readHot } from "../measure.js";
import type { ScanOrder } from "../peers/scan-main.js";
import { GiB, MiB, onStage, type Stage, type StageObject } from "../stage.js";

const ROUNDS = 4;
const ROUND_MS = 3_000;
const SCANNED_BYTES = 256 * MiB;

/** Runs `work` while another process scans. Resolves to the rate of the scan, bytes per second. */
async function besideScan(order: ScanOrder, work: () => Promise<void>): Promise<number> {
  const child = fork(join(import.meta.dirname, "..", "peers", "scan-main.ts"), { execArgv: ["--import", "tsx"] });
  await once(child, "message");
  child.send(order);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  await work();
  child.send("stop");
  const [{ bytesPerSecond }] = (await once(child, "message")) as [{ bytesPerSecond: number }];
  child.disconnect();
  await once(child, "exit");
  return bytesPerSecond;
}

async function measure(
  { member, client, hot }: Stage,
  small: StageObject,
): Promise<{ quiet: Latencies; busy: Latencies; rate: number }> {
  const scanned = await hot(SCANNED_BYTES);
  const [quiet, busy, rates]: [number[], number[], number[]] = [[], [], []];
  const order = { endpoint: member.grpc, url: scanned.url, version: scanned.version, bytes: SCANNED_BYTES, bytesPerSecond: GiB };
  await readHot(client, small, 1_000, []);
  for (let round = 0; round < ROUNDS; round++) {
    await readHot(client, small, ROUND_MS, quiet);
    rates.push(await besideScan(order, () => readHot(client, small, ROUND_MS, busy)));
  }
  return { quiet: latenciesOf(quiet), busy: latenciesOf(busy), rate: Math.max(...rates) };
}

export const benchmark: Benchmark = {
  question: "How long do hot reads of 4 KiB take beside another client that scans 1 GiB/s?",
  run: () =>
    onStage(async (stage) => {
      const { quiet, busy, rate } = await measure(stage, await stage.hot(16 * MiB));
      const figures: Figure[] = [
        { name: "p99 beside the scan / p99 alone", value: busy.p99 / quiet.p99, unit: "x", atMost: 3 },
        { name: "p50 beside the scan / p50 alone", value: busy.p50 / quiet.p50, unit: "x" },
        { name: "the scan", value: rate / GiB, unit: "GiB/s" },
      ];
      const rows = [
        ["alone", quiet.p50, quiet.p99, quiet.reads],
        ["beside the scan", busy.p50, busy.p99, busy.reads],
      ];
      const bars = rows.map(([name, p50, p99]) => ({ name: String(name), values: [Number(p50), Number(p99)], ours: true }));
      return {
        tables: [{ columns: ["4 KiB cached, 200 reads/s", "p50 ms", "p99 ms", "reads"], rows }],
        figures,
        chart: { unit: "ms a read, less is better", groups: ["p50", "p99"], bars },
      };
    }),
};
