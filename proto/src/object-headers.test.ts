import { Metadata } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { fromObjectHeaders, objectHeaders } from "./object-headers.js";

describe("an object's headers", () => {
  it.each([
    {},
    { contentType: "text/plain" },
    { contentType: "text/plain; charset=ütf-8 \u{1f600}", lastModifiedMs: 0 },
    { lastModifiedMs: 1_700_000_000_123 },
  ])("carry %j", (known) => {
    expect(fromObjectHeaders(objectHeaders({ version: "v", objectSize: 1, ...known }))).toEqual(known);
  });

  it("say nothing where there are none, or wrong ones", () => {
    const wrong = new Metadata();
    wrong.set("frontcache-last-modified-ms", "soon");
    expect([fromObjectHeaders(new Metadata()), fromObjectHeaders(wrong)]).toEqual([{}, {}]);
  });
});
