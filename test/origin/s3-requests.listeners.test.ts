import { headerPairs, headerValue, parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { bucketOf, bytesOf, rangeOf, type S3Options, type S3Origin, statOf } from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SeenRequest } from "../emulators/faults.js";
import { S3Emulator } from "../emulators/s3.js";
import { openS3 } from "./open-s3.js";

const ref = parseObjectUrl("s3://bucket/key");
const variables = ["AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"] as const;

describe("a request of the S3 origin", () => {
  let store: S3Emulator;
  let seen: SeenRequest[];
  const opened: S3Origin[] = [];

  function open(options: Partial<S3Options> = {}): S3Origin {
    const origin = openS3(store.endpoint, options);
    opened.push(origin);
    return origin;
  }

  beforeEach(async () => {
    for (const name of variables) delete process.env[name];
    store = await S3Emulator.start();
    store.put("bucket", "key", "content");
    seen = [];
    store.faults.place({ when: (request) => seen.push(request) === 0 });
  });

  afterEach(async () => {
    for (const origin of opened.splice(0)) origin.close();
    await store.close();
  });

  it("is signed for us-east-1 by default, requests checksums only without bytes, and has a payer only if configured", async () => {
    await open().ask(statOf(ref));
    const answer = await open({ requesterPays: true }).fetch(rangeOf(ref, { offset: 0, length: 3 }));
    expect((await bytesOf(answer)).toString()).toBe("con");
    expect(seen.map(({ headers }) => headers["x-amz-request-payer"])).toEqual([undefined, "requester"]);
    expect(seen.map(({ headers }) => headers["x-amz-checksum-mode"])).toEqual(["ENABLED", undefined]);
    for (const { headers } of seen) {
      expect(headers.authorization).toContain("Credential=key/");
      expect(headers.authorization).toContain("/us-east-1/s3/");
    }
  });

  it("brings all headers of the object, as the bytes that S3 sent", async () => {
    const headers = {
      "content-encoding": "aws-chunked,gzip",
      expires: "0",
      "x-amz-checksum-crc32": "AAAAAA==",
      "x-amz-meta-latin": "caf\xe9",
      "x-amz-meta-name": "=?UTF-8?Q?M=C3=BCnchen?=",
      "x-amz-restore": 'ongoing-request="true"',
    };
    store.put("bucket", "described", "content", { headers });
    const described = parseObjectUrl("s3://bucket/described");
    const origin = open();
    const info = await origin.ask(statOf(described));
    expect(Object.fromEntries(headerPairs(info.headers!))).toEqual(headers);
    const answer = await origin.fetch(rangeOf(described, { offset: 0, length: 3 }));
    await bytesOf(answer);
    const { "x-amz-checksum-crc32": _, ...withoutChecksum } = headers;
    expect(Object.fromEntries(headerPairs(answer.info.headers!))).toEqual(withoutChecksum);
  });

  it("accepts heads of more than 16 KiB, and names the headers that it drops", async () => {
    const long = Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`x-amz-meta-${at}`, "v".repeat(1_500)]));
    store.put("bucket", "long", "content", { headers: { ...long, "content-encoding": "gzip" } });
    const dropped: string[] = [];
    const origin = open({ onDroppedHeaders: (_, names) => dropped.push(...names) });
    const described = parseObjectUrl("s3://bucket/long");
    const { headers } = await origin.ask(statOf(described));
    expect(headerValue(headers!, "content-encoding")).toBe("gzip");
    expect(dropped).toHaveLength(12);
    const answer = await origin.fetch(rangeOf(described, { offset: 0, length: 3 }));
    await bytesOf(answer);
    expect(answer.info.headers).toBe(headers);
  });

  it("is sent to AWS_ENDPOINT_URL_S3 and signed for AWS_REGION", async () => {
    process.env.AWS_ENDPOINT_URL_S3 = store.endpoint;
    process.env.AWS_REGION = "eu-west-3";
    await open({ endpoint: undefined }).ask(statOf(ref));
    expect(seen[0]!.headers.authorization).toContain("/eu-west-3/s3/");
  });

  it("answers with a bucket's region if the store names it", async () => {
    const question = bucketOf(parsePrefixUrl("s3://bucket"));
    expect(await open().ask(question)).toEqual({ region: undefined });
    store.region = "eu-central-1";
    expect(await open().ask(question)).toEqual({ region: "eu-central-1" });
  });

  it("is UNAVAILABLE, with a message of one line, if nothing listens", async () => {
    const { endpoint } = store;
    await store.close();
    const origin = open({ endpoint });
    const expected = { code: "UNAVAILABLE", message: "s3://bucket/key: the origin cannot be reached (ECONNREFUSED)" };
    await expect(origin.ask(statOf(ref))).rejects.toMatchObject(expected);
    await expect(origin.fetch(rangeOf(ref, { offset: 0, length: 1 }))).rejects.toMatchObject(expected);
    store = await S3Emulator.start();
  });
});
