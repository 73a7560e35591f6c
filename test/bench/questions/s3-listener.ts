import { type Answer, type Benchmark, barsOf, type Figure, OURS, type Table } from "../answer.js";
import { startLoadGenerator } from "../load/http-load.js";
import { REQUEST_SIZES, requestCosts, requestCostTable, type Target } from "../load/request-cost.js";
import { OTHER_CPUS, pin, portOf, SERVER_CPU } from "../machine.js";
import { Nginx } from "../peers/nginx.js";
import { MiB, onStage, type Stage } from "../stage.js";

const S3_LISTENER = `${OURS}, S3 listener`;
const PREFIXED = `${OURS}, /s3 of the HTTP listener`;
const NGINX_SLICES = "nginx, slice cache";
const ROUNDS = { rounds: 7, seconds: 1, warmUpSeconds: 3 };
const SIZES = REQUEST_SIZES.filter(({ title }) => title === "64 KiB" || title === "1 MiB");

export const benchmark: Benchmark = {
  question: "What does a cached range cost at the S3 listener?",
  run: () => onStage(run),
};

async function run({ member, origin, hot }: Stage): Promise<Answer> {
  await using load = startLoadGenerator();
  await using nginx = await Nginx.start(origin);
  const { key } = await hot(16 * MiB);
  const pids = [member.pid];
  const targets: Target[] = [
    { name: S3_LISTENER, port: portOf(member.s3), path: `/bench/${key}`, pids },
    { name: PREFIXED, port: portOf(member.http), path: `/s3/bench/${key}`, pids },
  ];
  if (nginx !== undefined)
    targets.push({ name: NGINX_SLICES, port: portOf(nginx.address), path: `/s3/bench/${key}`, pids: [nginx.pid] });
  if (targets.flatMap((target) => target.pids).every((pid) => pin(pid, SERVER_CPU))) pin(origin.pid, OTHER_CPUS);
  const tables: Table[] = [];
  const figures: Figure[] = [];
  for (const size of SIZES) {
    const costs = await requestCosts(load, targets, size, ROUNDS);
    tables.push(requestCostTable(size, costs));
    const cpuOver = (name: string, atMost: number | undefined): void => {
      const other = costs.get(name);
      if (other === undefined) return;
      const value = costs.get(S3_LISTENER)!.cpuUs / other.cpuUs;
      figures.push({
        name: `${size.title}: CPU at the S3 listener / ${name}`,
        value,
        unit: "x",
        ...(atMost !== undefined && { atMost }),
      });
    };
    cpuOver(PREFIXED, size.length === MiB ? undefined : 1.15);
    cpuOver(NGINX_SLICES, size.length === MiB ? 1 : undefined);
  }
  return { tables, figures, chart: barsOf(figures, "x") };
}
