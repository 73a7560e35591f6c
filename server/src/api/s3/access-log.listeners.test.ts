import { eventually } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HttpFixture } from "../../testing/http-fixture.js";
import type { RawClient } from "../../testing/raw-client.js";
import { accessLogged } from "./access-log.js";
import { PREFIXED } from "./request-target.js";

let fixture: HttpFixture;
let client: RawClient;
let lines: string[];

beforeEach(async () => {
  lines = [];
  ({ fixture, client } = await HttpFixture.connected(
    { "s3://bucket/a b": "0123456789" },
    { wrap: (site) => accessLogged(site, PREFIXED, (line) => lines.push(line)) },
  ));
});

afterEach(() => fixture.closeAtRest(client));

/** The fields of a line: words, times in brackets, and quoted text. */
const fieldsOf = (line: string): string[] => line.match(/"[^"]*"|\[[^\]]*\]|\S+/g)!;

async function lineOf(): Promise<string[]> {
  await eventually(() => expect(lines).toHaveLength(1));
  return fieldsOf(lines.shift()!);
}

describe("the access log", () => {
  it("has a line of 26 fields for each request, in S3's format", async () => {
    const answer = await client.get("/s3/bucket/a%20b?x=1", "Range: bytes=2-4", 'User-Agent: a "b" \u00fc', "Referer: http://x/");
    expect(answer.status).toBe(206);
    const fields = await lineOf();
    const id = answer.headers["x-amz-request-id"];
    expect(fields).toHaveLength(26);
    expect(fields.slice(0, 6)).toEqual([
      "-",
      "bucket",
      "[01/Jan/1970:00:16:40 +0000]",
      "127.0.0.1",
      "-",
      id ?? expect.any(String),
    ]);
    expect(fields.slice(6, 13)).toEqual([
      "REST.GET.OBJECT",
      "a%20b",
      '"GET /s3/bucket/a%20b?x=1 HTTP/1.1"',
      "206",
      "-",
      "3",
      "10",
    ]);
    expect(fields.slice(13, 17)).toEqual(["0", "0", '"http://x/"', '"a %22b%22 %C3%BC"']);
    expect(fields.slice(18)).toEqual(["-", "-", "-", "-", expect.any(String), "-", "-", "-"]);
  });

  it("names operations as S3 does, and codes of errors", async () => {
    const cases: [method: "GET" | "HEAD" | "PUT", target: string, operation: string, code: string][] = [
      ["HEAD", "/s3/bucket/a%20b", "REST.HEAD.OBJECT", "-"],
      ["GET", "/s3/bucket/missing", "REST.GET.OBJECT", "NoSuchKey"],
      ["GET", "/s3/bucket?list-type=2", "REST.GET.BUCKET", "-"],
      ["GET", "/s3/bucket/a%20b?tagging", "REST.GET.TAGGING", "-"],
      ["GET", "/s3/bucket?object-lock", "REST.GET.OBJECT_LOCK", "-"],
      ["PUT", "/s3/bucket/k?uploadId=a&partNumber=1", "REST.PUT.PART", "MethodNotAllowed"],
    ];
    for (const [method, target, operation, code] of cases) {
      client.request(method, target);
      await client.answer(method !== "HEAD");
      const fields = await lineOf();
      expect([target, fields[6], fields[10]]).toEqual([target, operation, code]);
    }
  });

  it("has no signature and no line of a client in it", async () => {
    const secret =
      "X-Amz-Signature=secret&X-Amz-Credential=secret&X-Amz-Security-Token=secret&Signature=secret&AWSAccessKeyId=secret";
    await client.get(`/s3/bucket/a%20b?${secret}&Expires=99999999999`);
    const line = (await lineOf()).join(" ");
    expect(line).not.toContain("secret");
    expect(line).toContain("SigV4 - QueryString");
    await client.get("/s3/bucket/%0A%22x");
    expect((await lineOf())[7]).toBe("%0A%22x");
  });

  it("has no line for pages and for requests that members forward", async () => {
    await client.get("/livez");
    await client.get("/s3/bucket/a%20b", "frontcache-forwarded: 1");
    await client.get("/s3/bucket/a%20b");
    expect((await lineOf())[11]).toBe("10");
  });
});
