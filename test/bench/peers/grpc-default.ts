import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Client, credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import type { Contestant } from "../measure.js";

const PROTO = fileURLToPath(new URL("../../../proto/cache.proto", import.meta.url));

/** A read as the contract has it. */
export interface GrpcRequest {
  readonly key: string;
  readonly offset: number;
  readonly length: number;
  readonly version: string;
}

interface DefaultClient extends Client {
  ReadRange(request: GrpcRequest): AsyncIterable<{ data: Buffer }>;
}

/** A client as the documentation of grpc-js shows it: its own options, its own (de)serialisers. */
export function byDefaultGrpc(name: string, address: string, request: GrpcRequest, serverPid: number): Contestant & Disposable {
  const definition = loadPackageDefinition(loadSync(PROTO)) as unknown as {
    cache: { CacheService: new (...args: ConstructorParameters<typeof Client>) => DefaultClient };
  };
  const client = new definition.cache.CacheService(address, credentials.createInsecure(), {});
  const read = async (): Promise<number> => {
    const chunks: Buffer[] = [];
    for await (const { data } of client.ReadRange(request)) chunks.push(data);
    return Buffer.concat(chunks).length;
  };
  return { name, read, serverPid, [Symbol.dispose]: () => client.close() };
}

/** A server and a client, both by default options. Of the request, only the server's own 16 MiB are answered. */
export async function grpcByDefaultOnBothSides(request: GrpcRequest): Promise<Contestant & Disposable> {
  const server = fork(join(import.meta.dirname, "grpc-default-main.ts"), { execArgv: ["--import", "tsx"] });
  const [port] = (await once(server, "message")) as [number];
  const contestant = byDefaultGrpc("grpc-js by default, both sides", `127.0.0.1:${port}`, request, server.pid!);
  return {
    ...contestant,
    [Symbol.dispose]: () => {
      contestant[Symbol.dispose]();
      server.disconnect();
    },
  };
}
