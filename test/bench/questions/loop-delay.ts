import { type Bar, type Benchmark, type Figure, OURS } from "../answer.js";
import { type LoopDelay, loopDelay, withLoopDelay } from "../loop-delay.js";
import { GiB, KiB, MiB, onStage, type Stage } from "../stage.js";

const LOAD_MS = 3_000;
/** Small cold objects: more than a member reads within the time of a load. */
const SMALL_OBJECTS = 20_000;

/** Runs concurrent reads for a while. */
async function readFor(concurrency: number, read: () => Promise<unknown>): Promise<void> {
  const untilMs = performance.now() + LOAD_MS;
  const readInTurn = async (): Promise<void> => {
    while (performance.now() < untilMs) await read();
  };
  await Promise.all(Array.from({ length: concurrency }, readInTurn));
}

/** Loads of a member, by name. */
async function loads({ client, origin, hot }: Stage): Promise<Map<string, () => Promise<void>>> {
  const { url, version } = await hot(16 * MiB);
  const cold = await origin.putObject("cold", GiB);
  await origin.putMany("small", SMALL_OBJECTS, 4 * KiB);
  let small = 0;
  const readSmall = () => client.readRange(`s3://bench/small-${small++ % SMALL_OBJECTS}`, 0, 4 * KiB);
  return new Map([
    ["nothing", () => new Promise((resolve) => setTimeout(resolve, LOAD_MS))],
    ["4 KiB cached, 16 concurrent reads", () => readFor(16, () => client.readRange(url, 0, 4 * KiB, version))],
    ["16 MiB cached, 8 concurrent reads", () => readFor(8, () => client.readRange(url, 0, 16 * MiB, version))],
    ["4 KiB cold, 16 concurrent reads", () => readFor(16, readSmall)],
    [
      "1 GiB cold, one stream",
      async () => {
        for await (const _ of client.stream(cold.url, 0, GiB, cold.version));
      },
    ],
  ]);
}

export const benchmark: Benchmark = {
  question: "How long is the event loop of a busy member delayed?",
  run: () =>
    onStage(
      async (stage) => {
        const delays = new Map<string, LoopDelay>();
        for (const [name, load] of await loads(stage)) {
          await loopDelay(stage.member);
          await load();
          delays.set(name, await loopDelay(stage.member));
        }
        const rows = [...delays].map(([name, { p50, p99, max }]) => [name, p50, p99, max]);
        const figures: Figure[] = [...delays].map(([name, { p99 }]) => ({
          name: `${name}: p99`,
          value: p99,
          unit: "ms",
          atMost: 20,
        }));
        const bars: Bar[] = [...delays].map(([name, { p50, p99 }]) => ({ name, values: [p50, p99], ours: true }));
        return {
          tables: [{ columns: [`ms between ticks of 1 ms, ${OURS} member busy with`, "p50", "p99", "max"], rows }],
          figures,
          chart: { unit: "ms between ticks of 1 ms, less is better", groups: ["p50", "p99"], bars },
        };
      },
      { env: withLoopDelay },
    ),
};
