import { once } from "node:events";
import { createServer } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { findProgram, portOf } from "../machine.js";
import { startLoadGenerator } from "./http-load.js";

const OBJECT = Buffer.alloc(64 << 10, 7);

/** A server of one object that counts its requests. */
async function startServer() {
  const [ranges, paths]: [string[], string[]] = [[], []];
  const server = createServer((request, response) => {
    paths.push(request.url!);
    const [, first = "0", last = String(OBJECT.length - 1)] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    ranges.push(`${first}-${last}`);
    const body = OBJECT.subarray(Number(first), Number(last) + 1);
    response.writeHead(request.headers.range === undefined ? 200 : 206, { "content-length": body.length });
    response.end(body);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address() as { address: string; port: number };
  const stop = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { port: portOf(`${address.address}:${address.port}`), ranges, paths, [Symbol.dispose]: stop };
}

const available = [
  ...(findProgram("cc") === undefined ? [] : ["range-load"]),
  ...(findProgram("wrk") === undefined ? [] : ["wrk"]),
  "node",
];

afterEach(() => {
  delete process.env.FRONTCACHE_BENCH_LOAD;
});

describe("load generators", () => {
  it.for(available)("%s requests aligned ranges of the given bytes until the time is over", async (name) => {
    process.env.FRONTCACHE_BENCH_LOAD = name;
    using server = await startServer();
    await using load = startLoadGenerator();
    expect(load.name).toBe(name);
    const range = { length: 4096, first: 16_384, span: 32_768 };
    const result = await load.run({ port: server.port, path: "/object", connections: 3, seconds: 1, range });
    expect(result.failures).toBe(0);
    expect(result.requests).toBeGreaterThanOrEqual(3);
    expect(result.bytes).toBeGreaterThanOrEqual(result.requests * range.length);
    expect(result.p99Us).toBeGreaterThanOrEqual(result.p50Us);
    const aligned = Array.from({ length: 8 }, (_, index) => `${16_384 + index * 4096}-${16_384 + index * 4096 + 4095}`);
    expect(aligned).toEqual(expect.arrayContaining([...new Set(server.ranges)]));
  });

  it.for(available.filter((name) => name !== "wrk"))("%s requests each numbered path once", async (name) => {
    process.env.FRONTCACHE_BENCH_LOAD = name;
    using server = await startServer();
    await using load = startLoadGenerator();
    const result = await load.run({ port: server.port, path: "/object-{n}", connections: 4, seconds: 60, requests: 50 });
    expect(result.requests).toBe(50);
    expect(new Set(server.paths)).toEqual(new Set(Array.from({ length: 50 }, (_, number) => `/object-${number}`)));
  });
});
