import { type Benchmark, OURS, ratio, standingsChart, standingsTable } from "../answer.js";
import { anonymousBytes } from "../machine.js";
import { type Contestant, measureInTurn } from "../measure.js";
import { startSliceServer } from "../peers/peer-process.js";
import { RawTcp } from "../peers/raw-tcp.js";
import { GiB, MiB, onStage } from "../stage.js";

const ROUNDS = 5;

/** Samples the anonymous memory of a process, and keeps the maximum. */
class HighWater implements Disposable {
  #peak = 0;
  readonly #timer = setInterval(() => this.sample(), 10);

  readonly #pid: number;

  constructor(pid: number) {
    this.#pid = pid;
    this.sample();
  }

  sample(): void {
    this.#peak = Math.max(this.#peak, anonymousBytes(this.#pid));
  }

  /** Maximum since the last call, bytes. */
  take(): number {
    this.sample();
    const peak = this.#peak;
    this.#peak = 0;
    return peak;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

export const benchmark: Benchmark = {
  question: "How fast is a cached GiB as a stream, and how much memory does it take?",
  run: () =>
    onStage(async ({ member, client, hot }) => {
      const { url, version } = await hot(GiB);
      using slices = await startSliceServer();
      using tcp = await RawTcp.connect(slices, 16 * MiB, 64);
      using clientMemory = new HighWater(process.pid);
      using memberMemory = new HighWater(member.pid);
      const peaks: { client: number; member: number }[] = [];
      const name = `${OURS} stream, memory reused`;
      const kept = `${OURS} stream, new memory for each block`;
      const keeping: Contestant = {
        name: kept,
        serverPid: member.pid,
        read: async () => {
          let bytes = 0;
          for await (const chunk of client.stream(url, 0, GiB, version)) bytes += (chunk as Buffer).length;
          return bytes;
        },
      };
      const stream: Contestant = {
        name,
        serverPid: member.pid,
        read: async () => {
          clientMemory.take();
          memberMemory.take();
          let bytes = 0;
          for await (const chunk of client.stream(url, 0, GiB, version, { reuse: true })) bytes += (chunk as Buffer).length;
          peaks.push({ client: clientMemory.take(), member: memberMemory.take() });
          return bytes;
        },
      };
      const standings = await measureInTurn([stream, keeping, tcp], { rounds: ROUNDS, roundMs: 0, warmUpMs: 0, concurrency: 1 });
      // The first stream grows the process to its size. No later stream may take more memory than the second.
      const [settled, last] = [peaks[1]!, peaks.at(-1)!];
      return {
        tables: [standingsTable("1 GiB", standings, "GB/s")],
        figures: [
          ...ratio(standings, { name: "stream / raw Node TCP", of: name, to: "raw Node TCP", atLeast: 0.6 }),
          ...ratio(standings, { name: "stream with new memory / raw Node TCP", of: kept, to: "raw Node TCP" }),
          { name: "client's anonymous memory, maximum", value: last.client / MiB, unit: "MiB" },
          {
            name: "client's memory: last stream / second stream",
            value: last.client / settled.client,
            unit: "x",
            atMost: 1.2,
          },
          { name: "member's anonymous memory, maximum", value: last.member / MiB, unit: "MiB" },
          {
            name: "member's memory: last stream / second stream",
            value: last.member / settled.member,
            unit: "x",
            atMost: 1.2,
          },
        ],
        chart: standingsChart(new Map([["", standings]]), "GB/s"),
      };
    }),
};
