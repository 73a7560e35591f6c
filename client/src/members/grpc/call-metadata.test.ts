import { Metadata, status } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { answeredTrailers, descriptionFrom, descriptionMetadata, isOriginTried, isUnreachable } from "./call-metadata.js";

const codes = [status.UNAVAILABLE, status.CANCELLED, status.UNKNOWN, status.INTERNAL];

describe("a failed call", () => {
  it.each(codes)("with status %i means an unreachable member, unless the member itself answered", (code) => {
    expect(isUnreachable({ code, metadata: new Metadata() })).toBe(true);
    expect(isUnreachable({ code, metadata: answeredTrailers({ isOriginTried: false, s3Code: undefined }) })).toBe(false);
  });

  it("reports in its trailers whether the origin was tried", () => {
    expect(isOriginTried({ metadata: answeredTrailers({ isOriginTried: true, s3Code: undefined }) })).toBe(true);
    expect(isOriginTried({ metadata: answeredTrailers({ isOriginTried: false, s3Code: undefined }) })).toBe(false);
    expect([isOriginTried({ metadata: new Metadata() }), isOriginTried({})]).toEqual([false, false]);
  });

  it("with any other status is the member's answer", () => {
    expect(isUnreachable({ code: status.NOT_FOUND, metadata: new Metadata() })).toBe(false);
    expect(isUnreachable({ code: status.DEADLINE_EXCEEDED, metadata: new Metadata() })).toBe(false);
  });
});

describe("an object's headers", () => {
  it.each([
    {},
    { contentType: "text/plain" },
    { contentType: "text/plain; charset=ütf-8 \u{1f600}", lastModifiedMs: 0 },
    { lastModifiedMs: 1_700_000_000_123 },
  ])("carry %j", (known) => {
    expect(descriptionFrom(descriptionMetadata({ version: "v", objectSize: 1, ...known }))).toEqual(known);
  });

  it("are ignored if they are missing or malformed", () => {
    const malformed = new Metadata();
    malformed.set("frontcache-last-modified-ms", "soon");
    expect([descriptionFrom(new Metadata()), descriptionFrom(malformed)]).toEqual([{}, {}]);
  });
});
