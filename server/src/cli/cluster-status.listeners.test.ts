import { getEventListeners, once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { eventually } from "@frontcache/proto/testing";
import { afterEach, describe, expect, it, vi } from "vitest";
import { clusterStatus } from "./cluster-status.js";

let gateway: Server | undefined;

afterEach(async () => {
  gateway!.closeAllConnections();
  gateway!.close();
  await once(gateway!, "close");
});

/** The status of members that all have one gateway, which answers as given. */
async function statusOf(count: number, answer: RequestListener, signal = new AbortController().signal) {
  gateway = createServer(answer).listen(0, "127.0.0.1");
  await once(gateway, "listening");
  const httpAddress = `127.0.0.1:${(gateway.address() as AddressInfo).port}`;
  const members = Array.from({ length: count }, (_, at) => ({ name: `m${at}`, grpcAddress: `10.0.0.1:${at + 1}`, httpAddress }));
  return clusterStatus(members, {}, signal);
}

describe("the status of a cluster", () => {
  it("is asked of sixteen members at a time, and told in their order", async () => {
    let [running, most] = [0, 0];
    const found = await statusOf(50, (_, response) => {
      most = Math.max(most, ++running);
      setTimeout(() => {
        running--;
        response.end("ok");
      }, 20);
    });
    expect(found.map(({ name, state }) => `${name} ${state}`)).toEqual(Array.from({ length: 50 }, (_, at) => `m${at} ready`));
    expect(most).toBeLessThanOrEqual(32);
  });

  it("leaves nothing at the signal of a watch that asks again and again", async () => {
    const anySignal = vi.spyOn(AbortSignal, "any");
    const { signal } = new AbortController();
    await statusOf(3, (_, response) => response.end("ok"), signal);
    expect(getEventListeners(signal, "abort")).toEqual([]);
    expect(anySignal.mock.calls.flatMap(([signals]) => [...signals])).not.toContain(signal);
    anySignal.mockRestore();
  });

  it("ends its questions when the watch is interrupted", async () => {
    const watch = new AbortController();
    await expect(statusOf(3, () => watch.abort(new Error("interrupted")), watch.signal)).rejects.toThrow("interrupted");
  });

  it("takes no more than a MiB of an answer, and hangs up on one that goes on", async () => {
    let [hungUp, sentBytes] = [0, 0];
    const piece = Buffer.alloc(64 << 10, "a");
    const [member] = await statusOf(1, ({ url }, response) => {
      if (url === "/readyz") return response.end("ok");
      const more = (): void => {
        do sentBytes += piece.length;
        while (response.write(piece));
      };
      response.on("drain", more).on("close", () => hungUp++);
      more();
    });
    expect([member!.state, member!.metrics]).toEqual(["ready", undefined]);
    await eventually(() => expect(hungUp).toBe(1));
    // What the sockets hold comes on top.
    expect(sentBytes).toBeLessThan(32 << 20);
  });
});
