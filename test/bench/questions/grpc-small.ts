import { type Benchmark, barsOf, cpuFigures, OURS, standingsTable } from "../answer.js";
import { OTHER_CPUS, pin, SERVER_CPU } from "../machine.js";
import { measureInTurn } from "../measure.js";
import { byRawGrpc, MESSAGE_BYTES, startBareGrpc } from "../peers/raw-grpc.js";
import { KiB, MiB, onStage } from "../stage.js";

const MEMBER = `${OURS} by gRPC`;
const BARE = "a bare handler of grpc-js";
// Many rounds, because a machine's speed changes from second to second; each with collections of young garbage, which are part of the cost.
const TURNS = { rounds: 30, roundMs: 250, warmUpMs: 4_000, warmUpReads: 15_000, concurrency: 16 };

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
      const otherName = `a bare handler for a message of ${MESSAGE_BYTES} bytes`;
      const figures = cpuFigures({
        title: "4 KiB",
        member: standings.get(MEMBER)!,
        other: standings.get(BARE)!,
        otherName,
        atMost: 1.3,
      });
      const table = standingsTable("4 KiB, sixteen at a time", standings, "reads/s");
      return { tables: [table], figures, chart: barsOf(figures, "us") };
    }),
};
