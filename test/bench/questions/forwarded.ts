import { CacheClient } from "@frontcache/client";
import { CacheServiceClient } from "@frontcache/proto";
import { credentials } from "@grpc/grpc-js";
import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import { type Benchmark, OURS, ratio, standingsChart, standingsTable } from "../answer.js";
import { freePort } from "../free-port.js";
import { type Contestant, type Standing, takeTurns } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { byUndici } from "../peers/http-clients.js";
import { KiB, MiB, type StageObject } from "../stage.js";

const NAMES = { owner: `${OURS} owner's gateway`, other: `${OURS} other member's gateway, forwarded`, client: `${OURS} client` };

/** Two members that know of each other. */
async function startTwo(endpoint: string, directory: string): Promise<[MemberProcess, MemberProcess]> {
  const ports = { a: [await freePort(), await freePort()], b: [await freePort(), await freePort()] } as const;
  const members = Object.entries(ports).map(([name, [grpc, http]]) => `${name}=127.0.0.1:${grpc}/${http}`);
  const start = (name: "a" | "b"): Promise<MemberProcess> => {
    const [grpc, http] = ports[name].map((port) => `127.0.0.1:${port}`) as [string, string];
    const address = ["--listen", grpc, "--http-listen", http, "--name", name];
    const flags = [...address, "--discovery", "static", "--members", members.join(",")];
    return MemberProcess.start({ endpoint, cacheDirectory: `${directory}/${name}`, flags });
  };
  return Promise.all([start("a"), start("b")]);
}

/** The owner of an object's one block, then the other one. */
async function ownerFirst([a, b]: [MemberProcess, MemberProcess], { url }: StageObject): Promise<[MemberProcess, MemberProcess]> {
  const service = new CacheServiceClient(a.grpc, credentials.createInsecure());
  const owner = await new Promise<string>((resolve, reject) => {
    service.lookupOwner({ key: url, offset: 0 }, (error, answer) => (error === null ? resolve(answer.addr) : reject(error)));
  });
  service.close();
  return owner === a.grpc ? [a, b] : [b, a];
}

async function measure(
  [owner, other]: [MemberProcess, MemberProcess],
  object: StageObject,
  length: number,
): Promise<Map<string, Standing>> {
  await using client = await CacheClient.connect({ endpoint: other.grpc });
  await using toOwner = byUndici({ member: owner, object, length, connections: 1 });
  await using toOther = byUndici({ member: other, object, length, connections: 1 });
  const byClient: Contestant = {
    name: NAMES.client,
    read: async () => (await client.readRange(object.url, 0, length, object.version)).length,
  };
  const contestants = [{ ...toOwner, name: NAMES.owner }, { ...toOther, name: NAMES.other }, byClient];
  return await takeTurns(contestants, { rounds: 7, roundMs: 250, warmUpMs: 1_000, readers: 1 });
}

export const benchmark: Benchmark = {
  question: "What does a read cost that arrives at a member which does not own it?",
  async run() {
    await using origin = await OriginProcess.start();
    await using directory = await temporaryDirectory();
    const [a, b] = await startTwo(origin.endpoint, directory.path);
    await using _a = a;
    await using _b = b;
    const object = await origin.putObject("forwarded", 16 * MiB);
    const members = await ownerFirst([a, b], object);
    const large = await measure(members, object, 16 * MiB);
    const small = await measure(members, object, 4 * KiB);
    const lost = (of: Map<string, Standing>, title: string) =>
      ratio(of, { name: `${title}: forwarded / from the owner, both by undici`, of: NAMES.other, to: NAMES.owner });
    return {
      tables: [standingsTable("16 MiB", large, "GB/s"), standingsTable("4 KiB", small, "reads/s")],
      figures: [...lost(large, "16 MiB"), ...lost(small, "4 KiB")],
      chart: standingsChart(new Map([["16 MiB", large]]), "GB/s"),
    };
  },
};
