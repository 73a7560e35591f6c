import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canBeTag, entityTagOf, versionOf } from "./entity-tag.js";

describe("a version as an entity tag", () => {
  it("comes back as it was", () => {
    const version = fc.string({
      unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code)),
      minLength: 1,
    });
    fc.assert(
      fc.property(fc.tuple(fc.constantFrom("", "W/"), version), ([weak, name]) => {
        if (canBeTag(weak + name)) expect(versionOf(entityTagOf(weak + name))).toBe(weak + name);
      }),
      { numRuns: 500 },
    );
    expect(entityTagOf("d41d8cd98f00b204e9800998ecf8427e-3")).toBe('"d41d8cd98f00b204e9800998ecf8427e-3"');
    expect(entityTagOf("W/abc")).toBe('W/"abc"');
  });

  it.each(["a b", 'a"b', "a\r\nHost: b", "\u0000", "\u0100", 'W/"', "W/"])("can't be made of %j", (version) => {
    expect(canBeTag(version)).toBe(false);
  });

  it.each(["v1", '"', '""', '"a b"', '"a"b"', 'w/"a"', '"a', 'a"', '"a", "b"', "*"])("is not what %j is", (etag) => {
    expect(versionOf(etag)).toBeUndefined();
  });
});
