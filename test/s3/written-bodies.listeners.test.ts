import { CompleteMultipartUploadCommand, CreateMultipartUploadCommand, UploadPartCommand } from "@aws-sdk/client-s3";
import { eventually } from "@frontcache/proto/testing";
import { rampBytes } from "@frontcache/server/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { S3Emulator } from "../emulators/s3.js";
import { geometry, HttpStack } from "./http-stack.js";
import { sdkClient } from "./sdk-client.js";

/** The longest body that is cached while it is sent. */
const MAX_BYTES = 4 * geometry.blockBytes;

let origin: S3Emulator;
let stack: HttpStack;

beforeAll(async () => {
  origin = await S3Emulator.start();
  stack = await HttpStack.open(origin.endpoint, { revalidateAfterMs: 60_000, writes: true, teeWritesBytes: MAX_BYTES });
});

afterAll(async () => {
  await stack[Symbol.asyncDispose]();
  await origin.close();
});

beforeEach(() => {
  origin.faults.clear();
  origin.traffic.reset();
});

const urlOf = (key: string): string => `${stack.endpoint}/bucket/${key}`;

async function put(key: string, body: Buffer | string, headers: Record<string, string> = {}): Promise<number> {
  const { status } = await fetch(urlOf(key), { method: "PUT", body, headers });
  return status;
}

async function read(key: string): Promise<Buffer> {
  return Buffer.from(await (await fetch(urlOf(key))).arrayBuffer());
}

/** Reads an object that was written, and returns whether the origin was asked for its bytes. */
async function isFetched(key: string, body: Buffer): Promise<boolean> {
  origin.traffic.reset();
  expect((await read(key)).equals(body)).toBe(true);
  return origin.traffic.gets.length > 0;
}

describe("what was written", () => {
  it.each([1, 1_000, geometry.blockBytes, 2 * geometry.blockBytes + 17, MAX_BYTES])(
    "is read without a request to the origin if it has %i bytes",
    async (bytes) => {
      const body = rampBytes(0, bytes, 1);
      expect(await put(`of-${bytes}`, body)).toBe(200);
      // One HEAD, for the record.
      expect(origin.traffic.requests).toEqual({ PUT: 1, HEAD: 1 });
      expect(await isFetched(`of-${bytes}`, body)).toBe(false);
      expect(origin.traffic.requests).toEqual({});
      const replaced = rampBytes(0, bytes, 2);
      expect(await put(`of-${bytes}`, replaced)).toBe(200);
      expect(await isFetched(`of-${bytes}`, replaced)).toBe(false);
    },
  );

  it.each(["no-store", "private, max-age=3"])("is not cached if its Cache-Control says %s", async (control) => {
    const body = rampBytes(0, 1_000 + control.length, 1);
    expect(await put("private", body, { "cache-control": control })).toBe(200);
    expect(await isFetched("private", body)).toBe(true);
  });

  it("is not cached if it is longer than --tee-writes", async () => {
    const body = rampBytes(0, MAX_BYTES + 1, 1);
    expect(await put("long", body)).toBe(200);
    expect(await isFetched("long", body)).toBe(true);
  });

  it("is not cached if another write followed before its record was read", async () => {
    const [mine, theirs] = [rampBytes(0, 100_000, 1), rampBytes(0, 100_000, 2)];
    // The origin shows the other version to the HEAD.
    origin.faults.place({
      when: ({ method }) => {
        if (method === "HEAD") origin.put("bucket", "raced", theirs);
        return false;
      },
    });
    expect(await put("raced", mine)).toBe(200);
    expect(await isFetched("raced", theirs)).toBe(true);
  });

  it("is answered although its record cannot be read, and read from the origin", async () => {
    const body = rampBytes(0, 100_000, 3);
    origin.faults.place({ when: ({ method }) => method !== "PUT", error: { status: 403, code: "AccessDenied" } });
    expect(await put("unreadable", body)).toBe(200);
    origin.faults.clear();
    expect(await isFetched("unreadable", body)).toBe(true);
  });

  it("has its last MiB cached when it was completed in parts", async () => {
    const client = sdkClient(stack.endpoint);
    const Key = { Bucket: "bucket", Key: "parts" };
    const bodies = [rampBytes(0, 5 << 20, 1), rampBytes(0, 100_000, 2)];
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(Key));
    const Parts = await Promise.all(
      bodies.map(async (Body, at) => {
        const { ETag } = await client.send(new UploadPartCommand({ ...Key, UploadId, PartNumber: at + 1, Body }));
        return { PartNumber: at + 1, ETag };
      }),
    );
    await client.send(new CompleteMultipartUploadCommand({ ...Key, UploadId, MultipartUpload: { Parts } }));
    client.destroy();
    const whole = Buffer.concat(bodies);
    const tail = whole.length - (1 << 20);
    await eventually(() => expect(origin.traffic.gets.some(({ end }) => end === whole.length)).toBe(true));
    await eventually(() => expect(stack.local.status().fills).toBe(0));
    origin.traffic.reset();
    const response = await fetch(urlOf("parts"), { headers: { range: `bytes=${tail}-` } });
    expect(Buffer.from(await response.arrayBuffer()).equals(whole.subarray(tail))).toBe(true);
    expect(origin.traffic.requests).toEqual({});
  });
});
