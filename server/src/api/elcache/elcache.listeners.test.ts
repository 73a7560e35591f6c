import { once } from "node:events";
import { connect } from "node:net";
import { eventually } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RawClient } from "../../testing/raw-client.js";
import { type SentRequest, ValueListener } from "../../testing/value-listener.js";
import { patterned } from "../../testing/value-samples.js";
import { elCacheSite } from "./elcache-site.js";

const MiB = 1 << 20;
const KEY_8K = "k".repeat(8_192);

let cache: ValueListener;
beforeEach(async () => {
  cache = await ValueListener.open("elcache", ({ clock }) => elCacheSite({ bucket: "elcache", clock, cluster: undefined }));
});
afterEach(() => cache[Symbol.asyncDispose]());

/** A request and what the document says about its response. */
type Line = readonly [
  line: string,
  method: string,
  path: string,
  sent: SentRequest,
  expected: { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string | RegExp },
];

/** Sends the requests in order, and compares each response with the document's. */
async function expectLines(lines: readonly Line[]): Promise<void> {
  for (const [line, method, path, sent, expected] of lines) {
    const { status, headers, body } = await cache.send(method, path, sent);
    const found = {
      line,
      status,
      headers: Object.fromEntries(Object.keys(expected.headers ?? {}).map((name) => [name, headers[name]])),
    };
    expect(found).toEqual({ line, status: expected.status, headers: expected.headers ?? {} });
    if (expected.body !== undefined) expect(body.toString()).toMatch(expected.body);
    if (status >= 400) expect([line, headers["content-type"]]).toEqual([line, "text/plain; charset=utf-8"]);
  }
}

const form = { "content-type": "text/x" };

describe("ElCache's API reference, line by line", () => {
  it("store value", async () => {
    await expectLines([
      ["PUT stores a value", "PUT", "/cache/mykey", { body: "Hello, World!" }, { status: 201, body: /^$/ }],
      ["PUT overwrites", "PUT", "/cache/mykey", { body: "Hello again" }, { status: 201 }],
      [
        "POST does the same",
        "POST",
        "/cache/mykey",
        { body: "Hello", headers: { ...form, "x-elcache-flags": "7" } },
        { status: 201 },
      ],
      ["a key may have slashes", "PUT", "/cache/a/b//c/../d", { body: "deep" }, { status: 201 }],
      ["and comes back", "GET", "/cache/a/b//c/../d", {}, { status: 200, body: /^deep$/ }],
      ["a key is required", "PUT", "/cache/", { body: "x" }, { status: 400, body: "Missing cache key" }],
      ["a key has 8 KiB at most", "PUT", `/cache/${KEY_8K}`, { body: "x" }, { status: 201 }],
      ["and not a byte more", "PUT", `/cache/${KEY_8K}k`, { body: "x" }, { status: 400, body: "Key too large" }],
      ["escaped or not", "PUT", `/cache/${"%6b".repeat(8_193)}`, { body: "x" }, { status: 400, body: "Key too large" }],
      ["a TTL is a number of seconds", "PUT", "/cache/ttl", { body: "x", headers: { "x-elcache-ttl": "3600" } }, { status: 201 }],
      ["TTL 0 never expires", "PUT", "/cache/ever", { body: "x", headers: { "x-elcache-ttl": "0" } }, { status: 201 }],
      ["a negative TTL is invalid", "PUT", "/cache/ttl", { body: "x", headers: { "x-elcache-ttl": "-1" } }, { status: 400 }],
      ["a huge TTL, too", "PUT", "/cache/ttl", { body: "x", headers: { "x-elcache-ttl": "9".repeat(19) } }, { status: 400 }],
      ["and no number", "PUT", "/cache/ttl", { body: "x", headers: { "x-elcache-ttl": "1h" } }, { status: 400 }],
      ["flags have 32 bits", "PUT", "/cache/f", { body: "x", headers: { "x-elcache-flags": "4294967296" } }, { status: 400 }],
      ["one tier may be skipped", "PUT", "/cache/t", { body: "x", headers: { "x-elcache-no-memory": "true" } }, { status: 201 }],
      [
        "not all tiers",
        "PUT",
        "/cache/t",
        { body: "x", headers: { "x-elcache-no-memory": "true", "x-elcache-no-disk": "true", "x-elcache-no-cluster": "true" } },
        { status: 500 },
      ],
      ["an empty value is a value", "PUT", "/cache/empty", { body: "" }, { status: 201 }],
      [
        "and comes back empty",
        "GET",
        "/cache/empty",
        {},
        { status: 200, headers: { "x-elcache-size": "0", "content-length": "0" } },
      ],
    ]);
  });

  it("retrieve value", async () => {
    const bytes = patterned(4 * MiB + 99);
    await cache.send("PUT", "/cache/big", { body: bytes, headers: form });
    await cache.send("PUT", "/cache/mykey", { body: "Hello World" });
    const whole = { "x-elcache-hit": "hit", "x-elcache-size": "11", "x-elcache-chunks": "1", "accept-ranges": "bytes" };
    const part = (range: string) => ({ ...whole, "content-range": `bytes ${range}/11` });
    const get = (range: string): SentRequest => ({ headers: { range } });
    await expectLines([
      [
        "whole",
        "GET",
        "/cache/mykey",
        {},
        { status: 200, headers: { ...whole, "content-type": "application/octet-stream" }, body: /^Hello World$/ },
      ],
      [
        "content type as stored",
        "GET",
        "/cache/big",
        {},
        { status: 200, headers: { "content-type": "text/x", "x-elcache-chunks": "2" } },
      ],
      ["Range: a-b", "GET", "/cache/mykey", get("bytes=0-9"), { status: 206, headers: part("0-9"), body: /^Hello Worl$/ }],
      ["Range: a-", "GET", "/cache/mykey", get("bytes=6-"), { status: 206, headers: part("6-10"), body: /^World$/ }],
      ["Range: -n", "GET", "/cache/mykey", get("bytes=-3"), { status: 206, headers: part("8-10"), body: /^rld$/ }],
      ["?range=offset-length", "GET", "/cache/mykey?range=2-3", {}, { status: 206, headers: part("2-4"), body: /^llo$/ }],
      ["the query wins", "GET", "/cache/mykey?range=0-100", get("bytes=5-6"), { status: 206, headers: part("0-10") }],
      ["length 0 is all", "GET", "/cache/mykey?range=6-0", {}, { status: 206, body: /^World$/ }],
      [
        "a range behind the end",
        "GET",
        "/cache/mykey",
        get("bytes=11-"),
        { status: 416, headers: { "content-range": "bytes */11" } },
      ],
      [
        "a suffix of nothing",
        "GET",
        "/cache/mykey",
        get("bytes=-0"),
        { status: 416, headers: { "content-range": "bytes */11" } },
      ],
      ["a query behind the end", "GET", "/cache/mykey?range=11-1", {}, { status: 416 }],
      ["a malformed query", "GET", "/cache/mykey?range=x", {}, { status: 400 }],
      ["a malformed header is ignored", "GET", "/cache/mykey", get("lines=1-2"), { status: 200 }],
      ["no value", "GET", "/cache/none", {}, { status: 404, body: "none" }],
      ["no value for a suffix", "GET", "/cache/none", get("bytes=-1"), { status: 404 }],
    ]);
    expect((await cache.send("GET", "/cache/big")).body.equals(bytes)).toBe(true);
    const middle = await cache.send("GET", "/cache/big", get(`bytes=${4 * MiB - 5}-${4 * MiB + 4}`));
    expect(middle.body.equals(bytes.subarray(4 * MiB - 5, 4 * MiB + 5))).toBe(true);
  });

  it("delete value, check metadata, options", async () => {
    await cache.send("PUT", "/cache/mykey", { body: "Hello World", headers: { "x-elcache-flags": "7" } });
    const described = { "x-elcache-size": "11", "x-elcache-chunks": "1", "content-length": "11", "accept-ranges": "bytes" };
    const allow = { allow: "GET, PUT, POST, DELETE, HEAD, OPTIONS", "accept-ranges": "bytes" };
    await expectLines([
      ["HEAD", "HEAD", "/cache/mykey", {}, { status: 200, headers: { ...described, "x-elcache-flags": "7" }, body: /^$/ }],
      ["HEAD of nothing", "HEAD", "/cache/none", {}, { status: 404 }],
      ["OPTIONS", "OPTIONS", "/cache/mykey", {}, { status: 200, headers: allow }],
      ["another method", "PATCH", "/cache/mykey", { body: "x" }, { status: 405, headers: { allow: allow.allow } }],
      ["DELETE", "DELETE", "/cache/mykey", {}, { status: 204 }],
      ["DELETE again", "DELETE", "/cache/mykey", {}, { status: 404 }],
      ["GET after DELETE", "GET", "/cache/mykey", {}, { status: 404 }],
    ]);
  });

  it("a value expires when its time to live is over", async () => {
    await cache.send("PUT", "/cache/short", { body: "x", headers: { "x-elcache-ttl": "10" } });
    cache.clock.advance(9_999);
    expect((await cache.send("GET", "/cache/short")).status).toBe(200);
    cache.clock.advance(1);
    expect((await cache.send("GET", "/cache/short")).status).toBe(404);
    expect((await cache.send("HEAD", "/cache/short")).status).toBe(404);
  });

  it("sparse writes", async () => {
    const size = (bytes: string): SentRequest => ({ headers: { "x-elcache-size": bytes } });
    const range = (text: string, body: string): SentRequest => ({ headers: { "content-range": text }, body });
    const completion = (percent: string) => ({ "x-elcache-completion": percent });
    await expectLines([
      ["the size is required", "POST", "/sparse/s/1", {}, { status: 400 }],
      ["the size is a number", "POST", "/sparse/s/1", size("many"), { status: 400 }],
      ["the size is not 0", "POST", "/sparse/s/1", size("0"), { status: 400 }],
      ["the size has a limit", "POST", "/sparse/s/1", size("9".repeat(18)), { status: 400 }],
      ["no entry yet", "GET", "/sparse/s/1", {}, { status: 404 }],
      ["write without an entry", "PATCH", "/sparse/s/1?offset=0", { body: "x" }, { status: 404 }],
      ["finalize without an entry", "POST", "/sparse/s/1/finalize", {}, { status: 404 }],
      [
        "create",
        "POST",
        "/sparse/s/1",
        { headers: { "x-elcache-size": "8", "x-elcache-ttl": "60" } },
        { status: 201, headers: { "x-elcache-size": "8" } },
      ],
      ["create again", "POST", "/sparse/s/1", size("8"), { status: 409 }],
      ["not readable yet", "GET", "/cache/s/1", {}, { status: 404 }],
      ["PATCH by Content-Range", "PATCH", "/sparse/s/1", range("bytes 0-1/8", "ab"), { status: 202, headers: completion("25%") }],
      ["PUT by offset", "PUT", "/sparse/s/1?offset=4", { body: "ef" }, { status: 202, headers: completion("50%") }],
      ["without either: at 0", "PUT", "/sparse/s/1", { body: "ABC" }, { status: 202, headers: completion("62.5%") }],
      ["an overlap counts once", "PATCH", "/sparse/s/1?offset=0", { body: "ab" }, { status: 202, headers: completion("62.5%") }],
      ["an empty body", "PATCH", "/sparse/s/1?offset=0", { body: "" }, { status: 400, body: "Request body is empty" }],
      ["no body", "PATCH", "/sparse/s/1?offset=0", {}, { status: 400, body: "Request body is empty" }],
      [
        "an empty body in chunks",
        "PATCH",
        "/sparse/s/1?offset=0",
        { headers: { "transfer-encoding": "chunked" } },
        { status: 400 },
      ],
      ["beyond the size", "PATCH", "/sparse/s/1", range("bytes 6-8/8", "ghi"), { status: 400 }],
      ["from beyond the size", "PATCH", "/sparse/s/1?offset=9007199254740991", { body: "x" }, { status: 400 }],
      ["malformed range", "PATCH", "/sparse/s/1", range("bytes x-1/8", "a"), { status: 400 }],
      ["other unit", "PATCH", "/sparse/s/1", range("lines 0-1/8", "a"), { status: 400 }],
      ["malformed offset", "PATCH", "/sparse/s/1?offset=-1", { body: "a" }, { status: 400 }],
      [
        "status",
        "GET",
        "/sparse/s/1",
        {},
        { status: 200, body: /"key": "s\/1",\s+"total_size": 8,\s+"completion_percent": 62.5,\s+"complete": false/ },
      ],
      ["finalize too early", "POST", "/sparse/s/1/finalize", {}, { status: 409, headers: completion("62.5%") }],
      ["the rest, in another order", "PATCH", "/sparse/s/1?offset=6", { body: "gh" }, { status: 202 }],
      ["the rest", "PATCH", "/sparse/s/1", range("bytes 3-3/*", "d"), { status: 202, headers: completion("100%") }],
      ["complete", "GET", "/sparse/s/1", {}, { status: 200, body: /"completion_percent": 100,\s+"complete": true/ }],
      ["finalize", "POST", "/sparse/s/1/finalize", {}, { status: 201 }],
      ["finalize twice", "POST", "/sparse/s/1/finalize", {}, { status: 404 }],
      ["readable", "GET", "/cache/s/1", {}, { status: 200, body: /^abCdefgh$/ }],
      ["abort", "DELETE", "/sparse/s/1", {}, { status: 204 }],
      ["create after finalize", "POST", "/sparse/s/1", size("3"), { status: 201 }],
      ["abort it", "DELETE", "/sparse/s/1", {}, { status: 204 }],
      ["it is gone", "GET", "/sparse/s/1", {}, { status: 404 }],
      ["the value is not", "GET", "/cache/s/1", {}, { status: 200 }],
      ["a key is required", "POST", "/sparse/", size("3"), { status: 400 }],
      ["another method", "OPTIONS", "/sparse/s/1", {}, { status: 405 }],
    ]);
    cache.clock.advance(60_000);
    expect((await cache.send("GET", "/cache/s/1")).status).toBe(404);
  });

  it("administration", async () => {
    await cache.send("PUT", "/cache/a", { body: "12345" });
    await cache.send("GET", "/cache/a");
    await cache.send("GET", "/cache/b");
    const json = async (path: string, headers = {}) => JSON.parse((await cache.send("GET", path, { headers })).body.toString());
    expect(await json("/health")).toEqual({ status: "healthy" });
    expect(await json("/stats")).toEqual({
      hits: 1,
      misses: 1,
      partial_hits: 0,
      bytes_read: 5,
      bytes_written: 5,
      evictions: 0,
      entry_count: 1,
      size_bytes: 5,
      capacity_bytes: cache.values.capacityBytes,
      hit_rate_percent: 50,
    });
    expect([await json("/cluster"), await json("/cluster/nodes")]).toEqual([{ mode: "standalone" }, { mode: "standalone" }]);
    expect(await json("/metrics", { accept: "application/json" })).toMatchObject({ elcache_cache_hits_total: 1 });
    await expectLines([
      [
        "Prometheus",
        "GET",
        "/metrics",
        {},
        {
          status: 200,
          headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
          body: /elcache_get_latency_ms_bucket{le="\+Inf"} 1\n/,
        },
      ],
      ["anything else", "GET", "/else", {}, { status: 404, body: "Endpoint not found" }],
      ["other methods", "POST", "/stats", {}, { status: 405 }],
      ["a probe of Kubernetes", "GET", "/readyz", {}, { status: 200 }],
    ]);
    cache.notReadyReasons = ["this member is shutting down"];
    expect((await cache.send("GET", "/health")).status).toBe(503);
  });
});

it("reports the members of a cluster", async () => {
  const volumes = [{ limitBytes: 100, usedBytes: 7 }];
  const report = {
    members: [
      { name: "a", state: "ready", report: { volumes } },
      { name: "b", state: "ready", report: { volumes } },
      { name: "c", state: "unreachable" },
    ],
  } as never;
  await using member = await ValueListener.open("elcache", ({ clock }) =>
    elCacheSite({ bucket: "elcache", clock, cluster: async () => report }),
  );
  expect(JSON.parse((await member.send("GET", "/cluster")).body.toString())).toEqual({
    mode: "cluster",
    total_nodes: 3,
    active_nodes: 2,
    total_memory_capacity: 0,
    total_disk_capacity: 200,
    total_memory_used: 0,
    total_disk_used: 14,
  });
});

it("answers simple GETs on a connection that stays open, whole and in ranges", async () => {
  await cache.send("PUT", "/cache/a", { body: "Hello World" });
  await using client = await RawClient.connect(cache.port);
  for (const [header, status, body] of [
    ["Accept: */*", 200, "Hello World"],
    ["Range: bytes=0-4", 206, "Hello"],
  ] as const) {
    const answer = await client.get("/cache/a", header);
    expect([answer.status, answer.body.toString()]).toEqual([status, body]);
  }
  expect((await client.get("/cache/none", "Accept: */*")).status).toBe(404);
});

it("keeps nothing of a value whose writer disconnects before its end", async () => {
  const socket = connect(cache.port, "127.0.0.1").on("error", () => {});
  await once(socket, "connect");
  socket.write("PUT /cache/half HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
  await eventually(() => expect(cache.values.stats().writers).toBe(1));
  socket.destroy();
  await eventually(() => expect(cache.values.stats().writers).toBe(0));
  expect((await cache.send("GET", "/cache/half")).status).toBe(404);
});

it("ends a writer that stalls", async () => {
  const socket = connect(cache.port, "127.0.0.1").on("error", () => {});
  await once(socket, "connect");
  socket.write("PUT /cache/stalled HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
  await eventually(() => expect(cache.values.stats().writers).toBe(1));
  const answered = once(socket, "data");
  await eventually(() => {
    cache.clock.advance(20_000);
    expect(cache.values.stats().writers).toBe(0);
  });
  expect(String((await answered)[0])).toMatch(/^HTTP\/1\.1 408 /);
  socket.destroy();
});

it("refuses a malformed key and a body that is longer than announced", async () => {
  expect((await cache.send("GET", "/cache/%zz")).status).toBe(400);
  expect((await cache.send("GET", "/cache/%ff")).status).toBe(400);
  expect((await cache.send("GET", `/cache/${"k".repeat(60_000)}`).catch(({ code }) => ({ status: code }))).status).toBeOneOf([
    431,
    "ECONNRESET",
    "EPIPE",
  ]);
});

it("lets only one of two clients that finalize an upload at once succeed", async () => {
  await cache.send("POST", "/sparse/two", { headers: { "x-elcache-size": "1" } });
  await cache.send("PATCH", "/sparse/two", { body: "x" });
  const answers = await Promise.all([1, 2].map(() => cache.send("POST", "/sparse/two/finalize")));
  expect(answers.map(({ status }) => status).sort()).toEqual([201, 404]);
  expect((await cache.send("GET", "/cache/two")).body.toString()).toBe("x");
});
