import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { type Load, readLoad } from "./read-load.js";

const objects = [
  { url: "s3://bucket/a", version: "1", objectSize: 1_000 },
  { url: "s3://bucket/b", version: "2", objectSize: 25 },
];

function load(given: Partial<Load>): Load {
  return { objects, sizeBytes: 10, concurrency: 4, durationMs: 20, read: async () => 10, signal: AbortSignal.any([]), ...given };
}

describe("a read load", () => {
  it("reads aligned ranges inside the objects with the requested concurrency", async () => {
    let [running, most] = [0, 0];
    let bytes = 0;
    const report = await readLoad(
      load({
        async read({ url, objectSize }, offset, length) {
          most = Math.max(most, ++running);
          expect(offset % 10).toBe(0);
          expect(length).toBe(url.endsWith("b") && offset === 20 ? 5 : 10);
          expect(offset + length).toBeLessThanOrEqual(objectSize);
          await new Promise((resolve) => setImmediate(resolve));
          running--;
          bytes += length;
          return length;
        },
      }),
    );
    expect(most).toBe(4);
    expect((report.gigabytesPerSecond * 1e9 * report.seconds) / bytes).toBeCloseTo(1, 2);
    expect(report).toMatchObject({ errors: 0, lastError: undefined });
    expect(report.reads).toBeGreaterThanOrEqual(4);
    expect(report.p50Ms).toBeLessThanOrEqual(report.p95Ms);
    expect(report.p99Ms).toBeLessThanOrEqual(report.maxMs);
  });

  it("counts failures and continues", async () => {
    let reads = 0;
    const read = async (): Promise<number> => {
      if (++reads % 2 === 0) throw new CacheError("UNAVAILABLE", "now and then");
      return 10;
    };
    const { reads: succeeded, errors, lastError } = await readLoad(load({ read, concurrency: 2, durationMs: 5 }));
    expect(succeeded + errors).toBe(reads);
    expect(Math.abs(succeeded - errors)).toBeLessThanOrEqual(1);
    expect(lastError).toMatchObject({ code: "UNAVAILABLE" });
  });

  it("ends when it is interrupted", async () => {
    const interrupted = new AbortController();
    const read = async (): Promise<number> => {
      interrupted.abort(new CacheError("CANCELLED", "interrupted"));
      throw new CacheError("CANCELLED", "interrupted");
    };
    const ended = readLoad(load({ read, durationMs: 60_000, signal: interrupted.signal }));
    await expect(ended).rejects.toMatchObject({ code: "CANCELLED" });
  });
});
