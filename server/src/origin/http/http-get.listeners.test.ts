import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type HttpTarget, httpGet, httpTarget } from "./http-get.js";
import { DIRECT } from "./way.js";

const live = new AbortController().signal;

let server: Server;
let target: HttpTarget;
let waiting: ServerResponse[];

beforeEach(async () => {
  waiting = [];
  server = createServer((_request, response) => void waiting.push(response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  target = httpTarget(`http://127.0.0.1:${(server.address() as AddressInfo).port}/prefix`, 1, 60_000, DIRECT);
});

afterEach(async () => {
  target.agent.destroy();
  server.closeAllConnections();
  server.close();
  await once(server, "close");
});

const get = (connectTimeoutMs: number | undefined, signal = live) =>
  httpGet({ ...target, path: "/key", headers: { range: "bytes=0-9" }, connectTimeoutMs }, signal);

describe("a GET that waits for a connection", () => {
  it("fails after the connect timeout, while the request that has the connection may take longer", async () => {
    const first = get(undefined);
    await once(server, "request");
    await expect(get(30)).rejects.toMatchObject({ code: "ETIMEDOUT" });
    waiting[0]!.end("ok");
    const response = await first;
    response.resume();
    await once(response, "end");
  });

  it("ends at once by an abort, and the others get the connection", async () => {
    const first = get(undefined);
    await once(server, "request");
    const abort = new AbortController();
    const second = expect(get(undefined, abort.signal)).rejects.toThrow("aborted");
    const third = get(undefined);
    abort.abort();
    await second;
    waiting[0]!.end("ok");
    (await first).resume();
    await once(server, "request");
    waiting[1]!.end("ok");
    expect((await third).statusCode).toBe(200);
    (await third).resume();
  });
});
