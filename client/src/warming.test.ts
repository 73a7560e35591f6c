import { CacheError, MAX_REQUEST_BYTES, WarmProgress, WarmRequest } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { Unreachable, type WarmOrder } from "./members/ports.js";
import { ReadSetting } from "./testing/read-setting.js";
import type { WarmSummary } from "./warm-count.js";
import { type WarmOptions, type WarmTarget, warmObjects } from "./warming.js";

const urls = ["s3://bucket/a", "s3://bucket/b"];
const progressOf = (key: string, fields: Partial<WarmProgress>): WarmProgress => WarmProgress.fromPartial({ key, ...fields });

function fixture() {
  const setting = new ReadSetting({ version: "v1", size: 20 });
  const orders: (WarmOrder & { address: string })[] = [];
  const warm = (of: Iterable<WarmTarget> = urls, options: WarmOptions = {}) =>
    setting.clock.run(warmObjects(of, options, { ...setting.with, calls: setting.transport }, setting.call));
  return { transport: setting.transport, call: setting.call, orders, warm };
}

describe("warming", () => {
  it("sums the members' progress, and reports the totals", async () => {
    const { transport, warm } = fixture();
    transport.onWarm = async (_, order, onProgress) => {
      expect(order).toEqual({ urls, prefixes: [], version: "v1", concurrency: 4, dryRun: false });
      onProgress(progressOf(urls[0]!, { totalBytes: 20, totalBlocks: 3, doneBytes: 8, doneBlocks: 1 }));
      onProgress(progressOf(urls[1]!, { totalBytes: 5, totalBlocks: 1, doneBytes: 5, cachedBytes: 5, doneBlocks: 1 }));
      onProgress(
        progressOf(urls[1]!, { totalBytes: 5, totalBlocks: 1, doneBytes: 5, cachedBytes: 5, doneBlocks: 1, ended: true }),
      );
      const error = { error: "origin unreachable", errorCode: "UNAVAILABLE", ended: true };
      onProgress(
        progressOf(urls[0]!, { totalBytes: 20, totalBlocks: 3, doneBytes: 16, cachedBytes: 8, doneBlocks: 2, ...error }),
      );
    };
    const seen: WarmSummary[] = [];
    const summary = await warm(urls, { version: "v1", concurrency: 4, onProgress: (progress) => seen.push(progress) });
    const failure = { url: urls[0], error: new CacheError("UNAVAILABLE", "s3://bucket/a: origin unreachable") };
    expect(summary).toEqual({
      objects: 2,
      blocks: 3,
      cachedBytes: 13,
      fetchedBytes: 8,
      totalBytes: 25,
      failed: 1,
      failures: [failure],
    });
    expect(seen.map(({ objects, blocks }) => [objects, blocks])).toEqual([
      [0, 1],
      [0, 2],
      [1, 2],
      [2, 3],
    ]);
    expect(seen.at(-1)).toBe(summary);
  });

  it("resumes unfinished objects at another member if one is lost", async () => {
    const { transport, orders, warm } = fixture();
    transport.onWarm = async (address, order, onProgress) => {
      orders.push({ ...order, address });
      if (orders.length === 1) {
        onProgress(progressOf(urls[0]!, { totalBytes: 8, doneBytes: 8, doneBlocks: 1, ended: true }));
        onProgress(progressOf(urls[1]!, { totalBytes: 20, doneBytes: 8, doneBlocks: 1 }));
        throw new Unreachable("gone");
      }
      onProgress(progressOf(urls[1]!, { totalBytes: 20, doneBytes: 20, cachedBytes: 8, doneBlocks: 3, ended: true }));
    };
    expect(await warm()).toMatchObject({ objects: 2, blocks: 4, cachedBytes: 8, fetchedBytes: 20, totalBytes: 28, failed: 0 });
    expect(orders.map((order) => [order.address, order.urls])).toEqual([
      ["a:1", urls],
      ["b:1", [urls[1]]],
    ]);
  });

  it("warms all objects under a prefix, and all of them again if a member is lost", async () => {
    const { transport, orders, warm } = fixture();
    transport.onWarm = async (address, order, onProgress) => {
      orders.push({ ...order, address });
      const cachedBytes = orders.length === 1 ? 0 : 8;
      onProgress(progressOf(urls[0]!, { totalBytes: 8, doneBytes: 8, cachedBytes, doneBlocks: 1, ended: true }));
      if (orders.length === 1) throw new Unreachable("gone");
      onProgress(progressOf(urls[1]!, { totalBytes: 5, doneBytes: 5, doneBlocks: 1, ended: true }));
    };
    const summary = await warm([{ prefix: "s3://bucket/" }]);
    expect(summary).toMatchObject({ objects: 2, blocks: 2, cachedBytes: 8, fetchedBytes: 5, totalBytes: 13 });
    expect(orders).toMatchObject([
      { urls: [], prefixes: ["s3://bucket/"] },
      { urls: [], prefixes: ["s3://bucket/"] },
    ]);
  });

  it("sends at most a thousand objects per call, and a duplicate object once per call", async () => {
    const { transport, orders, warm } = fixture();
    transport.onWarm = async (address, order, onProgress) => {
      orders.push({ ...order, address });
      for (const url of order.urls) onProgress(progressOf(url, { totalBytes: 1, doneBytes: 1, doneBlocks: 1, ended: true }));
    };
    const many = Array.from({ length: 2_500 }, (_, at) => `s3://bucket/${at}`);
    expect(await warm([...many, many.at(-1)!])).toMatchObject({ objects: 2_500, fetchedBytes: 2_500 });
    expect(orders.map((order) => order.urls.length)).toEqual([1_000, 1_000, 500]);
  });

  it("lists the first thousand failures, and counts the others", async () => {
    const { transport, warm } = fixture();
    transport.onWarm = async (_, order, onProgress) => {
      for (const url of order.urls) onProgress(progressOf(url, { error: "no such object", errorCode: "NOT_FOUND", ended: true }));
    };
    const summary = await warm(Array.from({ length: 1_500 }, (_, at) => `s3://bucket/${at}`));
    expect([summary.failed, summary.failures.length, summary.failures[0]?.error.code]).toEqual([1_500, 1_000, "NOT_FOUND"]);
  });

  it("rejects invalid URLs and concurrencies", async () => {
    const { warm } = fixture();
    await expect(warm(["a"])).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(warm(urls, { concurrency: 0 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("ends with its call, and fails if a member sends no final result for an object", async () => {
    const { transport, call, warm } = fixture();
    await expect(warm()).rejects.toMatchObject({ code: "INTERNAL" });
    transport.onWarm = async () => {
      call.abort(new CacheError("CANCELLED", "enough"));
      throw new CacheError("CANCELLED", "cancelled");
    };
    await expect(warm()).rejects.toThrow("enough");
  });

  it("never sends a request larger than a member accepts", async () => {
    const { transport, warm } = fixture();
    const long = Array.from({ length: 1_000 }, (_, at) => `s3://bucket/${at}${"\u00e9".repeat(500)}`);
    const bytes: number[] = [];
    transport.onWarm = async (_, { urls: keys, prefixes, ...order }, onProgress) => {
      const request = WarmRequest.fromPartial({ ...order, keys: [...keys], prefixes: [...prefixes] });
      bytes.push(WarmRequest.encode(request).finish().length);
      for (const key of keys) onProgress(progressOf(key, { ended: true }));
    };
    expect((await warm(long)).objects).toBe(1_000);
    expect(Math.max(...bytes)).toBeLessThan(MAX_REQUEST_BYTES);
    expect(bytes.length).toBeLessThan(10);
  });
});
