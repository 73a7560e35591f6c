import { type Answer, type Benchmark, barsOf, type Figure, type Table } from "../answer.js";
import { startLoadGenerator } from "../load/http-load.js";
import { requestCosts, requestCostTable, type Target } from "../load/request-cost.js";
import { freePort, OTHER_CPUS, pin, portOf, SERVER_CPU } from "../machine.js";
import { KiB, onStage, type Stage } from "../stage.js";

const VALUE_BYTES = 4 * KiB;
const ROUNDS = { rounds: 7, seconds: 1, warmUpSeconds: 3 };

const ELCACHE = "a value, by ElCache's interface";
const VALUE_BY_S3 = "the same value, /s3 of the HTTP listener";
const OBJECT_BY_S3 = "a cached S3 object, /s3 of the HTTP listener";

export const benchmark: Benchmark = {
  question: "What does a cached value of 4 KiB cost by ElCache's interface, against the same bytes by /s3?",
  async run() {
    const port = await freePort();
    const flags = ["--cache-bucket", "elcache", "--elcache-listen", `127.0.0.1:${port}`];
    return await onStage((stage) => run(stage, port), { flags });
  },
};

async function run({ member, origin, hot }: Stage, port: number): Promise<Answer> {
  await using load = startLoadGenerator();
  const { key } = await hot(VALUE_BYTES);
  const put = { method: "PUT", body: Buffer.alloc(VALUE_BYTES, 1) };
  const { status } = await fetch(`http://127.0.0.1:${port}/cache/hot`, put);
  if (status !== 201) throw new Error(`the member answered a PUT by ${status}`);
  const http = portOf(member.http);
  const pids = [member.pid];
  const targets: Target[] = [
    { name: ELCACHE, port, path: "/cache/hot", pids },
    { name: VALUE_BY_S3, port: http, path: "/s3/elcache/hot", pids },
    { name: OBJECT_BY_S3, port: http, path: `/s3/bench/${key}`, pids },
  ];
  if (pin(member.pid, SERVER_CPU)) pin(origin.pid, OTHER_CPUS);
  const tables: Table[] = [];
  const figures: Figure[] = [];
  for (const form of ["whole", "by Range"] as const) {
    const size = { title: `4 KiB, ${form}`, length: VALUE_BYTES, connections: 64, objectBytes: VALUE_BYTES };
    const costs = await requestCosts(load, targets, { ...size, isWhole: form === "whole" }, ROUNDS);
    tables.push(requestCostTable(size, costs));
    const { cpuUs } = costs.get(ELCACHE)!;
    for (const other of [VALUE_BY_S3, OBJECT_BY_S3]) {
      const name = `${form}: CPU by ElCache's interface / ${other}`;
      figures.push({ name, value: cpuUs / costs.get(other)!.cpuUs, unit: "x", atMost: 1.2 });
    }
  }
  return { tables, figures, chart: barsOf(figures, "x") };
}
