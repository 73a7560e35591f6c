import { CacheClient } from "@frontcache/client";
import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import { type Benchmark, barsOf, type Figure } from "../answer.js";
import { median, timeMs } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { plainGet } from "../peers/http-clients.js";
import { KiB, MiB } from "../stage.js";

const ROUNDS = 9;

/** Median milliseconds of reads, each of a new object that is not cached. */
async function coldReads(origin: OriginProcess, name: string, read: (url: string) => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let round = -1; round < ROUNDS; round++) {
    const { url } = await origin.putRamp(`${name}-${round}`, 16 * MiB, round + 1);
    const ms = await timeMs(() => read(url));
    if (round >= 0) times.push(ms);
  }
  return median(times);
}

export const benchmark: Benchmark = {
  question: "How long does a cold read take from an origin of 100 MB/s per connection?",
  async run() {
    await using origin = await OriginProcess.start();
    await using directory = await temporaryDirectory();
    await using member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: directory.path });
    await using client = await CacheClient.connect({ endpoint: member.grpc });
    const figures: Figure[] = [];
    for (const latencyMs of [100, 30]) {
      await origin.pace(latencyMs, 100e6);
      const firstBytes = await coldReads(origin, `first-${latencyMs}`, async (url) => {
        for await (const _ of client.stream(url, 16 * MiB - 64 * KiB, 64 * KiB)) break;
      });
      const firstOfBlock = await coldReads(origin, `begin-${latencyMs}`, async (url) => {
        for await (const _ of client.stream(url, 0, 64 * KiB)) break;
      });
      const whole = await coldReads(origin, `whole-${latencyMs}`, (url) => client.readRange(url, 0, 16 * MiB));
      await origin.putRamp("plain", 16 * MiB, 1);
      const plain: number[] = [];
      for (let round = 0; round < ROUNDS; round++) plain.push(await timeMs(() => plainGet(origin.endpoint, "plain")));
      const [answer, rest] = [latencyMs, (4 * MiB) / 100e3];
      figures.push(
        { name: `${latencyMs} ms: first bytes of the last 64 KiB of a block`, value: firstBytes, unit: "ms" },
        { name: `${latencyMs} ms: ... over one origin latency`, value: firstBytes / latencyMs, unit: "x", atMost: 1.3 },
        {
          name: `${latencyMs} ms: first bytes of a block, after one origin latency`,
          value: firstOfBlock - latencyMs,
          unit: "ms",
          atMost: 3,
        },
        { name: `${latencyMs} ms: one plain GET of 16 MiB`, value: median(plain), unit: "ms" },
        { name: `${latencyMs} ms: a whole cold block`, value: whole, unit: "ms" },
        { name: `${latencyMs} ms: ... over the plain GET`, value: whole / median(plain), unit: "x", atMost: 0.4 },
        {
          name: `${latencyMs} ms: ... the least that 4 GETs can take, over the plain GET`,
          value: (answer + rest) / (answer + 4 * rest),
          unit: "x",
        },
      );
    }
    return { figures, chart: barsOf(figures, "ms") };
  },
};
