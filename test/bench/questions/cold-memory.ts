import type { Benchmark } from "../answer.js";
import { startLoadGenerator } from "../load/http-load.js";
import { loopDelay, withLoopDelay } from "../loop-delay.js";
import { anonymousBytes, canPin, OTHER_CPUS, pin, portOf, SERVER_CPU } from "../machine.js";
import { quick } from "../measure.js";
import { KiB, onStage } from "../stage.js";

const SIZE = 4 * KiB;
const CONNECTIONS = 64;
const WARM_UP_OBJECTS = 2_000;
const OBJECTS = 20_000;
/** An upper bound: the number of objects ends a round. */
const SECONDS = 300;

export const benchmark: Benchmark = {
  question: "How much memory does a cached object of 4 KiB take?",
  run: () =>
    onStage(
      async ({ origin, member }) => {
        await using load = startLoadGenerator();
        pin(member.pid, SERVER_CPU);
        pin(origin.pid, OTHER_CPUS);
        const read = async (prefix: string, requests: number): Promise<number> => {
          await origin.putMany(prefix, requests, SIZE);
          const order = { port: portOf(member.http), path: `/s3/bench/${prefix}-{n}`, connections: CONNECTIONS, requests };
          const cpus = canPin() ? OTHER_CPUS : undefined;
          const { failures } = await load.run({ ...order, seconds: SECONDS }, cpus);
          return failures;
        };
        await read("warm", quick(WARM_UP_OBJECTS));
        const before = anonymousBytes(member.pid);
        await loopDelay(member);
        const objects = quick(OBJECTS);
        const failures = await read("cold", objects);
        const delay = await loopDelay(member);
        const perObject = (anonymousBytes(member.pid) - before) / objects / KiB;
        return {
          figures: [
            { name: "anonymous memory of an object", value: perObject, unit: "KiB", atMost: 3 },
            { name: "failed reads", value: failures, unit: "", atMost: 0 },
            { name: "event loop delay, p99", value: delay.p99, unit: "ms", atMost: 20 },
          ],
          chart: { unit: "KiB for an object, less is better", bars: [{ name: "4 KiB", values: [perObject], ours: true }] },
        };
      },
      { env: withLoopDelay },
    ),
};
