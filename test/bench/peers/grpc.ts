import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type Client,
  credentials,
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type ServiceDefinition,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import type { Contestant } from "../measure.js";

/** A read in the service's contract. */
export interface GrpcRequest {
  readonly key: string;
  readonly offset: number;
  readonly length: number;
  readonly version: string;
}

interface DefaultClient extends Client {
  ReadRange(request: GrpcRequest): AsyncIterable<{ data: Buffer }>;
  LookupOwner(
    request: { key: string; offset: number },
    done: (error: Error | null, response: { addr: string | string[] }) => void,
  ): void;
}

interface DefaultClientClass {
  new (...args: ConstructorParameters<typeof Client>): DefaultClient;
  readonly service: ServiceDefinition;
}

/** The service as grpc-js makes it from the contract, with its own (de)serializers. */
export function cacheService(): DefaultClientClass {
  const contract = fileURLToPath(new URL("../../../proto/cache.proto", import.meta.url));
  const { cache } = loadPackageDefinition(loadSync(contract)) as unknown as { cache: { CacheService: DefaultClientClass } };
  return cache.CacheService;
}

/** The gRPC address of the member that owns the block at an offset. */
export async function lookUpOwner(grpcAddress: string, url: string, offset: number): Promise<string> {
  const client = new (cacheService())(grpcAddress, credentials.createInsecure(), {});
  try {
    const { addr } = await new Promise<{ addr: string | string[] }>((resolve, reject) => {
      client.LookupOwner({ key: url, offset }, (error, response) => (error === null ? resolve(response) : reject(error)));
    });
    return typeof addr === "string" ? addr : addr[0]!;
  } finally {
    client.close();
  }
}

/** A client as in the documentation of grpc-js, with default options. */
export function byDefaultGrpc(name: string, address: string, request: GrpcRequest, serverPid: number): Contestant & Disposable {
  const client = new (cacheService())(address, credentials.createInsecure(), {});
  const read = async (): Promise<number> => {
    const chunks: Buffer[] = [];
    for await (const { data } of client.ReadRange(request)) chunks.push(data);
    return Buffer.concat(chunks).length;
  };
  return { name, read, serverPid, [Symbol.dispose]: () => client.close() };
}

/** A server and a client with default options. The server sends its own 16 MiB whatever the request asks for. */
export async function grpcByDefaultOnBothSides(request: GrpcRequest): Promise<Contestant & Disposable> {
  const server = fork(join(import.meta.dirname, "grpc-server-main.ts"), { execArgv: ["--import", "tsx"] });
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

/** A gRPC server on loopback with some handlers of the service. */
export class GrpcServer implements Disposable {
  readonly #server: Server;
  /** `host:port`. */
  readonly address: string;

  private constructor(server: Server, address: string) {
    this.#server = server;
    this.address = address;
  }

  static async start(
    handlers: Readonly<Record<string, (call: ServerWritableStream<unknown, never>) => void>>,
  ): Promise<GrpcServer> {
    const server = new Server();
    server.addService(cacheService().service, handlers);
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
    return new GrpcServer(server, `127.0.0.1:${port}`);
  }

  [Symbol.dispose](): void {
    this.#server.forceShutdown();
  }
}
