import { CacheClient } from "@frontcache/client";
import { type Contestant, type Standing, takeTurns } from "./measure.js";
import { byAwsSdk } from "./peers/aws-sdk.js";
import { byDefaultGrpc, grpcByDefaultOnBothSides } from "./peers/grpc-default.js";
import { byFetch, byNodeHttp, byUndici } from "./peers/http-clients.js";
import { Nginx } from "./peers/nginx.js";
import { RawTcp } from "./peers/raw-tcp.js";
import { SliceServer } from "./peers/slice-server.js";
import { MiB, type Stage, type StageObject } from "./stage.js";

/** The contestants as tables and charts have them. */
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
  /** Of each read, all from the object's beginning. */
  readonly length: number;
  readonly readers: number;
  readonly rounds: number;
  readonly roundMs: number;
  readonly warmUpMs: number;
}

/** Everybody reads the same held bytes, in turn. */
export async function hotReads(stage: Stage, { length, readers, ...turns }: HotReads): Promise<Map<string, Standing>> {
  const { origin, member, client } = stage;
  const object = await stage.hot(16 * MiB);
  const { url, version } = object;
  const request = { key: url, offset: 0, length, version };
  const gateway = { member, object, length, connections: readers };
  await using byGrpc = await CacheClient.connect({ endpoint: member.grpc, transport: "grpc" });
  using slices = await SliceServer.start();
  using tcp = await RawTcp.connect(slices, length);
  await using undici = byUndici(gateway);
  using nodeHttp = byNodeHttp(gateway);
  using awsSdk = byAwsSdk(origin, object, length);
  using grpcBoth = await grpcByDefaultOnBothSides(request);
  using grpcClient = byDefaultGrpc(names.grpcClient, member.grpc, request, member.pid);
  await using nginx = await Nginx.start(origin);
  await using nginxClient = await nginx?.client(member);
  const by = (name: string, who: CacheClient, serverPid = member.pid): Contestant =>
    readBy(who, { name, object, length, serverPid });
  const into = (name: string, who: CacheClient, serverPid = member.pid): Contestant =>
    readInto(who, { name, object, length, serverPid });
  const contestants: Contestant[] = [by(names.ours, client), undici, nodeHttp, byFetch(gateway), awsSdk, by(names.grpc, byGrpc)];
  const isLarge = length > MiB;
  if (isLarge) contestants.push(into(names.into, client), into(names.grpcInto, byGrpc), grpcClient, grpcBoth);
  // It is one connection.
  if (readers === 1) contestants.push(tcp);
  if (nginx !== undefined && nginxClient !== undefined) {
    contestants.push(by(names.nginx, nginxClient, nginx.pid));
    if (isLarge) contestants.push(into(names.nginxInto, nginxClient, nginx.pid));
  }
  return await takeTurns(contestants, { ...turns, readers });
}

interface OwnRead {
  readonly name: string;
  readonly object: StageObject;
  readonly length: number;
  readonly serverPid: number;
}

/** `readRange`, as everybody calls it. */
function readBy(client: CacheClient, { name, object: { url, version }, length, serverPid }: OwnRead): Contestant {
  return { name, serverPid, read: async () => (await client.readRange(url, 0, length, version)).length };
}

/** `readRange` into memory that is used again and again, as raw TCP does it. */
function readInto(client: CacheClient, { name, object: { url, version }, length, serverPid }: OwnRead): Contestant {
  const into = Buffer.alloc(length);
  return { name, serverPid, read: async () => (await client.readRange(url, 0, length, version, { into })).length };
}
