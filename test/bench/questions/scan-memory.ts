import { CacheClient } from "@frontcache/client";
import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import { type Benchmark, barsOf } from "../answer.js";
import { timeMs } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { GiB, MiB } from "../stage.js";

const CONCURRENCY = 64;
const SCAN_BYTES = 4 * GiB;
const FILL_MEMORY = 256 * MiB;

export const benchmark: Benchmark = {
  question: "How much memory does a member use during 64 concurrent sequential reads of 4 GiB?",
  async run() {
    await using origin = await OriginProcess.start();
    await using directory = await temporaryDirectory();
    await using member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: `${directory.path}:3GiB` });
    await using client = await CacheClient.connect({ endpoint: member.grpc });
    const { url, version } = await origin.putRamp("scan", SCAN_BYTES, 1);
    const idle = member.residentBytes.all;
    let [peak, anonymousPeak] = [0, 0];
    const watch = setInterval(() => {
      const { all, anonymous } = member.residentBytes;
      peak = Math.max(peak, all);
      anonymousPeak = Math.max(anonymousPeak, anonymous);
    }, 20);
    let next = 0;
    const readInTurn = async (): Promise<void> => {
      for (let at = next++ * MiB; at < SCAN_BYTES; at = next++ * MiB) await client.readRange(url, at, MiB, version);
    };
    const ms = await timeMs(() => Promise.all(Array.from({ length: CONCURRENCY }, readInTurn)));
    clearInterval(watch);
    const { gets, bytesSent } = await origin.traffic();
    const figures = [
      { name: "rate", value: SCAN_BYTES / ms / 1e6, unit: "GB/s" },
      { name: "resident memory before", value: idle / MiB, unit: "MiB" },
      { name: "resident memory, maximum", value: peak / MiB, unit: "MiB", atMost: 250 + FILL_MEMORY / MiB },
      { name: "... without the pages of mapped block files", value: anonymousPeak / MiB, unit: "MiB" },
      { name: "origin bytes / bytes read", value: bytesSent / SCAN_BYTES, unit: "x", atMost: 1 },
      { name: "GETs", value: gets, unit: "" },
    ];
    return { figures, chart: barsOf(figures, "MiB") };
  },
};
