import { CacheError, type ObjectInfo, parseObjectUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { beforeEach, describe, expect, it } from "vitest";
import { ANONYMOUS } from "../../security/principal.js";
import { MemoryCache } from "../../testing/memory-cache.js";
import { describedHeaders, knownHeaders, makeHeaders } from "./object-headers.js";

const ref = parseObjectUrl("s3://bucket/object");
const read: ObjectInfo = { version: "v1", objectSize: 3, contentType: "text/plain", lastModifiedMs: 0, lacks: "metadata" };
const whole: ObjectInfo = { ...read, headers: "content-encoding: gzip\r\n" };

describe("headers that a read lacks", () => {
  let cache: MemoryCache;
  let clock: ManualClock;

  beforeEach(() => {
    cache = new MemoryCache();
    cache.objects.set(ref.url, Buffer.from("abc"));
    cache.lastModifiedMs = 0;
    cache.headers = whole.headers;
    clock = new ManualClock();
  });

  const described = (info: ObjectInfo) =>
    describedHeaders(cache, ref, info, { principal: ANONYMOUS, signal: new AbortController().signal, clock });

  it("are asked for once", async () => {
    const info = { ...read };
    expect((await described(info)).all.pairs).toContain("gzip");
    expect(knownHeaders(info)?.all.pairs).toContain("gzip");
    expect(cache.stats).toHaveLength(1);
  });

  it("are asked for again after some seconds if they could not be had", async () => {
    const info = { ...read };
    cache.beforeStat = () => {
      throw new CacheError("UNAVAILABLE", "the origin is unreachable");
    };
    for (let reads = 0; reads < 3; reads++) expect((await described(info)).all.pairs).not.toContain("gzip");
    expect(cache.stats).toHaveLength(1);
    expect(knownHeaders(info)).toBeUndefined();
    clock.advance(5_000);
    cache.beforeStat = undefined;
    expect((await described(info)).all.pairs).toContain("gzip");
    expect(cache.stats).toHaveLength(2);
  });

  it("are made once for each record", () => {
    const { lacks: _, ...info } = whole;
    expect(knownHeaders(info)).toBe(knownHeaders(info));
    expect(makeHeaders(read, read).all.pairs).not.toContain("gzip");
    expect(knownHeaders(read)).toBeUndefined();
  });
});
