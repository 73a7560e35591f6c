import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { CacheClient } from "@frontcache/client";
import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import { type Benchmark, barsOf } from "../answer.js";
import { loopDelay, withLoopDelay } from "../loop-delay.js";
import { timeMs } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { GiB, MiB } from "../stage.js";

/** Drops the pages of all block files from the page cache. */
function dropFromPageCache(directory: string): void {
  execFileSync("sync");
  const blocks = join(directory, "v1");
  for (const folder of readdirSync(blocks)) {
    for (const file of readdirSync(join(blocks, folder))) {
      execFileSync("dd", [`if=${join(blocks, folder, file)}`, "iflag=nocache", "count=0"], { stdio: "ignore" });
    }
  }
}

export const benchmark: Benchmark = {
  question: "Do reads from a cold disk stall a member's event loop?",
  async run() {
    await using origin = await OriginProcess.start();
    await using directory = await temporaryDirectory();
    const options = { endpoint: origin.endpoint, cacheDirectory: directory.path, env: withLoopDelay };
    const { url, version } = await origin.putRamp("cold", GiB, 1);
    const readAll = async (client: CacheClient): Promise<void> => {
      for (let at = 0; at < GiB; at += 64 * MiB) await client.readRange(url, at, 64 * MiB, version);
    };
    {
      await using member = await MemberProcess.start(options);
      await using client = await CacheClient.connect({ endpoint: member.grpc });
      await readAll(client);
      await member.stop();
    }
    dropFromPageCache(directory.path);
    await using member = await MemberProcess.start(options);
    await using client = await CacheClient.connect({ endpoint: member.grpc });
    await origin.traffic();
    await loopDelay(member);
    const coldMs = await timeMs(() => readAll(client));
    const cold = await loopDelay(member);
    const hotMs = await timeMs(() => readAll(client));
    const hot = await loopDelay(member);
    const figures = [
      { name: "cold: rate", value: GiB / coldMs / 1e6, unit: "GB/s" },
      { name: "cold: event loop delay, p99", value: cold.p99, unit: "ms", atMost: 20 },
      { name: "cold: event loop delay, maximum", value: cold.max, unit: "ms" },
      { name: "hot: rate", value: GiB / hotMs / 1e6, unit: "GB/s" },
      { name: "hot: event loop delay, p99", value: hot.p99, unit: "ms" },
      { name: "origin requests during the reads", value: (await origin.traffic()).gets, unit: "", atMost: 0 },
    ];
    return { figures, chart: barsOf(figures, "GB/s") };
  },
};
