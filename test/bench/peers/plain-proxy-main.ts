// A proxy in Node that does nothing else: `node:http` on both sides, no signatures, no storage. Its parent sends it the origin's endpoint.
import { once } from "node:events";
import { Agent, createServer, get } from "node:http";
import type { AddressInfo } from "node:net";

const [endpoint] = (await once(process, "message")) as [string];
const agent = new Agent({ keepAlive: true, maxSockets: 64 });
const server = createServer((request, response) => {
  get(`${endpoint}${request.url?.replace(/^\/s3/, "")}`, { agent }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  }).on("error", () => response.destroy());
});
server.keepAliveTimeout = 0;
server.listen(0, "127.0.0.1", () => process.send!((server.address() as AddressInfo).port));
process.once("disconnect", () => process.exit(0));
