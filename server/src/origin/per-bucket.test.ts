import { parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../testing/manual-clock.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { bucketOf, pageOf, rangeOf, statOf } from "../testing/origin/requests.js";
import { perBucket } from "./per-bucket.js";

function origin(urls: readonly string[]): MemoryOrigin {
  const objects = new MemoryObjects();
  for (const url of urls) objects.put(url, url);
  return new MemoryOrigin(objects, new ManualClock(), 1000);
}

describe("origins", () => {
  it("are picked by scheme and bucket, the first that fits", async () => {
    const one = origin(["s3://one/x"]);
    const logs = origin(["s3://logs-2024/x"]);
    const rest = origin(["s3://two/x"]);
    const origins = perBucket([
      { scheme: "s3", bucket: "one", origin: one },
      { scheme: "s3", bucket: "logs-*", origin: logs },
      { scheme: "s3", bucket: "*", origin: rest },
    ]);
    for (const url of ["s3://one/x", "s3://logs-2024/x", "s3://two/x"]) {
      expect(await origins.ask(statOf(parseObjectUrl(url)))).toMatchObject({ objectSize: url.length });
      (await origins.fetch(rangeOf(parseObjectUrl(url), { offset: 0, length: 1 }))).body.destroy();
    }
    for (const url of ["s3://one", "s3://logs-2024", "s3://two"]) {
      const bucket = parsePrefixUrl(url);
      await origins.ask(bucketOf(bucket));
      expect((await origins.ask(pageOf(bucket, { delimiter: "", maxKeys: 10 }))).objects).toMatchObject([{ key: "x" }]);
    }
    expect([one.calls.length, logs.calls.length, rest.calls.length]).toEqual([4, 4, 4]);
    await expect(origins.ask(statOf(parseObjectUrl("gs://one/x")))).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });
});
