import { describe, expect, it } from "vitest";
import { type CorsQuestion, corsHeaders, parseCorsRules, readingRule } from "./cors-rules.js";

const question = (changes: Partial<CorsQuestion> = {}): CorsQuestion => ({
  origin: "https://viewer.example",
  method: "GET",
  headers: [],
  ...changes,
});

function headersOf(pairs: string[] | undefined): Record<string, string> | undefined {
  if (pairs === undefined) return undefined;
  return Object.fromEntries(pairs.flatMap((name, at) => (at % 2 === 0 ? [[name.toLowerCase(), pairs[at + 1]!]] : [])));
}

const DOCUMENT = `<?xml version="1.0"?><CORSConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <CORSRule><ID>a&amp;b</ID><AllowedOrigin>https://*.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>
    <AllowedHeader>Range</AllowedHeader><AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule>
  <CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>HEAD</AllowedMethod><ExposeHeader>a: b</ExposeHeader></CORSRule>
</CORSConfiguration>`;

describe("the rules of a bucket about pages", () => {
  const rules = parseCorsRules(DOCUMENT);

  it("permit a page by the first rule that fits its origin, method and headers", () => {
    expect(headersOf(corsHeaders(rules, question({ headers: ["range", "x-amz-date"] }), true))).toEqual({
      "access-control-allow-origin": "https://viewer.example",
      "access-control-allow-methods": "GET, PUT",
      "access-control-allow-headers": "range, x-amz-date",
      "access-control-allow-credentials": "true",
      "access-control-expose-headers": "ETag",
      "access-control-max-age": "60",
      vary: "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
    });
    const head = headersOf(corsHeaders(rules, question({ method: "HEAD" }), false));
    expect(head).toMatchObject({ "access-control-allow-origin": "*", "access-control-allow-methods": "HEAD" });
    expect(Object.keys(head!)).toHaveLength(3);
  });

  it.each([
    { origin: "https://example" },
    { origin: "http://viewer.example" },
    { method: "DELETE" },
    { headers: ["authorization"] },
    { method: "HEAD", headers: ["range"] },
  ])("do not permit %j", (changes) => {
    expect(corsHeaders(rules, question(changes), true)).toBeUndefined();
  });

  it("are empty in any other document", () => {
    for (const document of ["", "<CORSRule>", "<CORSRule></CORSRule", "{}"]) expect(parseCorsRules(document)).toEqual([]);
    expect(parseCorsRules("<CORSRule></CORSRule>")).toHaveLength(1);
    expect(corsHeaders(parseCorsRules("<CORSRule></CORSRule>"), question(), false)).toBeUndefined();
  });
});

it("the rule of configured origins permits reading with any header, without credentials", () => {
  const rules = [readingRule(["https://viewer.example"])];
  const headers = headersOf(corsHeaders(rules, question({ headers: ["range", "x"] }), true));
  expect(headers).toMatchObject({
    "access-control-allow-origin": "https://viewer.example",
    "access-control-allow-headers": "range, x",
  });
  expect(headers).not.toHaveProperty("access-control-allow-credentials");
  expect(corsHeaders(rules, question({ method: "PUT" }), true)).toBeUndefined();
});
