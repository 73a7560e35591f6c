import type { RawClient } from "@frontcache/server/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { S3Emulator } from "../emulators/s3.js";
import { HttpStack } from "./http-stack.js";

let store: S3Emulator;
let stack: HttpStack;
let client: RawClient;

beforeAll(async () => {
  store = await S3Emulator.start();
  stack = await HttpStack.open(store.endpoint, { revalidateAfterMs: 0 });
  client = await stack.connect();
});

afterAll(async () => {
  await client[Symbol.asyncDispose]();
  await stack[Symbol.asyncDispose]();
  await store.close();
});

describe("an object that was overwritten with the same bytes", () => {
  it.each([
    ["old", "new"],
    ["old", ""],
    ["", "new"],
  ])("has the metadata of its newest version in the next GET: %j, then %j", async (before, after) => {
    for (const value of [before, after, before]) {
      store.put("bucket", "object", "bytes", { headers: { "x-amz-meta-one": value } });
      const { headers } = await client.get("/s3/bucket/object");
      expect(headers["x-amz-meta-one"]).toBe(value);
    }
  });
});
