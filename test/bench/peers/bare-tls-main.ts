// The least that a server in Node can do with TLS: ranges of a block in memory, with a head of HTTP/1.1 before each.

import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:tls";

const BLOCK_BYTES = 16 << 20;
const block = Buffer.alloc(BLOCK_BYTES, 7);
const [certificate, key] = process.argv.slice(2).map((path) => readFileSync(path));

const server = createServer({ cert: certificate, key }, (socket) => {
  socket.setNoDelay(true);
  socket.on("error", () => {});
  socket.on("data", (request: Buffer) => {
    const [, first, last] = /Range: bytes=(\d+)-(\d+)/.exec(request.toString("latin1"))!;
    const bytes = block.subarray(Number(first), Number(last) + 1);
    const length = `Content-Length: ${bytes.length}\r\nContent-Range: bytes ${first}-${last}/${BLOCK_BYTES}`;
    socket.cork();
    socket.write(`HTTP/1.1 206 Partial Content\r\nETag: "version"\r\nAccept-Ranges: bytes\r\n${length}\r\n\r\n`, "latin1");
    socket.write(bytes);
    socket.uncork();
  });
});
server.listen(0, "127.0.0.1", () => process.send!((server.address() as AddressInfo).port));
process.once("disconnect", () => process.exit(0));
