import { describe, expect, it } from "vitest";
import { PinnedObject } from "./pinned-object.js";

const url = "s3://bucket/file";

describe("a pinned object", () => {
  it("learns version and size from the first answer", () => {
    const pinned = new PinnedObject(url, "");
    pinned.admit({ version: "v1", objectSize: 10 }, 0);
    expect(pinned.version).toBe("v1");
    expect(pinned.objectSize).toBe(10);
  });

  it("refuses an answer of another version than the first, or than was asked for", () => {
    const learned = new PinnedObject(url, "");
    learned.admit({ version: "v1", objectSize: 10 }, 0);
    for (const pinned of [learned, new PinnedObject(url, "v1")]) {
      expect(() => pinned.admit({ version: "v2", objectSize: 10 }, 4)).toThrow(
        expect.objectContaining({
          code: "INTERNAL",
          message: "s3://bucket/file at offset 4: asked for version v1, the answer is of version v2",
        }),
      );
    }
  });

  it("refuses an answer of another size than the first", () => {
    const pinned = new PinnedObject(url, "v1");
    pinned.admit({ version: "v1", objectSize: 10 }, 0);
    expect(() => pinned.admit({ version: "v1", objectSize: 11 }, 0)).toThrow(expect.objectContaining({ code: "INTERNAL" }));
  });

  it("refuses an answer without a version or with a size that is none", () => {
    expect(() => new PinnedObject(url, "").admit({ version: "", objectSize: 10 }, 0)).toThrow(/names no version/);
    expect(() => new PinnedObject(url, "").admit({ version: "v1", objectSize: 0.5 }, 0)).toThrow(/names 0.5 bytes/);
  });

  it("says OUT_OF_RANGE where the object ends before the answer begins", () => {
    for (const [objectSize, offset] of [
      [10, 10],
      [0, 0],
    ] as const) {
      const pinned = new PinnedObject(url, "v1");
      expect(() => pinned.admit({ version: "v1", objectSize }, offset)).toThrow(
        expect.objectContaining({ code: "OUT_OF_RANGE" }),
      );
    }
  });
});
