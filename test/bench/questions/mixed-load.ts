import { seededRandom } from "../../seeded-random.js";
import { type Benchmark, barsOf, type Figure, OURS } from "../answer.js";
import { type MixedOrder, mixedLoad, type Outcome } from "../load/mixed-load.js";
import { loopDelay, withLoopDelay } from "../loop-delay.js";
import { portOf } from "../machine.js";
import { quick } from "../measure.js";
import { KiB, onStage, type Stage } from "../stage.js";

const CLIENTS = 64;
const OBJECTS = 200;
/** Sizes of the hot objects: many small ones, few large ones. */
const SIZES = [4, 4, 4, 4, 16, 16, 16, 64, 64, 64, 256, 256, 1024, 1024, 4096, 16384].map((kib) => kib * KiB);
const MISS_BYTES = 64 * KiB;
const MISS_SHARE = 0.05;
const CAPACITY_SECONDS = 4;
const SECONDS = 15;
/** More missing objects than the load requests. */
const MISSES = 20_000;

async function hotObjects({ client, origin }: Stage): Promise<MixedOrder["objects"]> {
  const random = seededRandom(3);
  const objects: { path: string; size: number }[] = [];
  for (let rank = 0; rank < quick(OBJECTS); rank++) {
    const size = SIZES[Math.floor(random() * SIZES.length)]!;
    const { url, version, key } = await origin.putObject(`mixed-${rank}`, size);
    for await (const _ of client.stream(url, 0, size, version));
    objects.push({ path: `/s3/bench/${key}`, size });
  }
  return objects;
}

function percentileOf(ms: readonly number[], share: number): number {
  return ms.toSorted((a, b) => a - b)[Math.floor((ms.length - 1) * share)] ?? 0;
}

export const benchmark: Benchmark = {
  question: "How long do 64 clients wait that read objects of 4 KiB to 16 MiB, 5 % of them missing, at half of the capacity?",
  run: () =>
    onStage(
      async (stage) => {
        const { member, origin } = stage;
        const objects = await hotObjects(stage);
        for (const prefix of ["capacity", "miss", "direct"]) await origin.putMany(prefix, quick(MISSES), MISS_BYTES);
        const load = { connections: CLIENTS, objects, zipf: 1.1, missShare: MISS_SHARE, smallBytes: 64 * KiB };
        const toMember = { ...load, port: portOf(member.http) };
        const capacity = await mixedLoad({ ...toMember, seconds: quick(CAPACITY_SECONDS), missPath: "/s3/bench/capacity-{n}" });
        const perSecond = capacity.outcomes.length / capacity.seconds / 2;
        await loopDelay(member);
        const half = await mixedLoad({ ...toMember, seconds: quick(SECONDS), perSecond, missPath: "/s3/bench/miss-{n}" });
        const loop = await loopDelay(member);
        const direct = await mixedLoad({
          ...load,
          port: Number(new URL(origin.endpoint).port),
          seconds: quick(SECONDS),
          perSecond: perSecond * MISS_SHARE,
          missShare: 1,
          missPath: "/bench/direct-{n}",
        });
        const ms = ({ outcomes }: { outcomes: readonly Outcome[] }, kind: Outcome["kind"], share: number): number =>
          percentileOf(
            outcomes.filter((outcome) => outcome.kind === kind).map((outcome) => outcome.ms),
            share,
          );
        const row = (name: string, result: { outcomes: readonly Outcome[] }, kind: Outcome["kind"]) => [
          name,
          result.outcomes.filter((outcome) => outcome.kind === kind).length,
          ...[0.5, 0.99, 0.999].map((share) => ms(result, kind, share)),
        ];
        const originP99 = ms(direct, "miss", 0.99);
        const figures: Figure[] = [
          { name: "requests/s of one member at its capacity", value: perSecond * 2, unit: "" },
          { name: "hits up to 64 KiB: p50", value: ms(half, "small", 0.5), unit: "ms", atMost: 1 },
          { name: "hits up to 64 KiB: p99", value: ms(half, "small", 0.99), unit: "ms", atMost: 20 },
          { name: "misses: p99", value: ms(half, "miss", 0.99), unit: "ms", atMost: originP99 + 20 },
          { name: "event loop: p99", value: loop.p99, unit: "ms", atMost: 20 },
          { name: "requests that waited for a connection", value: half.waited / half.outcomes.length, unit: "of all" },
          { name: "event loop of the load generator: p99", value: half.loopP99Ms, unit: "ms" },
          { name: "CPU of the load generator, cores", value: half.cpuShare, unit: "" },
        ];
        return {
          tables: [
            {
              columns: [`${OURS}, ms at half of the capacity`, "requests", "p50", "p99", "p99.9"],
              rows: [
                row("hits up to 64 KiB", half, "small"),
                row("larger hits, up to 16 MiB", half, "large"),
                row("misses of 64 KiB", half, "miss"),
                row("the same from the origin itself", direct, "miss"),
              ],
            },
          ],
          figures,
          chart: barsOf(figures, "ms"),
        };
      },
      { env: withLoopDelay },
    ),
};
