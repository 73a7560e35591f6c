// The least that a gRPC server of grpc-js can do: each call gets one message that is serialized already.
import { Server, ServerCredentials, type ServerWritableStream } from "@grpc/grpc-js";
import { MESSAGE_BYTES, rawReadRange } from "./raw-grpc.js";

const message = Buffer.alloc(MESSAGE_BYTES, 7);

const server = new Server();
server.addService(
  { readRange: rawReadRange },
  {
    readRange(call: ServerWritableStream<Buffer, Buffer>) {
      call.write(message);
      call.end();
    },
  },
);
const port = await new Promise<number>((resolve, reject) => {
  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
    error === null ? resolve(bound) : reject(error),
  );
});
process.once("disconnect", () => process.exit(0));
process.send!(port);
