import type { CacheClient } from "@frontcache/client";
import { type Benchmark, ratio, standingsChart, standingsTable } from "../answer.js";
import { type Contestant, measureInTurn } from "../measure.js";
import { RawTcp, SliceServer } from "../peers/raw-tcp.js";
import { MiB, onStage } from "../stage.js";

const NAMES = { fresh: "frontcache readRange", into: "frontcache readRange, into own memory", tcp: "raw Node TCP" };

export const benchmark: Benchmark = {
  question: "How fast is a cached block of 16 MiB, read into new memory each time?",
  run: () =>
    onStage(async ({ member, client, hot }) => {
      const { url, version } = await hot(16 * MiB);
      using slices = await SliceServer.start();
      using tcp = await RawTcp.connect(slices, 16 * MiB);
      const own = Buffer.alloc(16 * MiB);
      const by = (name: string, read: (from: CacheClient) => Promise<Buffer>): Contestant => ({
        name,
        serverPid: member.pid,
        read: async () => (await read(client)).length,
      });
      const contestants = [
        by(NAMES.fresh, (from) => from.readRange(url, 0, 16 * MiB, version)),
        by(NAMES.into, (from) => from.readRange(url, 0, 16 * MiB, version, { into: own })),
        tcp,
      ];
      const standings = await measureInTurn(contestants, { rounds: 15, roundMs: 400, warmUpMs: 1_000, concurrency: 1 });
      const [fresh, raw] = [standings.get(NAMES.fresh)!, standings.get(NAMES.tcp)!];
      return {
        tables: [standingsTable("16 MiB, one at a time", standings, "GB/s")],
        figures: [
          ...ratio(standings, { name: "into new memory / raw Node TCP", of: NAMES.fresh, to: NAMES.tcp, atLeast: 0.7 }),
          ...ratio(standings, { name: "into own memory / raw Node TCP", of: NAMES.into, to: NAMES.tcp, atLeast: 0.9 }),
          { name: "client CPU into new memory / that of raw Node TCP", value: fresh.clientCpu / raw.clientCpu, unit: "x" },
        ],
        chart: standingsChart(new Map([["", standings]]), "GB/s"),
      };
    }),
};
