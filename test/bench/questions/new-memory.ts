import type { CacheClient } from "@frontcache/client";
import { type Benchmark, ratio, standingsChart, standingsTable } from "../answer.js";
import { type Contestant, measureInTurn } from "../measure.js";
import { startSliceServer } from "../peers/peer-process.js";
import { RawTcp } from "../peers/raw-tcp.js";
import { MiB, onStage } from "../stage.js";

const NAMES = { fresh: "frontcache readRange", into: "frontcache readRange, into own memory", tcp: "raw Node TCP" };

/** A service's live objects, bytes. */
const HEAP_BYTES = 100 * MiB;

/** Returns live objects that take about HEAP_BYTES. */
function serviceHeap(): unknown[] {
  return Array.from({ length: HEAP_BYTES / 100 }, (_, index) => ({ index, text: String(index) }));
}

export const benchmark: Benchmark = {
  question: "How fast is a cached block of 16 MiB, read into new memory each time?",
  run: () =>
    onStage(async ({ member, client, hot }) => {
      const { url, version } = await hot(16 * MiB);
      using slices = await startSliceServer();
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
      const measured = { rounds: 15, roundMs: 400, warmUpMs: 1_000, concurrency: 1 };
      const standings = await measureInTurn(contestants, measured);
      // V8 collects the whole heap when the bytes of new buffers exceed a multiple of the heap's size: seldom in a service.
      const heap = serviceHeap();
      const inService = await measureInTurn(contestants, measured);
      if (heap.length === 0) throw new Error("the objects are not live");
      const [fresh, raw] = [standings.get(NAMES.fresh)!, standings.get(NAMES.tcp)!];
      return {
        tables: [
          standingsTable("16 MiB, one at a time, in an almost empty heap", standings, "GB/s"),
          standingsTable("16 MiB, one at a time, beside 100 MiB of live objects", inService, "GB/s"),
        ],
        figures: [
          ...ratio(standings, { name: "into new memory / raw Node TCP", of: NAMES.fresh, to: NAMES.tcp, atLeast: 0.7 }),
          ...ratio(inService, { name: "the same in a service's heap", of: NAMES.fresh, to: NAMES.tcp, atLeast: 0.7 }),
          ...ratio(standings, { name: "into own memory / raw Node TCP", of: NAMES.into, to: NAMES.tcp, atLeast: 0.9 }),
          { name: "client CPU into new memory / that of raw Node TCP", value: fresh.clientCpu / raw.clientCpu, unit: "x" },
        ],
        chart: standingsChart(
          new Map([
            ["an almost empty heap", standings],
            ["a service's heap", inService],
          ]),
          "GB/s",
        ),
      };
    }),
};
