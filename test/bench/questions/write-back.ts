import type { Benchmark } from "../answer.js";
import { startLoadGenerator } from "../load/http-load.js";
import { loopDelay, withLoopDelay } from "../loop-delay.js";
import { portOf } from "../machine.js";
import { latenciesOf, quick, readHot } from "../measure.js";
import { GiB, MiB, onStage } from "../stage.js";

/** Cold objects: together more than the kernel lets wait for the disk on a machine of 24 GiB (vm.dirty_ratio: 20 %). */
const OBJECTS = 60;
const OBJECT_BYTES = GiB / 10;
/** Connections that read cold objects. */
const CONNECTIONS = 4;
/** An upper bound: the number of objects ends the reads. */
const SECONDS = 300;

export const benchmark: Benchmark = {
  question: "Do cached reads wait while the kernel writes many new blocks to the disk?",
  run: () =>
    onStage(
      async ({ origin, member, client, hot }) => {
        const cached = await hot(16 * MiB);
        await using load = startLoadGenerator();
        const requests = quick(OBJECTS);
        for (let n = 0; n < requests; n++) await origin.putRamp(`storm-${n}`, Math.ceil(OBJECT_BYTES), n);
        const alone: number[] = [];
        await readHot(client, cached, quick(5_000), alone);
        await loopDelay(member);
        const during: number[] = [];
        let isOver = false;
        const order = { port: portOf(member.http), path: "/s3/bench/storm-{n}", connections: CONNECTIONS, requests };
        const cold = load.run({ ...order, seconds: SECONDS }).finally(() => {
          isOver = true;
        });
        while (!isOver) await readHot(client, cached, 500, during);
        const { failures } = await cold;
        const delay = await loopDelay(member);
        const [before, meanwhile] = [latenciesOf(alone), latenciesOf(during)];
        return {
          figures: [
            { name: "cached reads alone, p99", value: before.p99, unit: "ms" },
            { name: "cached reads meanwhile, p99", value: meanwhile.p99, unit: "ms", atMost: 50 },
            { name: "cached reads meanwhile, slowest", value: Math.max(...during), unit: "ms" },
            { name: "failed cold reads", value: failures, unit: "", atMost: 0 },
            { name: "event loop delay, p99", value: delay.p99, unit: "ms", atMost: 20 },
          ],
          chart: {
            unit: "ms, p99, less is better",
            bars: [
              { name: "alone", values: [before.p99], ours: true },
              { name: "meanwhile", values: [meanwhile.p99], ours: true },
            ],
          },
        };
      },
      { env: withLoopDelay },
    ),
};
