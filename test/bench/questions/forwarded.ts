import { type Bar, type Benchmark, type Figure, OURS, type Table } from "../answer.js";
import { type LoadGenerator, startLoadGenerator } from "../load/http-load.js";
import { REQUEST_SIZES, requestCosts, requestCostTable, type Target } from "../load/request-cost.js";
import { pin, portOf, SERVER_CPU } from "../machine.js";
import { median, quick } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { lookUpOwner } from "../peers/grpc.js";
import { Nginx } from "../peers/nginx.js";
import { Cluster, KiB, MiB, type StageObject } from "../stage.js";

const OWNER = `${OURS}, asked at the owner`;
/** The measure of a forwarded read. The owner's own reads by sendfile(2) cost less than any read that passes a second process. */
const OWNER_MAPPED = `${OURS}, asked at an owner with --sendfile false`;
const FORWARDED = `${OURS}, forwarded to the owner`;
const NGINX = "nginx, proxying to nginx's slice cache";
const ROUNDS = { rounds: 5, seconds: 1, warmUpSeconds: 3 };
/** Large responses fill the socket with few connections. */
const CONNECTIONS: Readonly<Record<string, number>> = { "1 MiB": 16, "16 MiB": 4 };
/** CPU of all members for a forwarded request over the owner's own. */
const AT_MOST: Readonly<Record<string, number>> = { "4 KiB": 3, "64 KiB": 2.5, "1 MiB": 2.5, "16 MiB": 2.5 };
/** The same over both processes of nginx. */
const NGINX_AT_MOST: Readonly<Record<string, number>> = { "64 KiB": 1, "1 MiB": 1, "16 MiB": 1 };
const FIRST_BYTE_ROUNDS = 15;

/** The two members as targets: the owner of the object's one block, and the other one. */
async function ownerAndOther({ members }: Cluster, { key, url }: StageObject): Promise<[Target, Target]> {
  const owner = await lookUpOwner(members[0]!.grpc, url, 0);
  const pids = members.map(({ pid }) => pid);
  const target = (name: string, isOwner: boolean): Target => {
    const member = members.find(({ grpc }) => (grpc === owner) === isOwner)!;
    return { name, port: portOf(member.http), path: `/s3/bench/${key}`, pids };
  };
  return [target(OWNER, true), target(FORWARDED, false)];
}

/** Median microseconds until the first byte of 4 KiB, over one connection. */
async function firstBytes(load: LoadGenerator, targets: readonly Target[]): Promise<number[]> {
  const times: number[][] = targets.map(() => []);
  for (let round = -1; round < quick(FIRST_BYTE_ROUNDS); round++) {
    for (const [index, { port, path }] of targets.entries()) {
      const range = { length: 4 * KiB, first: 0, span: 16 * MiB };
      const { firstByteP50Us, p50Us } = await load.run({
        port,
        path,
        connections: 1,
        seconds: quick(round < 0 ? 1 : 0.5),
        range,
      });
      if (round >= 0) times[index]!.push(firstByteP50Us ?? p50Us);
    }
  }
  return times.map(median);
}

export const benchmark: Benchmark = {
  question: "What does a read cost that arrives at a member that does not own the block?",
  async run() {
    await using origin = await OriginProcess.start();
    await using cluster = await Cluster.start(origin.endpoint, 2);
    await using load = startLoadGenerator();
    await using mappedCluster = await Cluster.start(origin.endpoint, 2, ["--sendfile", "false"]);
    const object = await origin.putObject("forwarded", 16 * MiB);
    const ownerAndForwarded = await ownerAndOther(cluster, object);
    const [mappedOwner] = await ownerAndOther(mappedCluster, object);
    const targets = [...ownerAndForwarded, { ...mappedOwner, name: OWNER_MAPPED }];
    await using slices = await Nginx.start(origin);
    await using proxy = slices && (await Nginx.startProxy(slices.address));
    if (slices !== undefined && proxy !== undefined) {
      const pids = [slices.pid, proxy.pid];
      targets.push({ name: NGINX, port: portOf(proxy.address), path: `/s3/bench/${object.key}`, pids });
      for (const pid of pids) pin(pid, SERVER_CPU);
    }
    const [ownerUs, otherUs] = await firstBytes(load, ownerAndForwarded);
    for (const { pid } of [...cluster.members, ...mappedCluster.members]) pin(pid, SERVER_CPU);
    const tables: Table[] = [];
    const figures: Figure[] = [];
    const bars: Bar[] = [];
    for (const each of REQUEST_SIZES) {
      const size = { ...each, connections: CONNECTIONS[each.title] ?? each.connections };
      const costs = await requestCosts(load, targets, size, ROUNDS);
      const value = costs.get(FORWARDED)!.cpuUs / costs.get(OWNER_MAPPED)!.cpuUs;
      tables.push(requestCostTable(size, costs));
      figures.push({
        name: `${size.title}: CPU of both members, forwarded / owner with mapped writes`,
        value,
        unit: "x",
        atMost: AT_MOST[size.title]!,
      });
      const nginx = costs.get(NGINX);
      if (nginx !== undefined) {
        figures.push({
          name: `${size.title}: CPU of both members, forwarded / nginx proxying to its slice cache`,
          value: costs.get(FORWARDED)!.cpuUs / nginx.cpuUs,
          unit: "x",
          ...(size.title in NGINX_AT_MOST && { atMost: NGINX_AT_MOST[size.title]! }),
        });
      }
      bars.push({ name: size.title, values: [value], ours: true });
    }
    const behind = (otherUs! - ownerUs!) / 1e3;
    figures.push(
      { name: "4 KiB, one connection: first byte from the owner", value: ownerUs! / 1e3, unit: "ms" },
      { name: "4 KiB, one connection: a forwarded first byte comes later by", value: behind, unit: "ms", atMost: 0.3 },
    );
    return { tables, figures, chart: { unit: "CPU of both members over the owner's own, less is better", bars } };
  },
};
