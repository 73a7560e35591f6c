import { CacheClient } from "@frontcache/client";
import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import { type Benchmark, barsOf, type Figure } from "../answer.js";
import { takeTurns } from "../measure.js";
import { OriginProcess } from "../origin-process.js";

const KiB = 1 << 10;
const MiB = 1 << 20;
const ROUNDS = 9;

/** Lengths that are asked about, with how many reads make a round of a tenth of a second or so. */
const QUESTIONS = [
  { name: "16 MiB", length: 16 * MiB, reads: 32 },
  { name: "64 KiB", length: 64 * KiB, reads: 2_000 },
  { name: "4 KiB", length: 4 * KiB, reads: 2_000 },
];

export const benchmark: Benchmark = {
  question: "How much faster is a held block read from its file, on the member's host, than through the socket?",
  async run() {
    await using origin = await OriginProcess.start();
    await using directory = await temporaryDirectory();
    await using member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: directory.path });
    await using bySocket = await CacheClient.connect({ endpoint: member.grpc });
    await using byFile = await CacheClient.connect({ endpoint: member.grpc, localVolumes: [directory.path] });
    const { url, version } = await origin.putRamp("hot", 16 * MiB, 1);
    for (let pass = 0; pass < 2; pass++) await bySocket.readRange(url, 0, 16 * MiB, version);

    const figures: Figure[] = [];
    const into = Buffer.alloc(16 * MiB);
    for (const { name, length, reads } of QUESTIONS) {
      const readBy = (client: CacheClient) => async (): Promise<number> => {
        for (let i = 0; i < reads; i++) await client.readRange(url, 0, length, version, { into });
        return reads * length;
      };
      const contestants = [
        { name: "socket", read: readBy(bySocket) },
        { name: "file", read: readBy(byFile) },
      ];
      const rates = await takeTurns(contestants, { rounds: ROUNDS, roundMs: 0, readers: 1 });
      const rate = (who: string): number => rates.get(who)!.gigabytesPerSecond;
      figures.push(
        { name: `${name} through the socket`, value: rate("socket"), unit: "GB/s" },
        { name: `${name} from the file`, value: rate("file"), unit: "GB/s" },
        { name: `${name}: file / socket`, value: rate("file") / rate("socket"), unit: "x", atLeast: 2 },
      );
    }
    const { reads } = byFile.localReads();
    const made = QUESTIONS.reduce((sum, question) => sum + question.reads * (ROUNDS + 1), 0);
    figures.push({ name: "reads of that client that took no socket", value: reads / made, unit: "share", atLeast: 1 });
    return { figures, chart: barsOf(figures, "GB/s") };
  },
};
