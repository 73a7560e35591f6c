import { Metadata, status } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { answeredTrailers, isOutOfReach } from "./answered.js";

const codes = [status.UNAVAILABLE, status.CANCELLED, status.UNKNOWN, status.INTERNAL];

describe("a failed call", () => {
  it.each(codes)("with status %i means a member out of reach, unless the member answered with it", (code) => {
    expect(isOutOfReach({ code, metadata: new Metadata() })).toBe(true);
    expect(isOutOfReach({ code, metadata: answeredTrailers() })).toBe(false);
  });

  it("with any other status is the member's answer", () => {
    expect(isOutOfReach({ code: status.NOT_FOUND, metadata: new Metadata() })).toBe(false);
    expect(isOutOfReach({ code: status.DEADLINE_EXCEEDED, metadata: new Metadata() })).toBe(false);
  });
});
