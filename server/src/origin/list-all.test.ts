import { parsePrefixUrl } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../runtime/manual-clock.js";
import { listAll } from "./list-all.js";
import { MemoryObjects } from "./memory-objects.js";
import { MemoryOrigin } from "./memory-origin.js";

const live = new AbortController().signal;

describe("a whole listing", () => {
  it("is all objects under the prefix in order, asked for by the page", async () => {
    const objects = new MemoryObjects();
    const origin = new MemoryOrigin(objects, new ManualClock(), 1000);
    const keys = Array.from({ length: 2_500 }, (_, at) => `a/${String(at).padStart(5, "0")}`);
    for (const key of [...keys, "b"]) objects.put(`s3://bucket/${key}`, "x");
    const listed: string[] = [];
    for await (const { key } of listAll(origin, parsePrefixUrl("s3://bucket/a/"), live)) {
      if (listed.length === 0) expect(origin.count("list")).toBe(1);
      listed.push(key);
    }
    expect(listed).toEqual(keys);
    expect(origin.count("list")).toBe(3);
  });

  it("ends with an error where the store answers with the same page again and again", async () => {
    const stuck = { list: async () => ({ objects: [], prefixes: [], nextToken: "same" }) };
    const next = listAll(stuck, parsePrefixUrl("s3://bucket"), live).next();
    await expect(next).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("of a bucket that is not there is NOT_FOUND", async () => {
    const origin = new MemoryOrigin(new MemoryObjects(), new ManualClock(), 1000);
    await expect(listAll(origin, parsePrefixUrl("gs://none/a"), live).next()).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(origin.statBucket(parsePrefixUrl("gs://none"), live)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});
