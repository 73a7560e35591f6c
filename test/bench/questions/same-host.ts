import { CacheClient } from "@frontcache/client";
import { type Benchmark, type Figure, OURS, ratio, standingsChart, standingsTable, type Table } from "../answer.js";
import { type Contestant, measureInTurn, type Standing } from "../measure.js";
import { KiB, MiB, onStage } from "../stage.js";

const NAMES = { socket: `${OURS} through the socket`, file: `${OURS} from the file` };

const SIZES = [
  { title: "16 MiB", length: 16 * MiB },
  { title: "64 KiB", length: 64 * KiB },
  { title: "4 KiB", length: 4 * KiB },
];

export const benchmark: Benchmark = {
  question: "How much faster is a cached block read from its file, on the member's host, than through the socket?",
  run: () =>
    onStage(async ({ member, client, cacheDirectory, hot }) => {
      await using byFile = await CacheClient.connect({ endpoint: member.grpc, localVolumes: [cacheDirectory] });
      const { url, version } = await hot(16 * MiB);
      const into = Buffer.alloc(16 * MiB);
      let reads = 0;
      const by = (name: string, from: CacheClient, length: number): Contestant => ({
        name,
        serverPid: member.pid,
        read: async () => {
          if (from === byFile) reads++;
          return (await from.readRange(url, 0, length, version, { into })).length;
        },
      });
      const tables: Table[] = [];
      const figures: Figure[] = [];
      const groups = new Map<string, Map<string, Standing>>();
      for (const { title, length } of SIZES) {
        const contestants = [by(NAMES.socket, client, length), by(NAMES.file, byFile, length)];
        const standings = await measureInTurn(contestants, { rounds: 9, roundMs: 200, warmUpMs: 1_000, concurrency: 1 });
        tables.push(standingsTable(title, standings, "GB/s"));
        figures.push(...ratio(standings, { name: `${title}: file / socket`, of: NAMES.file, to: NAMES.socket, atLeast: 2 }));
        groups.set(title, standings);
      }
      const share = byFile.localReads().reads / reads;
      figures.push({ name: "share of that client's reads without the socket", value: share, unit: "share", atLeast: 0.999 });
      return { tables, figures, chart: standingsChart(groups, "GB/s") };
    }),
};
