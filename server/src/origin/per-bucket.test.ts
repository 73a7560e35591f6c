import { S3Client } from "@aws-sdk/client-s3";
import { CacheError, parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CACHE_ITSELF } from "../security/principal.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { bucketOf, live, pageOf, rangeOf, statOf } from "../testing/origin/requests.js";
import type { AnswerTo, Origin, OriginQuestion } from "./origin.js";
import { type BucketRoute, checkName, perBucket } from "./per-bucket.js";

function origin(urls: readonly string[]): MemoryOrigin {
  const objects = new MemoryObjects();
  for (const url of urls) objects.put(url, url);
  return new MemoryOrigin(objects, new ManualClock(), 1000);
}

describe("the choice of an origin", () => {
  it("takes the first route that matches scheme and bucket", async () => {
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

  const store = (answer: string[] | CacheError): Origin => ({
    fetch: () => Promise.reject(new Error("nothing is fetched")),
    write: () => Promise.reject(new Error("nothing is written")),
    ask: async <Q extends OriginQuestion>() => {
      if (answer instanceof CacheError) throw answer;
      return { buckets: answer.map((name) => ({ name })) } as unknown as AnswerTo<Q>;
    },
    close() {},
  });
  const bucketsOf = async (...routes: BucketRoute[]) => {
    const ref = { url: "s3://", scheme: "s3", bucket: "" } as const;
    const question = { kind: "listBuckets", ref, signal: live, principal: CACHE_ITSELF } as const;
    return (await perBucket(routes).ask(question)).buckets.map(({ name }) => name);
  };
  const refusing = store(new CacheError("PERMISSION_DENIED", "no"));

  it("lists the buckets of all origins, each where it is served from", async () => {
    const [one, two] = [store(["shared", "one-b", "hidden"]), store(["shared", "one-c", "two"])];
    const routes = [
      { scheme: "s3", bucket: "one-*", origin: one },
      { scheme: "gs", bucket: "*", origin: store(["gcs"]) },
      { scheme: "s3", bucket: "*", origin: two },
    ] as const;
    expect(await bucketsOf(...routes)).toEqual(["one-b", "shared", "two"]);
  });

  it("lists the buckets that are named if an origin refuses to list them", async () => {
    const named = { scheme: "s3", bucket: "named", origin: refusing } as const;
    expect(await bucketsOf(named, { scheme: "s3", bucket: "*", origin: store(["a"]) })).toEqual(["a", "named"]);
    await expect(bucketsOf({ scheme: "s3", bucket: "*", origin: refusing })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    const gone = store(new CacheError("UNAVAILABLE", "gone"));
    await expect(bucketsOf(named, { scheme: "s3", bucket: "*", origin: gone })).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});

const refused = (url: string): boolean => {
  try {
    checkName(parseObjectUrl(url));
    return false;
  } catch (error) {
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT" });
    return true;
  }
};

describe("a name of an object or bucket", () => {
  it.each([
    "s3://test-accessp-e0000075431d83bebde8xz5w8ijx1qzlbp3i3kuse10--op-s3/k",
    "s3://mybucket--usw2-az1--x-s3/k",
    "s3://mybucket--usw2-az1--XA-s3/k",
    "s3://a--ol-s3/k",
    "s3://a--table-s3/k",
    "s3://abc.mrap/k",
    "s3://xn--abc/k",
    "s3://lake/..",
    "s3://lake/.",
    "s3://lake/./",
    "s3://lake/../other/key",
    "s3://lake/a/../../other/key",
    "s3://lake/a//../../other/key",
    "s3://lake/a/..",
    "s3://lake/a/../",
    "gs://lake/..",
    "gs://lake/.",
  ])("is rejected if a store could take it for something else: %s", (url) => {
    expect(refused(url)).toBe(true);
  });

  it("is rejected for a bucket too, but a prefix may contain any path", () => {
    expect(() => checkName(parsePrefixUrl("s3://abc.mrap"))).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(() => checkName(parsePrefixUrl("s3://lake/../other"))).not.toThrow();
  });

  it.each([
    "s3://lake/a/../b",
    "s3://lake/./a",
    "s3://lake/a/b/..",
    "s3://lake/...",
    "s3://lake/..a/b",
    "s3://lake//",
    "s3://lake/%2e%2e/x",
    "s3://lake/..%2fx",
    "s3://a-s3alias/k",
    "s3://my.lake.example/k",
    "gs://lake/../a",
    "gs://abc.mrap/k",
  ])("is accepted if it is only unusual: %s", (url) => {
    expect(refused(url)).toBe(false);
  });

  it("sends requests to the configured endpoint only, whatever bucket and key contain", async () => {
    const sent: URL[] = [];
    const requestHandler = {
      metadata: {},
      handle(request: { protocol: string; hostname: string; path: string }) {
        sent.push(new URL(`${request.protocol}//${request.hostname}${request.path}`));
        return Promise.reject(new Error("not sent"));
      },
    };
    const { GetObjectCommand } = await import("@aws-sdk/client-s3");
    const clients = [true, false].map(
      (forcePathStyle) =>
        new S3Client({
          region: "us-east-1",
          endpoint: "http://store.example",
          forcePathStyle,
          credentials: { accessKeyId: "id", secretAccessKey: "secret" },
          requestHandler,
          maxAttempts: 1,
        }),
    );
    const ending = fc.constantFrom("", "--op-s3", "--x-s3", "-s3alias", ".com", ".mrap", "--az1--x-s3", "--ol-s3");
    const bucket = fc.tuple(fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{2,60}$/), ending).map((parts) => parts.join(""));
    const key = fc
      .array(fc.constantFrom("..", ".", "", "a", "%2e%2e", "@evil.example", "?x", "#x", "\\"), { minLength: 1, maxLength: 6 })
      .map((parts) => parts.join("/"))
      .filter((text) => text !== "");
    await fc.assert(
      fc.asyncProperty(bucket, key, async (Bucket, Key) => {
        if (!/[A-Za-z0-9]$/.test(Bucket) || refused(`s3://${Bucket}/${Key}`)) return;
        for (const [at, client] of clients.entries()) {
          await client.send(new GetObjectCommand({ Bucket, Key })).catch(() => {});
          const { hostname, pathname } = sent.pop() ?? new URL("http://store.example/");
          expect(hostname.endsWith("store.example")).toBe(true);
          // URL resolves dots as the most tolerant server would; empty segments may be merged too.
          if (at === 0) expect(pathname.replaceAll(/\/+/g, "/").startsWith(`/${Bucket}/`)).toBe(true);
        }
      }),
      { numRuns: 150 },
    );
  });

  it("is checked before a request is sent", async () => {
    const asked = () => Promise.reject(new Error("it was asked"));
    const origin: Origin = { fetch: asked, ask: asked, write: asked, close() {} };
    const origins = perBucket([{ scheme: "s3", bucket: "*", origin }]);
    const ref = parseObjectUrl("s3://lake/../other/key");
    const { signal } = new AbortController();
    await expect(origins.ask(statOf(ref, signal))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(origins.fetch(rangeOf(ref, { offset: 0, length: 1 }, signal))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });
});
