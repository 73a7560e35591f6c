import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blockKey } from "./block.js";

describe("a block's key", () => {
  it("differs for different blocks with any URL and version", () => {
    const part = fc.string({ unit: fc.constantFrom("\n", " ", "0", "1", "s3://b/k", "\0"), maxLength: 6 });
    const id = fc.record({ url: part, version: part, offset: fc.nat(11) });
    fc.assert(
      fc.property(id, id, (one, other) => {
        const isSame = one.url === other.url && one.version === other.version && one.offset === other.offset;
        expect(blockKey(one) === blockKey(other)).toBe(isSame);
      }),
      { numRuns: 2_000 },
    );
  });

  it("cannot be forged by a version that contains the start of another URL", () => {
    const cached = { url: "s3://private/a\ns3://public/b", version: "v1", offset: 0 };
    const asked = { url: "s3://public/b", version: "v1\ns3://private/a", offset: 0 };
    expect(blockKey(asked)).not.toBe(blockKey(cached));
  });
});
