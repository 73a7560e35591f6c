import { eventually, settled } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { S3Emulator } from "../emulators/s3.js";
import { HttpStack } from "./http-stack.js";

let store: S3Emulator;
let stack: HttpStack;

beforeEach(async () => {
  store = await S3Emulator.start();
  store.putRamp("bucket", "large", 40 << 20);
  stack = await HttpStack.open(store.endpoint);
});

afterEach(async () => {
  await stack[Symbol.asyncDispose]();
  await store.close();
});

/** The state at rest: no reads, fills, memory or open resources, except idle connections to the store. */
async function untilNothingIsLeft(): Promise<void> {
  await eventually(() => {
    expect(stack.local.status()).toMatchObject({ fills: 0, fillMemoryBytes: 0, waitingParts: 0 });
    expect(stack.store.status().references).toBe(0);
    expect([stack.listener.openConnections, stack.listener.runningAnswers, store.traffic.open]).toEqual([0, 0, 0]);
  });
}

describe("a client that disconnects in the middle of a response", () => {
  it("leaves no read, fill or connection open, however many bytes it received", async () => {
    for (const bytes of [0, 1, 200, 100_000, 1_000_000, 5_000_000]) {
      const client = await stack.connect();
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

  it("causes no further origin requests if it disconnects before the origin answers", async () => {
    store.faults.place({ latencyMs: 50 });
    const clients = await Promise.all([stack.connect(), stack.connect()]);
    for (const client of clients) client.request("GET", "/s3/bucket/large");
    await eventually(() => expect(store.traffic.open).toBeGreaterThan(0));
    for (const client of clients) client.socket.destroy();
    await untilNothingIsLeft();
    expect(store.traffic.bytesSent).toBeLessThan(4 << 20);
  });
});

describe("clients that stop reading", () => {
  it("occupy no fill memory, so other clients are served", async () => {
    // As many clients as the fill memory has segments: each would occupy one permanently.
    const stalled = await Promise.all(Array.from({ length: 16 }, () => stack.connect()));
    for (const [at, client] of stalled.entries()) {
      store.putRamp("bucket", `stalled ${at}`, 64 << 20);
      client.socket.pause();
      client.request("GET", `/s3/bucket/stalled%20${at}`);
    }
    await settled(() => store.traffic.bytesSent);
    await using reader = await stack.connect();
    store.putRamp("bucket", "other", 4 << 20);
    const { status, body } = await reader.get("/s3/bucket/other");
    expect([status, body.length]).toEqual([200, 4 << 20]);
    for (const client of stalled) client.socket.destroy();
    await reader[Symbol.asyncDispose]();
    await untilNothingIsLeft();
  });
});
