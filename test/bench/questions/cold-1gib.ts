import type { Benchmark } from "../answer.js";
import { cpuMs } from "../machine.js";
import { median, quick, timeMs } from "../measure.js";
import { plainGet } from "../peers/http-clients.js";
import { GiB, onStage, type Stage } from "../stage.js";

const ROUNDS = 3;
const LATENCY_MS = 30;
const BYTES_PER_SECOND = 100e6;

type Read = (url: string, version: string) => Promise<unknown>;

interface Times {
  readonly ms: number;
  /** CPU seconds of the member. */
  readonly memberCpu: number;
}

/** Medians of reads, each of a new object that is not cached. Evicts the object after each read. */
async function coldReads({ origin, member, client }: Stage, name: string, read: Read): Promise<Times> {
  const [times, cpu]: [number[], number[]] = [[], []];
  for (let round = -1; round < quick(ROUNDS); round++) {
    const { url, version } = await origin.putRamp(`${name}-${round}`, GiB, round + 1);
    const before = cpuMs(member.pid);
    const ms = await timeMs(() => read(url, version));
    if (round >= 0) {
      times.push(ms);
      cpu.push((cpuMs(member.pid) - before) / 1e3);
    }
    await client.evict({ url });
  }
  return { ms: median(times), memberCpu: median(cpu) };
}

export const benchmark: Benchmark = {
  question: "How long does a cold GiB take from an origin of 100 MB/s per connection and 30 ms latency?",
  run: () =>
    onStage(async (stage) => {
      const { origin, client } = stage;
      await origin.pace(LATENCY_MS, BYTES_PER_SECOND);
      const streamed = await coldReads(stage, "stream", async (url, version) => {
        for await (const _ of client.stream(url, 0, GiB, version, { reuse: true }));
      });
      const into = Buffer.alloc(GiB);
      const whole = await coldReads(stage, "whole", (url, version) => client.readRange(url, 0, GiB, version, { into }));
      await origin.putRamp("plain", GiB, 1);
      const plain = await timeMs(() => plainGet(origin.endpoint, "plain"));
      return {
        figures: [
          { name: "one plain GET", value: plain, unit: "ms" },
          { name: "stream", value: streamed.ms, unit: "ms" },
          { name: "readRange", value: whole.ms, unit: "ms" },
          { name: "plain GET / stream", value: plain / streamed.ms, unit: "x", atLeast: 10 },
          { name: "plain GET / readRange", value: plain / whole.ms, unit: "x", atLeast: 10 },
          { name: "stream: member's CPU", value: streamed.memberCpu, unit: "s" },
        ],
        chart: {
          unit: "seconds, less is better",
          bars: [
            { name: "frontcache stream", values: [streamed.ms / 1e3], ours: true },
            { name: "frontcache readRange", values: [whole.ms / 1e3], ours: true },
            { name: "one plain GET", values: [plain / 1e3], ours: false },
          ],
        },
      };
    }),
};
