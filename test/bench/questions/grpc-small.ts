import { type Benchmark, barsOf, OURS, standingsTable } from "../answer.js";
import { OTHER_CPUS, pin, SERVER_CPU } from "../machine.js";
import { measureInTurn, type Standing } from "../measure.js";
import { byRawGrpc, MESSAGE_BYTES, startBareGrpc } from "../peers/raw-grpc.js";
import { KiB, MiB, onStage } from "../stage.js";

const MEMBER = `${OURS} by gRPC`;
const BARE = "a bare handler of grpc-js";
const TURNS = { rounds: 9, roundMs: 400, warmUpMs: 4_000, warmUpReads: 15_000, concurrency: 16 };

/** CPU microseconds of the server for each read. */
function cpuUs({ serverCpu, gigabytesPerSecond, readsPerSecond }: Standing): number {
  return (serverCpu! * 1e6 * gigabytesPerSecond) / readsPerSecond;
}

export const benchmark: Benchmark = {
  question: "What does a cached 4 KiB cost over gRPC, beside a handler of grpc-js that sends one message from memory?",
  run: () =>
    onStage(async ({ member, hot }) => {
      const { url: key, version } = await hot(16 * MiB);
      const request = { key, offset: 0, length: 4 * KiB, version };
      using bare = await startBareGrpc();
      for (const pid of [member.pid, bare.pid]) pin(pid, SERVER_CPU);
      pin(process.pid, OTHER_CPUS);
      using byMember = byRawGrpc(MEMBER, member.grpc, request, member.pid);
      using byBare = byRawGrpc(BARE, bare.address, request, bare.pid);
      const standings = await measureInTurn([byMember, byBare], TURNS);
      const [ours, theirs] = [cpuUs(standings.get(MEMBER)!), cpuUs(standings.get(BARE)!)];
      const figures = [
        { name: "the member's CPU for a read", value: ours, unit: "us" },
        { name: `CPU of a bare handler for a message of ${MESSAGE_BYTES} bytes`, value: theirs, unit: "us" },
        { name: "member / bare handler", value: ours / theirs, unit: "x", atMost: 1.3 },
      ];
      const table = standingsTable("4 KiB, sixteen at a time", standings, "reads/s");
      return { tables: [table], figures, chart: barsOf(figures, "us") };
    }),
};
