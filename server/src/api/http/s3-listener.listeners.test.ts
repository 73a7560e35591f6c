import { eventually } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HttpFixture, NOTHING_LEFT } from "../../testing/http-fixture.js";
import type { RawClient } from "../../testing/raw-client.js";

let fixture: HttpFixture;
let client: RawClient;

beforeEach(async () => {
  fixture = await HttpFixture.open({ addressing: { form: "root", domains: ["s3.local"] } });
  fixture.put("s3://bucket/a/key", "0123456789");
  fixture.put("s3://livez/key", "alive");
  client = await fixture.connect();
});

afterEach(async () => {
  await client[Symbol.asyncDispose]();
  await eventually(() => expect(fixture.left()).toEqual(NOTHING_LEFT));
  await fixture[Symbol.asyncDispose]();
});

/** Sends the lines of a head as they are. */
async function answerTo(...lines: string[]) {
  client.send([...lines, "", ""].join("\r\n"));
  return client.answer(!lines[0]!.startsWith("HEAD"));
}

describe("the S3 endpoint at the root", () => {
  it("serves path style and virtual-host style on one connection", async () => {
    expect((await client.get("/bucket/a/key")).body.toString()).toBe("0123456789");
    expect((await answerTo("GET /a/key HTTP/1.1", "Host: bucket.s3.local:9000")).body.toString()).toBe("0123456789");
    expect((await answerTo("GET /bucket/a/key HTTP/1.1", "Host: [::1]:9000")).status).toBe(200);
    expect((await answerTo("HEAD / HTTP/1.1", "Host: bucket.s3.local")).status).toBe(200);
    expect((await answerTo("GET /?list-type=2 HTTP/1.1", "Host: Bucket.S3.Local")).body.toString()).toContain(
      "<Name>bucket</Name>",
    );
    expect((await client.get("/livez/key")).body.toString()).toBe("alive");
    expect((await client.get("/s3/bucket/a/key")).body.toString()).toContain("<Code>InvalidBucketName</Code>");
  });

  it("takes the host of an absolute target in place of the Host header", async () => {
    const absolute = (target: string) => answerTo(`GET ${target} HTTP/1.1`, "Host: elsewhere");
    expect((await absolute("http://member:9000/bucket/a/key")).body.toString()).toBe("0123456789");
    expect((await absolute("http://bucket.s3.local/a/key?x-id=GetObject")).body.toString()).toBe("0123456789");
  });

  it("serves requests in the fixed form of frontcache's clients, in both styles", async () => {
    const [path, virtual] = [await fixture.connect(), await fixture.connect()];
    path.send("GET /bucket/a/key HTTP/1.1\r\nHost: m:1\r\nRange: bytes=2-4\r\n\r\n");
    virtual.send("GET /a/key HTTP/1.1\r\nHost: bucket.s3.local\r\nRange: bytes=2-4\r\n\r\n");
    for (const plain of [path, virtual]) {
      const { status, body } = await plain.answer();
      expect([status, body.toString()]).toEqual([206, "234"]);
      await plain[Symbol.asyncDispose]();
    }
  });

  it.each([
    ["two Host headers", ["GET /bucket/a/key HTTP/1.1", "Host: member", "host: bucket.s3.local"]],
    ["no Host header", ["GET /bucket/a/key HTTP/1.1"]],
    ["a malformed Host header", ["GET /bucket/a/key HTTP/1.1", "Host: a/b"]],
  ])("answers %s with 400 InvalidHostHeader", async (_, lines) => {
    const { status, body } = await answerTo(...lines);
    expect([status, body.toString()]).toEqual([400, expect.stringContaining("<Code>InvalidHostHeader</Code>")]);
  });

  it("has neither pages nor probes", async () => {
    expect((await client.get("/livez")).body.toString()).toContain("<Name>livez</Name>");
    expect((await client.get("/")).body.toString()).toContain("<ListAllMyBucketsResult");
    expect((await client.get("*")).status).toBe(404);
  });
});
