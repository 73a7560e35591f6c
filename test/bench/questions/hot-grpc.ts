import { fileURLToPath } from "node:url";
import { CacheClient } from "@frontcache/client";
import { type Client, credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import { type Benchmark, takeTurns } from "../measure.js";
import { OriginProcess } from "../origin-process.js";

const MiB = 1 << 20;
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

export const benchmark: Benchmark = {
  question: "How much faster are hot 16 MiB reads over gRPC than with a grpc-js client by default options?",
  async run() {
    await using origin = await OriginProcess.start();
    await using directory = await temporaryDirectory();
    await using member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: directory.path });
    await using client = await CacheClient.connect({ endpoint: member.grpc, transport: "grpc" });
    const { url, version } = await origin.putRamp("hot", 16 * MiB, 1);
    const plain = defaultClient(member.grpc);
    const rates = await takeTurns(
      [
        {
          name: "ours",
          run: async () => {
            let bytes = 0;
            for (let i = 0; i < 16; i++) bytes += (await client.readRange(url, 0, 16 * MiB, version)).length;
            return bytes;
          },
        },
        {
          name: "default",
          run: async () => {
            let bytes = 0;
            for (let i = 0; i < 16; i++) {
              const chunks: Buffer[] = [];
              for await (const { data } of plain.ReadRange({ key: url, offset: 0, length: 16 * MiB, version })) chunks.push(data);
              bytes += Buffer.concat(chunks).length;
            }
            return bytes;
          },
        },
      ],
      7,
    );
    plain.close();
    const [ours, byDefault] = [rates.get("ours")!, rates.get("default")!];
    return [
      { name: "CacheClient", value: ours / 1e9, unit: "GB/s" },
      { name: "grpc-js by default options", value: byDefault / 1e9, unit: "GB/s" },
      { name: "ratio", value: ours / byDefault, unit: "x", atLeast: 2 },
    ];
  },
};
