import { bytesOf, rampBytes, statOf } from "@frontcache/server/testing";
import { describe, expect, it } from "vitest";
import { oddKeys } from "./odd-keys.js";
import { fails, MiB, type OriginUnderTest } from "./origin-under-test.js";

/** Bytes of ranges, and information about objects. */
export function readsContract(under: OriginUnderTest): void {
  describe("a range", () => {
    it.each([
      [0, 1],
      [0, 4096],
      [1, 4 * MiB],
      [5 * MiB - 1, 2],
      [10 * MiB + 6, 1],
      [0, 10 * MiB + 7],
    ])("of %i + %i has exactly those bytes", async (offset, length) => {
      const answer = await under.fetch("ramp", offset, length);
      expect(answer.length).toBe(length);
      expect(answer.info.objectSize).toBe(10 * MiB + 7);
      expect((await bytesOf(answer)).equals(rampBytes(offset, length, 3))).toBe(true);
    });

    it("is shorter at the object's end", async () => {
      const answer = await under.fetch("ramp", 10 * MiB, MiB);
      expect(answer.length).toBe(7);
      expect((await bytesOf(answer)).equals(rampBytes(10 * MiB, 7, 3))).toBe(true);
    });

    it("is requested exactly, by one request", async () => {
      under.store.traffic.reset();
      await bytesOf(await under.fetch("ramp", 100, 50));
      expect(under.store.traffic.gets).toMatchObject([{ key: "ramp", start: 100, end: 150, status: 206 }]);
    });

    it("is OUT_OF_RANGE at and past the end, and the message names the size", async () => {
      for (const offset of [10 * MiB + 7, 11 * MiB]) {
        await fails("OUT_OF_RANGE", () => under.fetch("ramp", offset, 1));
        await expect(under.fetch("ramp", offset, 1)).rejects.toThrow(String(10 * MiB + 7));
      }
    });

    it("is OUT_OF_RANGE for an empty object, whose information is available", async () => {
      const version = under.store.put("bucket", "empty", "");
      await fails("OUT_OF_RANGE", () => under.fetch("empty", 0, 1));
      expect(await under.origin.ask(statOf(under.ref("empty")))).toMatchObject({ objectSize: 0, version });
    });
  });

  describe("the information about an object", () => {
    it("has version, size, content type and modification time, by stat and fetch alike", async () => {
      const version = under.store.put("bucket", "typed", "hello", { contentType: "text/plain" });
      const info = await under.origin.ask(statOf(under.ref("typed")));
      expect(info).toMatchObject({ version, objectSize: 5, contentType: "text/plain" });
      expect(Math.abs(info.lastModifiedMs! - Date.now())).toBeLessThan(60_000);
      const answer = await under.fetch("typed", 1, 3);
      expect((await bytesOf(answer)).toString()).toBe("ell");
      const { lacks, headers: _, ...described } = answer.info;
      expect(info).toMatchObject(described);
      expect([lacks, info.lacks]).toEqual([under.scheme === "s3" ? "checksums" : "metadata", undefined]);
    });

    it.each(oddKeys)("is correct for the key %j, and so are its bytes", async (key) => {
      const body = `content of ${key}`;
      const version = under.store.put("bucket", key, body);
      expect(await under.origin.ask(statOf(under.ref(key)))).toMatchObject({ version, objectSize: Buffer.byteLength(body) });
      expect((await bytesOf(await under.fetch(key, 0, 1000))).toString()).toBe(body);
    });
  });
}
