// A server as in the documentation of grpc-js, with a block in memory and default options.
import type { ServerWritableStream } from "@grpc/grpc-js";
import { GrpcServer } from "./grpc.js";

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

const { address } = await GrpcServer.start({ ReadRange: readRange });
process.once("disconnect", () => process.exit(0));
process.send!(Number(address.slice(address.indexOf(":") + 1)));
