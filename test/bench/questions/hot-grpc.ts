import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { CacheClient } from "@frontcache/client";
import { type Client, credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import { type Benchmark, takeTurns } from "../measure.js";
import { OriginProcess } from "../origin-process.js";

const MiB = 1 << 20;
const READS = 16;
const PLAIN_SERVER = fileURLToPath(new URL("../grpc-default-main.ts", import.meta.url));
const PROTO = fileURLToPath(new URL("../../../proto/cache.proto", import.meta.url));

interface DefaultClient extends Client {
  ReadRange(request: object): AsyncIterable<{ data: Buffer }>;
}

/** A client as the documentation of grpc-js shows it: its own options, its own (de)serialisers. */
function defaultClient(address: string): DefaultClient {
  const definition = loadPackageDefinition(loadSync(PROTO)) as unknown as {
    cache: { CacheService: new (...args: ConstructorParameters<typeof Client>) => DefaultClient };
  };
  return new definition.cache.CacheService(address, credentials.createInsecure(), {});
}

/** Reads 16 blocks of 16 MiB, each into one Buffer. */
async function readByDefault(client: DefaultClient, request: object): Promise<number> {
  let bytes = 0;
  for (let i = 0; i < READS; i++) {
    const chunks: Buffer[] = [];
    for await (const { data } of client.ReadRange(request)) chunks.push(data);
    bytes += Buffer.concat(chunks).length;
  }
  return bytes;
}

export const benchmark: Benchmark = {
  question: "How much faster are hot 16 MiB reads over gRPC than grpc-js by default options?",
  async run() {
    await using origin = await OriginProcess.start();
    await using directory = await temporaryDirectory();
    await using member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: directory.path });
    await using client = await CacheClient.connect({ endpoint: member.grpc, transport: "grpc" });
    const { url, version } = await origin.putRamp("hot", 16 * MiB, 1);
    const request = { key: url, offset: 0, length: 16 * MiB, version };
    const plainServer = fork(PLAIN_SERVER, { execArgv: ["--import", "tsx"] });
    const [port] = (await once(plainServer, "message")) as [number];
    const [plain, ofMember] = [defaultClient(`127.0.0.1:${port}`), defaultClient(member.grpc)];
    const ours = async (): Promise<number> => {
      let bytes = 0;
      for (let i = 0; i < READS; i++) bytes += (await client.readRange(url, 0, 16 * MiB, version)).length;
      return bytes;
    };
    const contestants = [
      { name: "ours", run: ours },
      { name: "plain", run: () => readByDefault(plain, request) },
      { name: "ofMember", run: () => readByDefault(ofMember, request) },
    ];
    const rates = await takeTurns(contestants, 7);
    plain.close();
    ofMember.close();
    plainServer.disconnect();
    const rate = (name: string): number => rates.get(name)! / 1e9;
    return [
      { name: "CacheClient and a member", value: rate("ours"), unit: "GB/s" },
      { name: "grpc-js by default options on both sides, from memory", value: rate("plain"), unit: "GB/s" },
      { name: "grpc-js by default options as a client of the member", value: rate("ofMember"), unit: "GB/s" },
      { name: "ours / default on both sides", value: rate("ours") / rate("plain"), unit: "x", atLeast: 2 },
      { name: "ours / default client of the member", value: rate("ours") / rate("ofMember"), unit: "x" },
    ];
  },
};
