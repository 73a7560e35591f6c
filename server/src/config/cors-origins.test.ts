import { describe, expect, it } from "vitest";
import { corsOrigins } from "./cors-origins.js";

describe("the origins of pages", () => {
  it("are hosts with a scheme, with at most one wildcard, or all", () => {
    expect(corsOrigins.parse("*")).toEqual(["*"]);
    expect(corsOrigins.parse("https://viewer.example, http://localhost:*,https://*.example.org:8443,null")).toEqual([
      "https://viewer.example",
      "http://localhost:*",
      "https://*.example.org:8443",
      "null",
    ]);
    expect(corsOrigins.parse("")).toEqual([]);
  });

  it.each(["viewer.example", "https://a/path", "https://*.*.example", "https://", "a b", "https://a,"])("are not %s", (text) => {
    expect(() => corsOrigins.parse(text)).toThrow(/is not an origin of pages/);
  });
});
