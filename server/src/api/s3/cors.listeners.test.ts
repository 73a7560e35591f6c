import { afterEach, describe, expect, it } from "vitest";
import { bodyOf } from "../../origin/passed-body.js";
import { HttpFixture } from "../../testing/http-fixture.js";
import type { RawAnswer, RawClient } from "../../testing/raw-client.js";
import type { CorsOrigins } from "./cors.js";

const PAGE = "Origin: https://viewer.example";
const PREFLIGHT = [PAGE, "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: Range"];
const RULES =
  "<CORSConfiguration><CORSRule><AllowedOrigin>https://viewer.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod>" +
  "<AllowedHeader>*</AllowedHeader><ExposeHeader>ETag</ExposeHeader></CORSRule></CORSConfiguration>";

let fixture: HttpFixture;
let client: RawClient;

async function open(corsOrigins: CorsOrigins): Promise<void> {
  const objects = { "s3://bucket/object": "0123456789", "gs://bucket/object": "0123456789" };
  ({ fixture, client } = await HttpFixture.connected(objects, { corsOrigins }));
}

afterEach(() => fixture.closeAtRest(client));

async function options(target: string, ...headers: string[]): Promise<RawAnswer> {
  client.request("OPTIONS", target, ...headers);
  return client.answer();
}

const allowed = ({ headers }: RawAnswer) => headers["access-control-allow-origin"];

describe("pages of configured origins", () => {
  it("may read objects, and the errors about them, after a preflight", async () => {
    await open(() => ["*"]);
    const preflight = await options("/s3/bucket/object", ...PREFLIGHT);
    expect([preflight.status, allowed(preflight), preflight.headers["access-control-allow-headers"]]).toEqual([
      200,
      "*",
      "range",
    ]);
    for (const target of ["/s3/bucket/object", "/gs/bucket/object", "/s3/bucket/missing", "/s3/bucket/object?unknown-thing"]) {
      const answer = await client.get(target, PAGE);
      expect([target, allowed(answer)]).toEqual([target, "*"]);
      expect(answer.headers["access-control-expose-headers"]).toMatch(/ETag, Content-Range/);
    }
    expect(allowed(await client.head("/s3/bucket/object", PAGE, "Range: bytes=0-1"))).toBe("*");
    expect(allowed(await client.get("/s3/bucket/object"))).toBeUndefined();
    expect(fixture.cache.passed).toEqual([]);
  });

  it("are others per bucket", async () => {
    await open(({ scheme }) => (scheme === "gs" ? ["https://*.example"] : []));
    expect(allowed(await client.get("/gs/bucket/object", PAGE))).toBe("https://viewer.example");
    const refused = await options("/s3/bucket/object", ...PREFLIGHT);
    expect([refused.status, refused.body.toString()]).toEqual([403, expect.stringContaining("<Code>AccessForbidden</Code>")]);
    const { status, headers } = await client.get("/s3/bucket/object", PAGE);
    expect([status, headers["access-control-allow-origin"]]).toEqual([200, undefined]);
  });
});

describe("without configured origins", () => {
  it("the bucket's own rules hold, which the origin is asked for once", async () => {
    await open(() => undefined);
    const body = Buffer.from(RULES);
    fixture.cache.passedAnswer = () => ({ status: 200, headers: [], length: body.length, body: bodyOf(body) });
    expect(allowed(await options("/s3/bucket/object", ...PREFLIGHT))).toBe("https://viewer.example");
    const answer = await client.get("/s3/bucket/object", PAGE);
    expect([allowed(answer), answer.headers["access-control-expose-headers"], answer.body.toString()]).toEqual([
      "https://viewer.example",
      "ETag",
      "0123456789",
    ]);
    expect(allowed(await client.get("/s3/bucket/object", "Origin: https://other.example"))).toBeUndefined();
    expect(allowed(await client.get("/s3/bucket/object", PAGE, "Access-Control-Request-Method: TRACE"))).toBeUndefined();
    expect(fixture.cache.passed).toMatchObject([{ ref: { url: "s3://bucket" }, method: "GET", query: [["cors", ""]] }]);
    fixture.clock.advance(60_000);
    expect(allowed(await client.get("/s3/bucket/object", PAGE))).toBe("https://viewer.example");
    expect(fixture.cache.passed).toHaveLength(2);
  });

  it("reads continue without headers for pages if the origin does not answer or has no rules", async () => {
    await open(() => undefined);
    fixture.cache.passedAnswer = () => ({ status: 404, headers: [], length: 0, body: bodyOf(Buffer.alloc(0)) });
    const { status, headers } = await client.get("/s3/bucket/object", PAGE);
    expect([status, headers["access-control-allow-origin"]]).toEqual([200, undefined]);
    expect((await options("/s3/bucket/object", ...PREFLIGHT)).body.toString()).toContain("CORS is not enabled");
    fixture.cache.passedAnswer = () => {
      throw new Error("away");
    };
    expect((await client.get("/s3/other/object", PAGE)).status).toBe(404);
  });

  it("a preflight that does not say what it asks for is refused as S3 does", async () => {
    await open(() => undefined);
    for (const headers of [[], [PAGE], PREFLIGHT.slice(1)]) {
      const { status, body } = await options("/s3/bucket/object", ...headers);
      expect([status, body.toString()]).toEqual([400, expect.stringContaining("Insufficient information.")]);
    }
  });
});
