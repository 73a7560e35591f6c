import { eventually } from "@frontcache/proto/testing";
import type { RawClient } from "@frontcache/server/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { S3Emulator } from "../emulators/s3.js";
import { HttpStack } from "./http-stack.js";

let store: S3Emulator;
let stack: HttpStack;
let client: RawClient;

beforeAll(async () => {
  store = await S3Emulator.start();
  stack = await HttpStack.open(store.endpoint);
  client = await stack.connect();
});

afterAll(async () => {
  await client[Symbol.asyncDispose]();
  await stack[Symbol.asyncDispose]();
  await store.close();
});

const get = async (key: string, ...headers: string[]): Promise<string> => {
  const { status, body } = await client.get(`/s3/bucket/${key}`, ...headers);
  return status === 200 ? body.toString() : String(status);
};

describe("the cache control of a request, with an origin", () => {
  it("has an overwritten object read anew, and later reads without it are of the new version, too", async () => {
    store.put("bucket", "confirmed", "first");
    expect(await get("confirmed")).toBe("first");
    store.put("bucket", "confirmed", "second");
    expect(await get("confirmed")).toBe("first");
    expect(await get("confirmed", "Cache-Control: no-cache")).toBe("second");
    expect(await get("confirmed")).toBe("second");
  });

  it("is answered by the origin with no-store, and nothing of it is cached", async () => {
    store.put("bucket", "passed", "first");
    expect(await get("passed", "Cache-Control: no-store")).toBe("first");
    expect(await get("passed", "Cache-Control: only-if-cached")).toBe("504");
    expect(await get("passed")).toBe("first");
    // The bytes are cached when they are written.
    await eventually(async () => expect(await get("passed", "Cache-Control: only-if-cached")).toBe("first"));
  });

  it("fetches an object ahead with frontcache-warm", async () => {
    store.put("bucket", "warmed", "bytes");
    expect((await client.head("/s3/bucket/warmed", "frontcache-warm: 1")).status).toBe(200);
    expect(await get("warmed", "Cache-Control: only-if-cached")).toBe("bytes");
    expect((await client.head("/s3/bucket/missing", "frontcache-warm: 1")).status).toBe(404);
  });
});
