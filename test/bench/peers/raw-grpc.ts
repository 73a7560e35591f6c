import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { ReadRangeRequest } from "@frontcache/proto";
import { Client, credentials, type MethodDefinition } from "@grpc/grpc-js";
import type { Contestant } from "../measure.js";
import type { GrpcRequest } from "./grpc.js";

const same = (bytes: Buffer): Buffer => bytes;

/** ReadRange with messages that nobody serializes or parses. */
export const rawReadRange: MethodDefinition<Buffer, Buffer> = {
  path: "/cache.CacheService/ReadRange",
  requestStream: false,
  responseStream: true,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
};

/** A message with 4 KiB, a version and a size has about as many bytes. */
export const MESSAGE_BYTES = (4 << 10) + 48;

/** Reads by raw messages, so that the reader takes as little CPU time as it can. */
export function byRawGrpc(name: string, address: string, request: GrpcRequest, serverPid: number): Contestant & Disposable {
  const client = new Client(address, credentials.createInsecure(), {});
  const { path } = rawReadRange;
  const message = Buffer.from(ReadRangeRequest.encode(ReadRangeRequest.create(request)).finish());
  const read = (): Promise<number> =>
    new Promise((resolve, reject) => {
      let bytes = 0;
      const call = client.makeServerStreamRequest(path, same, same, message);
      call.on("data", (received: Buffer) => {
        bytes += received.length;
      });
      call.on("end", () => resolve(bytes));
      call.on("error", reject);
    });
  return { name, read, serverPid, [Symbol.dispose]: () => client.close() };
}

/** A bare server of grpc-js in a process of its own. */
export async function startBareGrpc(): Promise<{ readonly address: string; readonly pid: number } & Disposable> {
  const server = fork(join(import.meta.dirname, "bare-grpc-main.ts"), { execArgv: ["--import", "tsx"] });
  const [port] = (await once(server, "message")) as [number];
  return { address: `127.0.0.1:${port}`, pid: server.pid!, [Symbol.dispose]: () => server.disconnect() };
}
