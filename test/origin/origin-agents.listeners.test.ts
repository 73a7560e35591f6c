import { once } from "node:events";
import { createServer as createHttpServer, get as getHttp, type IncomingMessage, type RequestListener } from "node:http";
import { createServer as createHttpsServer, get as getHttps } from "node:https";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { until } from "@frontcache/proto/testing";
import { DIRECT, originHttpAgent, originHttpsAgent, rampBytes } from "@frontcache/server/testing";
import { afterEach, describe, expect, it } from "vitest";
import { Authority } from "../security/authority.js";

const SIZE = 3 << 20;
const MAX_CONNECTIONS = 2;
const authority = await Authority.create("authority");
const pair = await authority.issue("origin");

let server: Server | undefined;

afterEach(async () => {
  server?.close();
  if (server?.listening) await once(server, "close");
  server = undefined;
});

/** Listens on a free port; returns the address and the CA to trust. */
async function listen(made: Server): Promise<{ host: string; port: number; ca: string }> {
  server = made;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port, ca: authority.pem };
}

/** Answers `/seed` with the ramp of that seed. */
const answer: RequestListener = (request, response) => {
  response.writeHead(200, { "Content-Length": SIZE }).end(object(Number(request.url!.slice(1))));
};

const object = (seed: number): Buffer => rampBytes(0, SIZE, seed);

const schemes = {
  http: {
    agent: () => originHttpAgent(MAX_CONNECTIONS, DIRECT),
    get: getHttp,
    httpServer: () => createHttpServer(answer),
    rawServer: () => createServer(),
    connectionEvent: "connection",
  },
  https: {
    agent: () => originHttpsAgent(MAX_CONNECTIONS, DIRECT),
    get: getHttps,
    httpServer: () => createHttpsServer(pair, answer),
    rawServer: () => createTlsServer(pair),
    connectionEvent: "secureConnection",
  },
};

async function chunksOf(response: IncomingMessage): Promise<Buffer[]> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
  }
  return chunks;
}

describe.each(["http", "https"] as const)("a connection to an origin over %s", (scheme) => {
  const { agent: makeAgent, get, httpServer, rawServer, connectionEvent } = schemes[scheme];

  it("delivers several bodies completely, in memory that later reads do not change", async () => {
    const made = httpServer();
    let connections = 0;
    made.on("connection", () => connections++);
    const where = await listen(made);
    const agent = makeAgent();
    const copies: Buffer[] = [];
    const read = async (seed: number): Promise<Buffer[]> => {
      const [response] = await once(get({ agent, ...where, path: `/${seed}` }), "response");
      return chunksOf(response as IncomingMessage);
    };
    for (let round = 0; round < 2; round++)
      copies.push(...(await Promise.all([1, 2, 3, 4].map(read))).map((chunks) => Buffer.concat(chunks)));
    const first = await read(5);
    await read(6);
    for (const [at, body] of copies.entries()) expect(body.equals(object((at % 4) + 1))).toBe(true);
    expect(Buffer.concat(first).equals(object(5))).toBe(true);
    expect(connections).toBe(MAX_CONNECTIONS);
    agent.destroy();
  });

  it("keeps bytes that arrive without a listener, even if more arrive afterwards", async () => {
    const made = rawServer();
    const accepted = once(made, connectionEvent) as Promise<[Socket]>;
    const agent = makeAgent();
    const socket = agent.createConnection(await listen(made)) as Socket;
    const [peer] = await accepted;
    socket.once("readable", () => {}); // not flowing: the stream buffers
    for (const text of ["first ", "second ", "third"]) {
      const before = socket.readableLength;
      peer.write(text);
      await until(() => socket.readableLength === before + text.length);
    }
    expect(String(socket.read())).toBe("first second third");
    socket.destroy();
    agent.destroy();
  });
});
