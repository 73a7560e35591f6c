// The least that a server in Node can do: slices of a block in memory, sent by plain TCP, as HTTP by a bare `net` server, and by plain
// `node:http`.
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { REQUEST_BYTES } from "./raw-tcp.js";

/** Size of the block. */
const BLOCK_BYTES = 16 << 20;
const block = Buffer.alloc(BLOCK_BYTES, 7);

/** A request has two 32-bit numbers: the bytes of a slice, and how often the slice is sent. The response has only these bytes. */
function serveSlices(socket: Socket): void {
  socket.setNoDelay(true);
  socket.on("error", () => {});
  socket.on("data", (request: Buffer) => {
    if (request.length !== REQUEST_BYTES) throw new Error("a request was received in pieces");
    const slice = block.subarray(0, request.readUInt32LE(0));
    let left = request.readUInt32LE(4);
    const send = (): void => {
      if (left-- > 0) socket.write(slice, send);
    };
    send();
  });
}

/** Finds the range of a request by a regular expression, and writes head and slice in one system call. */
function serveBareHttp(socket: Socket): void {
  socket.on("error", () => {});
  socket.on("data", (request: Buffer) => {
    const [, first = "0", last = "0"] = /bytes=(\d+)-(\d+)/.exec(request.toString("latin1")) ?? [];
    const slice = block.subarray(Number(first), Number(last) + 1);
    const range = `Content-Range: bytes ${first}-${last}/${BLOCK_BYTES}`;
    socket.cork();
    socket.write(`HTTP/1.1 206 Partial Content\r\nContent-Length: ${slice.length}\r\n${range}\r\n\r\n`, "latin1");
    socket.write(slice);
    socket.uncork();
  });
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

const tcp = createServer(serveSlices);
const bareHttp = createServer({ noDelay: true }, serveBareHttp);
const http = createHttpServer((request, response) => {
  const [, first = "0", last = "0"] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  const slice = block.subarray(Number(first), Number(last) + 1);
  response.writeHead(206, [
    "ETag",
    '"version"',
    "Accept-Ranges",
    "bytes",
    "Content-Type",
    "binary/octet-stream",
    "Content-Length",
    String(slice.length),
    "Content-Range",
    `bytes ${first}-${last}/${BLOCK_BYTES}`,
  ]);
  response.end(slice);
});
http.keepAliveTimeout = 0;
process.once("disconnect", () => process.exit(0));
process.send!({ tcp: await listen(tcp), bareHttp: await listen(bareHttp), http: await listen(http) });
