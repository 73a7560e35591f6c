import { once } from "node:events";
import { connect } from "node:net";
import type { ReadRangeResponse } from "@frontcache/proto";
import { ManualClock, RawClient } from "@frontcache/server/testing";
import { type ServiceError, status } from "@grpc/grpc-js";
import { expect, it } from "vitest";
import { BYTES, ListenersUnderTest, URL } from "./listeners-under-test.js";

const MiB = 1 << 20;
const LARGE = "s3://bucket/large";
const open = (flags: object) => ListenersUnderTest.open(flags, new ManualClock());
const request = (key: string) => ({ key, offset: 0, length: 64 * MiB, version: "", forwarded: false, cachedOnly: false });

/** Reads a whole range over gRPC. */
async function read(listeners: ListenersUnderTest, key = URL): Promise<Buffer> {
  const parts: Buffer[] = [];
  const call = listeners.caller({}).client.readRange(request(key));
  for await (const { data } of call as AsyncIterable<ReadRangeResponse>) parts.push(data);
  return Buffer.concat(parts);
}

it("reads over a client's limit are rejected as retryable by both listeners until one of its reads ends", async () => {
  await using listeners = await open({ maxClientReads: "1" });
  let answer = (): void => {};
  listeners.cache.beforeAnswer = () => new Promise((resolve) => (answer = resolve));
  const running = read(listeners);
  await expect.poll(() => listeners.clients.reads).toBe(1);
  listeners.cache.beforeAnswer = undefined;
  await expect(read(listeners)).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  await using http = await RawClient.connect(listeners.httpPort);
  const refused = await http.get("/s3/bucket/object");
  expect([refused.status, refused.body.toString()]).toEqual([503, expect.stringContaining("<Code>SlowDown</Code>")]);
  expect((await http.get("/readyz")).status).toBe(200);
  answer();
  expect((await running).toString()).toBe(BYTES);
  await expect.poll(() => listeners.clients.reads).toBe(0);
  expect((await http.get("/s3/bucket/object")).body.toString()).toBe(BYTES);
});

it("connections over a client's limit are closed, and ended connections make room", async () => {
  await using listeners = await open({ maxClientConnections: "2" });
  const [first, second] = [await RawClient.connect(listeners.httpPort), await RawClient.connect(listeners.httpPort)];
  const third = connect(listeners.httpPort, "127.0.0.1");
  await once(
    third.resume().on("error", () => {}),
    "close",
  );
  expect(listeners.clients.connections).toBe(2);
  // A different address is a different client.
  const other = connect({ port: listeners.httpPort, host: "127.0.0.1", localAddress: "127.0.0.9" });
  other.write("GET /livez HTTP/1.1\r\nHost: member\r\n\r\n");
  const [head] = (await once(other, "data")) as [Buffer];
  expect(head.toString()).toMatch(/^HTTP\/1.1 200 /);
  other.destroy();
  await first[Symbol.asyncDispose]();
  await expect.poll(() => listeners.clients.connections).toBe(1);
  await using again = await RawClient.connect(listeners.httpPort);
  expect((await again.get("/s3/bucket/object")).status).toBe(200);
  await second[Symbol.asyncDispose]();
});

it("gRPC clients that read nothing are disconnected, the slowest first, within the send-buffer memory", async () => {
  await using listeners = await open({ slowReaderBytes: `${4 * MiB}` });
  const large = Buffer.alloc(4 * MiB, 7);
  listeners.cache.objects.set(LARGE, large);
  listeners.cache.sliceBytes = 4 * MiB;
  const endings: Promise<number>[] = [];
  for (let at = 0; at < 16; at++) {
    const call = listeners.caller({}).client.readRange(request(LARGE));
    endings.push(new Promise((resolve) => call.once("error", (error: ServiceError) => resolve(error.code))));
    call.pause();
  }
  // 16 messages of 512 KiB do not fit: the first clients are disconnected.
  expect(await endings[0]).toBe(status.UNAVAILABLE);
  await expect.poll(() => listeners.clients.sendBuffer.bytes).toBeLessThanOrEqual(4 * MiB);
  const bytes = await read(listeners, LARGE);
  expect(bytes.equals(large)).toBe(true);
});
