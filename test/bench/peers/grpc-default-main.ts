// A server as the documentation of grpc-js shows it, with a block in memory: its own options, its own (de)serialisers.
import { fileURLToPath } from "node:url";
import {
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type ServiceDefinition,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const PROTO = fileURLToPath(new URL("../../../proto/cache.proto", import.meta.url));
const BLOCK = Buffer.alloc(16 << 20, 7);
const MESSAGE_BYTES = 64 << 10;

function readRange(call: ServerWritableStream<unknown, { data: Buffer }>): void {
  let at = 0;
  const send = (): void => {
    while (at < BLOCK.length) {
      const data = BLOCK.subarray(at, at + MESSAGE_BYTES);
      at += data.length;
      if (!call.write({ data })) return void call.once("drain", send);
    }
    call.end();
  };
  send();
}

const { cache } = loadPackageDefinition(loadSync(PROTO)) as unknown as {
  cache: { CacheService: { service: ServiceDefinition } };
};
const server = new Server();
server.addService(cache.CacheService.service, { ReadRange: readRange });
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  process.send!(port);
});
process.once("disconnect", () => process.exit(0));
