import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { requestText } from "./http-text.js";

let server: Server | undefined;

afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  if (server !== undefined) await once(server, "close");
  server = undefined;
});

async function serve(answer: RequestListener): Promise<string> {
  server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/path?query`;
}

const bounds = { timeoutMs: 60_000, maxBytes: 10 };

describe("one request of a small text", () => {
  it("resolves with status and body, whatever the status", async () => {
    const url = await serve(({ url: path, headers }, response) => response.writeHead(404).end(`${path} ${headers.accept}`));
    const options = { headers: { accept: "a/b" } };
    expect(await requestText({ ...bounds, url, options, maxBytes: 15 })).toEqual({ status: 404, text: "/path?query a/b" });
  });

  it("posts a body if it has one, and does not follow a redirect", async () => {
    const url = await serve((request, response) => {
      response.writeHead(307, { location: "/elsewhere" });
      request.pipe(response);
    });
    expect(await requestText({ ...bounds, url, body: "question" })).toEqual({ status: 307, text: "question" });
  });

  it("rejects a body that is longer than allowed, and closes its connection", async () => {
    const url = await serve((_, response) => void response.write("x".repeat(11)));
    const closed = once(server!, "connection").then(([socket]) => once(socket, "close"));
    await expect(requestText({ ...bounds, url })).rejects.toThrow("more than 10 bytes");
    await closed;
  });

  it("rejects when the timeout passes within the body", async () => {
    const url = await serve((_, response) => void response.write("x"));
    await expect(requestText({ ...bounds, url, timeoutMs: 20 })).rejects.toMatchObject({ name: "TimeoutError" });
  });

  it("rejects when it is aborted, and when nothing listens", async () => {
    const url = await serve(() => {});
    const abort = new AbortController();
    const answer = requestText({ ...bounds, url, signal: abort.signal });
    abort.abort();
    await expect(answer).rejects.toMatchObject({ name: "AbortError" });
    server!.closeAllConnections();
    server!.close();
    await once(server!, "close");
    server = undefined;
    await expect(requestText({ ...bounds, url })).rejects.toThrow("ECONNREFUSED");
  });
});
