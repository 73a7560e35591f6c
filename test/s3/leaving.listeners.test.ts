import { eventually, settled } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { S3Emulator } from "../emulators/s3.js";
import { HttpStack } from "./http-stack.js";

let store: S3Emulator;
let gateway: HttpStack;

beforeEach(async () => {
  store = await S3Emulator.start();
  store.putRamp("bucket", "large", 40 << 20);
  gateway = await HttpStack.open(store.endpoint);
});

afterEach(async () => {
  await gateway[Symbol.asyncDispose]();
  await store.close();
});

/** Nothing is read, filled, held in memory or open any more, but for idle connections to the store. */
async function untilNothingIsLeft(): Promise<void> {
  await eventually(() => {
    expect(gateway.local.status()).toMatchObject({ fills: 0, fillMemoryBytes: 0, waitingParts: 0 });
    expect(gateway.store.status().references).toBe(0);
    expect([gateway.listener.openConnections, gateway.listener.runningAnswers, store.traffic.open]).toEqual([0, 0, 0]);
  });
}

describe("a client that leaves in the middle of an answer", () => {
  it("leaves nothing behind, whenever it leaves", async () => {
    for (const bytes of [0, 1, 200, 100_000, 1_000_000, 5_000_000]) {
      const client = await gateway.connect();
      client.request("GET", "/s3/bucket/large");
      let received = 0;
      await new Promise<void>((resolve) => {
        client.socket.on("data", (chunk: Buffer) => {
          received += chunk.length;
          if (received >= bytes) resolve();
        });
        if (bytes === 0) resolve();
      });
      client.socket.resetAndDestroy();
    }
    await untilNothingIsLeft();
  });

  it("before the origin has answered has nothing fetched for it beyond what was asked already", async () => {
    store.faults.place({ latencyMs: 50 });
    const clients = await Promise.all([gateway.connect(), gateway.connect()]);
    for (const client of clients) client.request("GET", "/s3/bucket/large");
    await eventually(() => expect(store.traffic.open).toBeGreaterThan(0));
    for (const client of clients) client.socket.destroy();
    await untilNothingIsLeft();
    expect(store.traffic.bytesSent).toBeLessThan(4 << 20);
  });
});

describe("readers that stop reading", () => {
  it("hold none of the memory that fills share, so that others are served", async () => {
    // As many as the fill memory has segments: each of them would hold one for good.
    const stalled = await Promise.all(Array.from({ length: 16 }, () => gateway.connect()));
    for (const [at, client] of stalled.entries()) {
      store.putRamp("bucket", `stalled ${at}`, 64 << 20);
      client.socket.pause();
      client.request("GET", `/s3/bucket/stalled%20${at}`);
    }
    await settled(() => store.traffic.bytesSent);
    await using reader = await gateway.connect();
    store.putRamp("bucket", "other", 4 << 20);
    const { status, body } = await reader.get("/s3/bucket/other");
    expect([status, body.length]).toEqual([200, 4 << 20]);
    for (const client of stalled) client.socket.destroy();
    await reader[Symbol.asyncDispose]();
    await untilNothingIsLeft();
  });
});
