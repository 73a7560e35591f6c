import { type Benchmark, type Figure, ratio, standingsChart, standingsTable } from "../answer.js";
import { hotReads, names } from "../hot-reads.js";
import type { Standing } from "../measure.js";
import { MiB, onStage } from "../stage.js";

/** Targets are set for reads into the caller's memory: allocating new memory costs more than the transfer. */
function figuresOf(of: Map<string, Standing>): Figure[] {
  const [into, grpc] = [of.get(names.into)!, of.get(names.grpcDefault)!];
  const against = { "fetch().arrayBuffer()": "fetch", undici: "undici", "the AWS SDK from its S3 server": "AWS SDK from S3" };
  const atLeast: Record<string, number> = { fetch: 5, undici: 3, "AWS SDK from S3": 3 };
  return [
    ...ratio(of, { name: "readRange / raw Node TCP", of: names.into, to: names.tcp, atLeast: 0.75 }),
    ...Object.entries(against).flatMap(([text, to]) =>
      ratio(of, { name: `readRange / ${text}`, of: names.into, to, atLeast: atLeast[to]! }),
    ),
    ...ratio(of, { name: "readRange / nginx, same client", of: names.into, to: names.nginxInto, atLeast: 1.3 }),
    ...Object.entries(against).flatMap(([text, to]) =>
      ratio(of, { name: `into new memory each time / ${text}`, of: names.ours, to }),
    ),
    ...ratio(of, { name: "by gRPC / grpc-js by default options", of: names.grpcInto, to: names.grpcDefault, atLeast: 2 }),
    ...ratio(of, {
      name: "by gRPC into new memory each time / grpc-js by default options",
      of: names.grpc,
      to: names.grpcDefault,
    }),
    { name: "client CPU / that of grpc-js by default options", value: into.clientCpu / grpc.clientCpu, unit: "x", atMost: 0.25 },
  ];
}

export const benchmark: Benchmark = {
  question: "How fast is a cached block of 16 MiB, read one at a time?",
  run: () =>
    onStage(async (stage) => {
      const standings = await hotReads(stage, { length: 16 * MiB, concurrency: 1, rounds: 7, roundMs: 400, warmUpMs: 1_000 });
      return {
        tables: [standingsTable("16 MiB, one at a time", standings, "GB/s")],
        figures: figuresOf(standings),
        chart: standingsChart(new Map([["", standings]]), "GB/s"),
      };
    }),
};
