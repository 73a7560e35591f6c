import { eventually, settled } from "@frontcache/proto/testing";
import type { RawClient } from "@frontcache/server/testing";
import { afterEach, describe, expect, it } from "vitest";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { HttpStack } from "./http-stack.js";

const BYTES = 12 << 20;
const OLD = rampBytes(0, BYTES, 3);
const NEW = rampBytes(0, BYTES, 5);
const HEAD_END = "\r\n\r\n";

let store: S3Emulator;
let stack: HttpStack;

afterEach(async () => {
  await stack[Symbol.asyncDispose]();
  await store.close();
});

/** The body of the response that a client receives, as far as it arrives. */
async function bodyOf({ socket }: RawClient): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let received = 0;
  await new Promise<void>((resolve) => {
    socket.on("close", () => resolve());
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      received += chunk.length;
      if (received >= BYTES && received === Buffer.concat(chunks).indexOf(HEAD_END) + HEAD_END.length + BYTES) resolve();
    });
    socket.resume();
  });
  const all = Buffer.concat(chunks);
  return all.subarray(all.indexOf(HEAD_END) + HEAD_END.length);
}

describe.each([true, false])("a response whose blocks are evicted while they are sent (sendfile: %s)", (sendfile) => {
  it.each(["", "Accept-Language: en\r\n"])("has only bytes of its version (other headers: %j)", async (headers) => {
    store = await S3Emulator.start();
    stack = await HttpStack.open(store.endpoint, { sendfile });
    store.put("bucket", "object", OLD);
    const reader = await stack.connect();
    expect((await reader.get("/s3/bucket/object")).body.equals(OLD)).toBe(true);

    const slow = await Promise.all(Array.from({ length: 2 }, () => stack.connect()));
    for (const client of slow) {
      client.socket.pause();
      client.send(`GET /s3/bucket/object HTTP/1.1\r\nHost: m\r\nRange: bytes=0-${BYTES - 1}\r\n${headers}\r\n`);
    }
    await eventually(() => expect(stack.listener.runningAnswers).toBe(slow.length));
    await settled(() => stack.store.status().references);
    await stack.store.evict({ url: "s3://bucket/object" });
    // The space and the names of the old blocks' files are used again.
    store.put("bucket", "object", NEW);
    const { body } = await reader.get("/s3/bucket/object", "Cache-Control: no-cache");
    expect(body.equals(NEW)).toBe(true);

    for (const received of await Promise.all(slow.map(bodyOf))) {
      expect(received.equals(OLD.subarray(0, received.length))).toBe(true);
    }
    for (const client of [reader, ...slow]) client.socket.destroy();
    await eventually(() => expect(stack.store.status().references).toBe(0));
  });
});
