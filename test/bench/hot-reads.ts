import { CacheClient } from "@frontcache/client";
import { type Answer, type Figure, standingsChart, standingsTable } from "./answer.js";
import { type Contestant, measureInTurn, type Standing } from "./measure.js";
import { byDefaultGrpc, grpcByDefaultOnBothSides } from "./peers/grpc.js";
import { byAwsSdk, byFetch, byNodeHttp, byUndici } from "./peers/http-clients.js";
import { Nginx } from "./peers/nginx.js";
import { startSliceServer } from "./peers/peer-process.js";
import { RawTcp } from "./peers/raw-tcp.js";
import { MiB, onStage, type Stage, type StageObject } from "./stage.js";

/** The contestants' names in tables and charts. */
export const names = {
  ours: "frontcache readRange",
  into: "frontcache readRange, into own memory",
  grpc: "frontcache by gRPC",
  grpcInto: "frontcache by gRPC, into own memory",
  tcp: "raw Node TCP",
  nginx: "nginx slice cache, same client",
  nginxInto: "nginx slice cache, same client, into own memory",
  grpcDefault: "grpc-js by default, both sides",
  grpcClient: "grpc-js by default of a member",
} as const;

export interface HotReads {
  /** Bytes of each read, which begins at the object's first byte. */
  readonly length: number;
  readonly concurrency: number;
  readonly rounds: number;
  readonly roundMs: number;
  readonly warmUpMs: number;
}

/** All contestants read the same cached bytes, in turn. The clients run in this process. */
export async function hotReads(stage: Stage, { length, concurrency, ...turns }: HotReads): Promise<Map<string, Standing>> {
  const { origin, member, client } = stage;
  const object = await stage.hot(16 * MiB);
  const { url, version } = object;
  const request = { key: url, offset: 0, length, version };
  const httpRead = { member, object, length, connections: concurrency };
  await using byGrpc = await CacheClient.connect({ endpoint: member.grpc, transport: "grpc" });
  using slices = await startSliceServer();
  using tcp = await RawTcp.connect(slices, length);
  await using undici = byUndici(httpRead);
  using nodeHttp = byNodeHttp(httpRead);
  using awsSdk = byAwsSdk(origin, object, length);
  using grpcBoth = await grpcByDefaultOnBothSides(request);
  using grpcClient = byDefaultGrpc(names.grpcClient, member.grpc, request, member.pid);
  await using nginx = await Nginx.start(origin);
  await using nginxClient = await nginx?.client();
  const by = (name: string, from: CacheClient, serverPid = member.pid): Contestant =>
    readBy(from, { name, object, length, serverPid });
  const into = (name: string, from: CacheClient, serverPid = member.pid): Contestant =>
    readInto(from, { name, object, length, serverPid });
  const contestants: Contestant[] = [by(names.ours, client), undici, nodeHttp, byFetch(httpRead), awsSdk, by(names.grpc, byGrpc)];
  const isLarge = length > MiB;
  if (isLarge) contestants.push(into(names.into, client), into(names.grpcInto, byGrpc), grpcClient, grpcBoth);
  // Raw TCP has one connection.
  if (concurrency === 1) contestants.push(tcp);
  if (nginx !== undefined && nginxClient !== undefined) {
    contestants.push(by(names.nginx, nginxClient, nginx.pid));
    if (isLarge) contestants.push(into(names.nginxInto, nginxClient, nginx.pid));
  }
  return await measureInTurn(contestants, { ...turns, concurrency });
}

interface ClientRead {
  readonly name: string;
  readonly object: StageObject;
  readonly length: number;
  readonly serverPid: number;
}

/** `readRange` with its defaults: new memory for each read. */
function readBy(client: CacheClient, { name, object: { url, version }, length, serverPid }: ClientRead): Contestant {
  return { name, serverPid, read: async () => (await client.readRange(url, 0, length, version)).length };
}

/** `readRange` into memory that is reused, as raw TCP reuses its own. */
function readInto(client: CacheClient, { name, object: { url, version }, length, serverPid }: ClientRead): Contestant {
  const into = Buffer.alloc(length);
  return { name, serverPid, read: async () => (await client.readRange(url, 0, length, version, { into })).length };
}

const SMALL_READS = { rounds: 7, roundMs: 200, warmUpMs: 2_000 };

/** Cached ranges of `length` bytes, one at a time and sixteen at a time. */
export function smallReads(
  length: number,
  title: string,
  figures: (one: Map<string, Standing>, sixteen: Map<string, Standing>) => Figure[],
): Promise<Answer> {
  return onStage(async (stage) => {
    const one = await hotReads(stage, { length, concurrency: 1, ...SMALL_READS });
    const sixteen = await hotReads(stage, { length, concurrency: 16, ...SMALL_READS });
    const both = [...one.keys()].filter((name) => sixteen.has(name));
    const only = (standings: Map<string, Standing>): Map<string, Standing> =>
      new Map(both.map((name) => [name, standings.get(name)!]));
    const groups = new Map([
      ["one at a time", only(one)],
      ["sixteen at a time", only(sixteen)],
    ]);
    return {
      tables: [
        standingsTable(`${title}, one at a time`, one, "reads/s"),
        standingsTable(`${title}, sixteen at a time`, sixteen, "reads/s"),
      ],
      figures: figures(one, sixteen),
      chart: standingsChart(groups, "reads/s"),
    };
  });
}
