import { createServer, type Server } from "node:net";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../testing/manual-clock.js";
import { systemClock } from "./clock.js";
import { tcpReach } from "./tcp-reach.js";

async function listening(host: string): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => socket.resume());
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const address = server.address();
  return { server, port: typeof address === "object" && address !== null ? address.port : 0 };
}

const open = new AbortController().signal;

describe("looking for a listener", () => {
  it("finds one and leaves no connection", async () => {
    const { server, port } = await listening("127.0.0.1");
    await tcpReach(`127.0.0.1:${port}`, { clock: systemClock, timeoutMs: 1_000, signal: open });
    await new Promise((resolve) => server.close(resolve));
  });

  it("fails at once where nobody listens", async () => {
    const { server, port } = await listening("127.0.0.1");
    await new Promise((resolve) => server.close(resolve));
    const looking = tcpReach(`127.0.0.1:${port}`, { clock: systemClock, timeoutMs: 60_000, signal: open });
    await expect(looking).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("gives up in time, or when aborted, leaving no timer", async () => {
    const clock = new ManualClock();
    const late = tcpReach("192.0.2.1:9", { clock, timeoutMs: 100, signal: open });
    clock.advance(100);
    await expect(late).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const controller = new AbortController();
    const aborted = tcpReach("192.0.2.1:9", { clock, timeoutMs: 100, signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    expect(clock.pending).toBe(0);
  });
});
