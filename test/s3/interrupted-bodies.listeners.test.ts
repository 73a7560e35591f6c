import { eventually } from "@frontcache/proto/testing";
import { ManualClock, type RawClient, rampBytes } from "@frontcache/server/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { S3Emulator } from "../emulators/s3.js";
import { HttpStack } from "./http-stack.js";
import { sendRequest } from "./send-request.js";

const TEE_BYTES = 1 << 20;
const clock = new ManualClock();
let origin: S3Emulator;
let stack: HttpStack;

beforeAll(async () => {
  origin = await S3Emulator.start();
  origin.put("bucket", "key", "before");
  stack = await HttpStack.open(origin.endpoint, { revalidateAfterMs: 60_000, writes: true, teeWritesBytes: TEE_BYTES, clock });
});

afterAll(async () => {
  await stack[Symbol.asyncDispose]();
  await origin.close();
});

/** Sends a request on a connection of its own, so that no idle connection has timers. */
const ask = (method: string, path: string, body: Buffer | string = "") =>
  sendRequest(`${stack.endpoint}/bucket/${path}`, method, {}, [body]);

const BODY = rampBytes(0, 800_000, 3);
const FRAMED = {
  "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
  "x-amz-trailer": "x-amz-checksum-crc32",
  "x-amz-decoded-content-length": "800000",
};

/** A write, whose body ends early: the path, further headers, the announced length, and the bytes that arrive. */
const WRITES: [string, string, Record<string, string>, number, Buffer][] = [
  ["a body that is sent while it arrives", "key", {}, BODY.length, BODY.subarray(0, 500_000)],
  ["a body of which nothing arrives", "key", {}, BODY.length, Buffer.alloc(0)],
  ["all of a body but its last byte", "key", {}, BODY.length, BODY.subarray(0, -1)],
  ["a short body", "key", {}, 1_000, BODY.subarray(0, 10)],
  ["a part", "key?partNumber=1&uploadId=ID", {}, BODY.length, BODY.subarray(0, 500_000)],
  ["a body in chunks", "key", FRAMED, 800_100, Buffer.concat([Buffer.from("c3500\r\n"), BODY.subarray(0, 500_000)])],
  [
    "a body without its trailer",
    "key",
    FRAMED,
    800_100,
    Buffer.concat([Buffer.from("c3500\r\n"), BODY, Buffer.from("\r\n0\r\n")]),
  ],
  ["a document", "key?uploadId=ID", {}, 1_000, Buffer.from("<CompleteMultipartUpload>")],
];

/** Begins a write. `ID` in the path is that of a new upload. */
async function begin(path: string, headers: Record<string, string>, length: number, bytes: Buffer): Promise<RawClient> {
  const created = path.includes("ID") ? await ask("POST", "key?uploads") : undefined;
  const id = /<UploadId>(.*?)<\/UploadId>/.exec(created?.body ?? "")?.[1] ?? "";
  const method = path.includes("uploadId=") && !path.includes("partNumber") ? "POST" : "PUT";
  const client = await stack.connect();
  const lines = Object.entries({ ...headers, "content-length": String(length) }).map(([name, value]) => `${name}: ${value}`);
  client.request(method, `/s3/bucket/${path.replace("ID", id)}`, ...lines);
  client.send(bytes);
  return client;
}

/** Resolves when nothing is left of a write: no request at the origin, no connection, no timer. */
async function atRest(): Promise<void> {
  await eventually(() => {
    expect([origin.traffic.open, stack.listener.runningAnswers, clock.waits]).toEqual([0, 0, 0]);
  });
}

/** Nothing was written, and the next write is taken and cached as ever, so that the memory of the copy is free. */
async function nothingWritten(before: string): Promise<void> {
  expect((await ask("GET", "key")).body).toBe(before);
  const whole = rampBytes(0, TEE_BYTES, 9);
  expect((await ask("PUT", "whole", whole)).status).toBe(200);
  const gets = origin.traffic.gets.length;
  expect((await ask("GET", "whole")).body).toBe(whole.toString("latin1"));
  expect(origin.traffic.gets.length).toBe(gets);
}

describe("a client that stalls", () => {
  it.each(WRITES)("in the middle of %s gets RequestTimeout, and nothing is written", async (_, path, headers, length, bytes) => {
    const client = await begin(path, headers, length, bytes);
    // Before that, the time would count for the head.
    await eventually(() => expect(stack.listener.runningAnswers).toBe(1));
    let ended = false;
    client.socket.once("close", () => {
      ended = true;
    });
    const answered = client.answer();
    await eventually(() => {
      clock.advance(20_000);
      expect(ended).toBe(true);
    });
    const { status, headers: head, body } = await answered;
    expect([status, head.connection, /<Code>(\w+)</.exec(String(body))?.[1]]).toEqual([400, "close", "RequestTimeout"]);
    await atRest();
    await nothingWritten("before");
    await client[Symbol.asyncDispose]();
  });
});

describe("a client that resets its connection", () => {
  it.each(WRITES)("in the middle of %s writes nothing, and leaves nothing", async (_, path, headers, length, bytes) => {
    const client = await begin(path, headers, length, bytes);
    // Whether the member has read the head by then or not: nothing is written.
    client.socket.resetAndDestroy();
    await atRest();
    await nothingWritten("before");
    await client[Symbol.asyncDispose]();
  });
});
