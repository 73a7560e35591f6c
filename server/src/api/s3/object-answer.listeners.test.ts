import { setImmediate as turn } from "node:timers/promises";
import { CacheError, type ErrorCode } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import { eventually } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HttpFixture, LAST_MODIFIED } from "../../testing/http-fixture.js";
import { rampBytes } from "../../testing/origin/ramp.js";
import type { RawAnswer, RawClient } from "../../testing/raw-client.js";

const OBJECT = rampBytes(0, 1000, 3);

let fixture: HttpFixture;
let client: RawClient;

beforeEach(async () => {
  ({ fixture, client } = await HttpFixture.connected({ "s3://bucket/object": OBJECT, "s3://bucket/empty": "" }));
});

afterEach(() => fixture.closeAtRest(client));

const get = (...headers: string[]): Promise<RawAnswer> => client.get("/s3/bucket/object", ...headers);

describe("a GET", () => {
  it("ends at the deadline that the client names, and has no other without one", async () => {
    let signal: AbortSignal | undefined;
    fixture.cache.beforeAnswer = (given) => {
      signal = given;
      return untilAborted(new Promise<void>(() => {}), given!);
    };
    const answer = get("frontcache-timeout-ms: 5");
    await eventually(() => expect(signal).toBeDefined());
    fixture.clock.advance(4);
    expect(signal?.aborted).toBe(false);
    fixture.clock.advance(1);
    const { status, headers } = await answer;
    expect([status, headers["frontcache-error"]]).toEqual([504, "DEADLINE_EXCEEDED"]);
    expect(signal?.aborted).toBe(true);
    fixture.cache.beforeAnswer = undefined;
    expect((await get("frontcache-timeout-ms: soon")).status).toBe(200);
    expect((await get("frontcache-timeout-ms: 60000")).status).toBe(200);
  });

  it("is answered with the object and all headers that S3 returns", async () => {
    const { status, headers, body } = await get();
    expect(status).toBe(200);
    expect(headers).toEqual({
      etag: '"v1"',
      "last-modified": LAST_MODIFIED,
      "accept-ranges": "bytes",
      "content-type": "text/plain",
      "content-length": "1000",
      "x-cache": "HIT",
      via: "1.1 frontcache",
      "server-timing": expect.stringMatching(/^cache;dur=\d+\.\d$/),
      "x-amz-request-id": expect.stringMatching(/^[0-9A-F]{16}$/),
      date: expect.any(String),
    });
    expect(body.equals(OBJECT)).toBe(true);
  });

  it.each([
    [{ result: "hit", ageMs: 12_999 }, ["HIT", "12"]],
    [{ result: "hit" }, ["HIT", undefined]],
    [{ result: "joined", ageMs: 5 }, ["MISS", undefined]],
    [{ result: "filled", ageMs: 5 }, ["MISS", undefined]],
    [{ result: "stale", ageMs: 61_000 }, ["STALE", "61"]],
    [{ result: "forwarded", forwarded: { status: "STALE", ageSeconds: 70 } }, ["STALE", "70"]],
    [{ result: "forwarded", forwarded: { status: "HIT", ageSeconds: 0 } }, ["HIT", "0"]],
    [{ result: "forwarded", forwarded: undefined }, [undefined, undefined]],
  ] as const)("reports whether and since when it is cached: %j", async (origin, expected) => {
    fixture.cache.origin = origin;
    // In the form of frontcache's own clients, which ends with the first request of another form.
    const own = await get("Range: bytes=0-9");
    const whole = await get();
    const part = await get("Range: bytes=0-9", "User-Agent: a tool");
    const member = await get("Range: bytes=0-9", "frontcache-forwarded: 1");
    for (const { headers } of [whole, part, member]) expect([headers["x-cache"], headers.age]).toEqual(expected);
    expect([own.headers["x-cache"], own.headers.age]).toEqual([undefined, undefined]);
  });

  it("has a request id of its own, by which the log at debug level has a line with what was answered", async () => {
    const ids = new Set<string>();
    for (const range of ["bytes=0-9", "bytes=10-19", "bytes=5000-"]) {
      const { headers } = await get(`Range: ${range}`);
      const requestId = headers["x-amz-request-id"]!;
      ids.add(requestId);
      await eventually(() =>
        expect(fixture.debugLogged).toContainEqual(
          expect.objectContaining({ event: "request", requestId, url: "s3://bucket/object", range, client: "127.0.0.1" }),
        ),
      );
    }
    expect(ids.size).toBe(3);
  });

  it("of a range is answered with the range, by one read and no look at the object", async () => {
    const { status, headers, body } = await get("Range: bytes=10-19");
    expect(status).toBe(206);
    expect(headers).toMatchObject({ "content-range": "bytes 10-19/1000", "content-length": "10" });
    expect(body.equals(OBJECT.subarray(10, 20))).toBe(true);
    expect(fixture.cache.requests).toMatchObject([{ offset: 10, length: 10, forwarded: false, cachedOnly: false }]);
    expect(fixture.cache.stats).toEqual([]);
  });

  it.each([
    ["bytes=0-0", 0, 1],
    ["bytes=990-", 990, 1000],
    ["bytes=990-5000", 990, 1000],
    ["bytes=990-99999999999999999999", 990, 1000],
    ["bytes=-10", 990, 1000],
    ["bytes=-5000", 0, 1000],
  ])("of %s is answered with bytes %d to %d", async (range, start, end) => {
    const { status, headers, body } = await get(`Range: ${range}`);
    expect([status, headers["content-range"]]).toEqual([206, `bytes ${start}-${end - 1}/1000`]);
    expect(body.equals(OBJECT.subarray(start, end))).toBe(true);
  });

  it.each(["bytes=1000-", "bytes=1000-2000", "bytes=99999999999999999999-", "bytes=-0"])(
    "of %s is answered with the size",
    async (range) => {
      const { status, headers, body } = await get(`Range: ${range}`);
      expect([status, headers["content-range"]]).toEqual([416, "bytes */1000"]);
      expect(body.toString()).toContain("<Code>InvalidRange</Code>");
    },
  );

  it("of an object without bytes is empty, and no range of it can be had", async () => {
    const whole = await client.get("/s3/bucket/empty");
    expect([whole.status, whole.headers["content-length"]]).toEqual([200, "0"]);
    for (const range of ["bytes=0-", "bytes=0-0", "bytes=-1"]) {
      const { status, headers } = await client.get("/s3/bucket/empty", `Range: ${range}`);
      expect([status, headers["content-range"]]).toEqual([416, "bytes */0"]);
    }
  });

  it("of a version by If-Match asks for this one", async () => {
    expect((await get('If-Match: "v1"', "Range: bytes=0-9")).status).toBe(206);
    expect(fixture.cache.stats).toEqual([]);
    const refused = await get('If-Match: "v0"', "Range: bytes=0-9");
    expect(refused.status).toBe(412);
    expect(refused.body.toString()).toContain("<Code>PreconditionFailed</Code>");
    expect((await get('If-Match: "v0"', "Range: bytes=-5")).status).toBe(412);
    expect((await get('If-Match: "v0"', "Range: bytes=5000-")).status).toBe(412);
  });

  it("that nothing has changed for reads no bytes", async () => {
    const { status, headers, body } = await get('If-None-Match: "v1"');
    expect(status).toBe(304);
    expect(headers).toMatchObject({ etag: '"v1"', "last-modified": LAST_MODIFIED });
    expect(body).toHaveLength(0);
    expect((await get("If-Unmodified-Since: Fri, 01 Nov 2024 11:00:00 GMT")).status).toBe(412);
    expect(fixture.cache.requests).toEqual([]);
  });

  it("reads the version that its conditions were compared with", async () => {
    expect((await get('If-None-Match: "v0"', "Range: bytes=-10")).status).toBe(206);
    expect(fixture.cache.requests).toMatchObject([{ version: "v1", offset: 990, length: 10 }]);
  });

  it("starts again when the object changes between the look at it and the read", async () => {
    const { cache } = fixture;
    cache.afterStat = () => {
      if (cache.stats.length > 1) return;
      cache.version = "v2";
      fixture.put("s3://bucket/object", OBJECT.subarray(0, 500));
    };
    const { status, headers } = await get("Range: bytes=-10");
    expect([status, headers.etag, headers["content-range"]]).toEqual([206, '"v2"', "bytes 490-499/500"]);
  });

  it("of an If-Range that doesn't hold is answered with the whole object", async () => {
    const stale = await get("Range: bytes=0-9", 'If-Range: "v0"');
    expect([stale.status, stale.body.length]).toEqual([200, 1000]);
    expect((await get("Range: bytes=0-9", 'If-Range: "v1"')).status).toBe(206);
    expect((await get("Range: bytes=0-9", `If-Range: ${LAST_MODIFIED}`)).status).toBe(206);
  });
});

describe("a GET that a member sends", () => {
  const FORWARDED = "frontcache-forwarded: 1";
  const CACHED_ONLY = "frontcache-cached-only: 1";

  it("reaches the cache as forwarded or cached-only, in the plain lane and beside it", async () => {
    for (const other of [[], ["User-Agent: a tool"]]) {
      const { requests } = fixture.cache;
      requests.length = 0;
      expect((await get("Range: bytes=0-9", FORWARDED, ...other)).status).toBe(206);
      expect((await get("Range: bytes=0-9", CACHED_ONLY, ...other)).status).toBe(206);
      expect((await get("Range: bytes=0-9", FORWARDED, CACHED_ONLY, ...other)).status).toBe(206);
      expect(requests.map(({ forwarded, cachedOnly }) => [forwarded, cachedOnly])).toEqual([
        [true, false],
        [false, true],
        [true, true],
      ]);
    }
  });

  it.each(["0", "", "true", "2", "1, 1", "11", "1;q=1", "\xb9", "x".repeat(6_000)])(
    "is an ordinary one when a header's value is %j",
    async (value) => {
      const answer = await get("Range: bytes=0-9", `frontcache-forwarded: ${value}`, `frontcache-cached-only: ${value}`);
      expect(answer.status).toBe(206);
      expect(fixture.cache.requests).toMatchObject([{ forwarded: false, cachedOnly: false }]);
    },
  );

  it("is an ordinary one when a header is repeated", async () => {
    expect((await get("Range: bytes=0-9", FORWARDED, FORWARDED)).status).toBe(206);
    expect(fixture.cache.requests).toMatchObject([{ forwarded: false }]);
  });

  it("gets all that the read knows of the object, and the cache is not asked for the rest", async () => {
    const known = await get("Range: bytes=0-9", FORWARDED);
    expect(known.headers).toMatchObject({
      etag: '"v1"',
      "content-range": "bytes 0-9/1000",
      "content-type": "text/plain",
      "last-modified": LAST_MODIFIED,
    });
    fixture.cache.describesReads = false;
    for (const header of [FORWARDED, CACHED_ONLY]) {
      const unknown = await get("Range: bytes=0-9", header);
      expect([unknown.status, unknown.headers["content-range"], unknown.headers.etag]).toEqual([206, "bytes 0-9/1000", '"v1"']);
      expect(unknown.headers).not.toHaveProperty("content-type");
      expect(unknown.headers).not.toHaveProperty("last-modified");
    }
    expect(fixture.cache.stats).toEqual([]);
  });

  it("gets a short 404 without a log line when the bytes are not cached", async () => {
    fixture.cache.beforeAnswer = () => {
      throw new CacheError("NOT_FOUND", "s3://bucket/object: not cached here");
    };
    const { status, headers, body } = await get("Range: bytes=0-9", CACHED_ONLY);
    expect([status, headers["frontcache-error"], body.length]).toEqual([404, "NOT_FOUND", 0]);
    expect(fixture.logged).toEqual([]);
  });

  it("gets 416 without a question for the size when the range starts past the end", async () => {
    const { status, headers } = await get("Range: bytes=1000-1009", FORWARDED);
    expect([status, headers["frontcache-error"]]).toEqual([416, "OUT_OF_RANGE"]);
    expect(fixture.cache.stats).toEqual([]);
  });

  it.each(["Range: bytes=-10", 'If-None-Match: "v0"', "If-Modified-Since: Fri, 01 Nov 2024 11:00:00 GMT"])(
    "gets 400 when it is cached-only and %s needs the object's record",
    async (header) => {
      const { status, headers } = await get(header, CACHED_ONLY);
      expect([status, headers["frontcache-error"]]).toEqual([400, "INVALID_ARGUMENT"]);
      expect(fixture.cache.stats).toEqual([]);
    },
  );

  it.each(["end", "resetAndDestroy"] as const)("leaves nothing behind when the member's socket calls %s", async (leave) => {
    fixture.cache.beforeAnswer = (signal) =>
      new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason), { once: true }));
    client.request("GET", "/s3/bucket/object", "Range: bytes=0-9", FORWARDED);
    await eventually(() => expect(fixture.left().running).toBe(1));
    client.socket[leave]();
    await client.rest();
    await turn();
    expect(fixture.logged).toEqual([]);
  });
});

describe("a HEAD", () => {
  it("has the head of the GET, and reads no bytes", async () => {
    for (const headers of [[], ["Range: bytes=10-19"], ["Range: bytes=-10"], ["Range: bytes=1000-"], ['If-None-Match: "v1"']]) {
      const { body, ...head } = await client.get("/s3/bucket/object", ...headers);
      fixture.cache.requests.length = 0;
      const bare = await client.head("/s3/bucket/object", ...headers);
      const { date, "x-amz-request-id": id, "x-cache": cached, ...expected } = head.headers;
      expect(bare).toMatchObject({ status: head.status, headers: expected });
      expect(fixture.cache.requests).toEqual([]);
    }
  });

  it.each([
    [{ ageMs: 12_999 }, ["HIT", "12"]],
    [{ ageMs: 0 }, ["MISS", undefined]],
    [{}, ["HIT", undefined]],
    [{ isStale: true, ageMs: 61_000 }, ["STALE", "61"]],
  ] as const)("reports whether the record was known, and since when: %j", async (freshness, expected) => {
    fixture.cache.statFreshness = freshness;
    const head = await client.head("/s3/bucket/object");
    expect([head.headers["x-cache"], head.headers.age]).toEqual(expected);
    if ("isStale" in freshness) {
      const suffix = await get("Range: bytes=-10");
      expect([suffix.headers["x-cache"], suffix.headers.age]).toEqual(expected);
    }
  });

  it("of nothing has the head of the error alone", async () => {
    const { status, headers } = await client.head("/s3/bucket/missing");
    expect([status, headers["content-type"]]).toEqual([404, "application/xml"]);
    expect((await client.head("/s3/bucket/object")).status).toBe(200);
  });
});

describe("the headers of an object", () => {
  const HEADERS = {
    "cache-control": "max-age=60",
    "content-encoding": "gzip",
    expires: "0",
    "x-amz-checksum-crc32": "AAAAAA==",
    "x-amz-meta-empty": "",
    "x-amz-meta-latin": "caf\xe9 \x9b",
  };
  const { "x-amz-checksum-crc32": _, ...WITHOUT_CHECKSUMS } = HEADERS;
  const MODE = "x-amz-checksum-mode: ENABLED";

  beforeEach(() => {
    const lines = Object.entries(HEADERS).map(([name, value]) => `${name}: ${value}\r\n`);
    fixture.cache.headers = lines.join("");
  });

  it.each([
    ["by Node's server", []],
    ["in the plain lane", ["Range: bytes=0-9"]],
  ])("are sent as the origin sent them, %s", async (_lane, headers) => {
    const answer = await get(...headers);
    expect(answer.headers).toMatchObject(WITHOUT_CHECKSUMS);
    expect(answer.headers).not.toHaveProperty("x-amz-checksum-crc32");
  });

  it("include checksums if the client asks for them and gets the whole object", async () => {
    expect((await get(MODE)).headers).toMatchObject(HEADERS);
    expect((await client.head("/s3/bucket/object", MODE)).headers).toMatchObject(HEADERS);
    expect(fixture.cache.stats).toMatchObject([{ checksums: true }]);
    expect((await client.head("/s3/bucket/object")).headers).not.toHaveProperty("x-amz-checksum-crc32");
    for (const range of ["Range: bytes=0-", "Range: bytes=-10"])
      expect((await get(range, MODE)).headers).not.toHaveProperty("x-amz-checksum-crc32");
  });

  it("are those of RFC 9110 alone if the object has not changed", async () => {
    const { status, headers } = await get('If-None-Match: "v1"', MODE);
    const { date, connection, "keep-alive": keepAlive, "x-amz-request-id": id, ...described } = headers;
    expect(status).toBe(304);
    const kept = { "cache-control": "max-age=60", expires: "0" };
    expect(described).toEqual({ etag: '"v1"', "last-modified": LAST_MODIFIED, ...kept });
  });

  it("are all sent to a member, with what is lacking", async () => {
    const forwarded = "frontcache-forwarded: 1";
    const { headers } = await get("Range: bytes=0-9", forwarded);
    expect(headers).toMatchObject(HEADERS);
    expect(headers).not.toHaveProperty("frontcache-lacks");
    fixture.cache.readsLack = "metadata";
    const lacking = (await get("Range: bytes=0-9", forwarded)).headers;
    expect(lacking["frontcache-lacks"]).toBe("metadata");
    expect(lacking).not.toHaveProperty("content-encoding");
    expect(fixture.cache.stats).toEqual([]);
  });

  it("are asked for if the read lacks them", async () => {
    fixture.cache.readsLack = "metadata";
    expect((await get("Range: bytes=0-9")).headers).toMatchObject(WITHOUT_CHECKSUMS);
    expect(fixture.cache.stats).toHaveLength(1);
    fixture.cache.readsLack = "checksums";
    expect((await get("Range: bytes=0-9")).status).toBe(206);
    expect(fixture.cache.stats).toHaveLength(1);
  });

  it("may be as long as S3 accepts", async () => {
    const value = "v".repeat(2_000);
    const long = Object.fromEntries([1, 2, 3, 4, 5].map((at) => [`x-amz-meta-${at}`, value]));
    fixture.cache.headers = Object.keys(long)
      .map((name) => `${name}: ${value}\r\n`)
      .join("");
    for (const headers of [[], ["Range: bytes=0-9"]]) {
      const answer = await get(...headers);
      expect(answer.headers).toMatchObject(long);
      expect(answer.body.length).toBe(headers.length === 0 ? OBJECT.length : 10);
    }
  });
});

describe("type and date that a read doesn't report", () => {
  beforeEach(() => {
    fixture.cache.describesReads = false;
  });

  it("are looked for", async () => {
    const { status, headers } = await get("Range: bytes=0-9");
    expect(status).toBe(206);
    expect(headers).toMatchObject({ etag: '"v1"', "content-type": "text/plain", "last-modified": LAST_MODIFIED });
  });

  it("are left out where they can't be had", async () => {
    fixture.cache.beforeStat = () => {
      throw new CacheError("UNAVAILABLE", "the origin is out of reach");
    };
    const { status, headers } = await get("Range: bytes=0-9");
    expect(status).toBe(206);
    expect(headers).toMatchObject({ etag: '"v1"', "content-type": "binary/octet-stream" });
    expect(headers).not.toHaveProperty("last-modified");
  });

  it("are no way around a version that no header can hold", async () => {
    fixture.cache.version = "\u2603";
    expect((await get("Range: bytes=0-9")).status).toBe(500);
    fixture.cache.beforeStat = () => {
      throw new CacheError("UNAVAILABLE", "the origin is out of reach");
    };
    expect((await get("Range: bytes=0-9")).status).toBe(500);
  });

  it("are not waited for longer than a second", async () => {
    fixture.cache.beforeStat = (signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
    const answer = get("Range: bytes=0-9");
    await eventually(() => expect(fixture.cache.stats).toHaveLength(1));
    fixture.clock.advance(1_000);
    expect((await answer).status).toBe(206);
  });

  it("are no reason to continue for a client that left", async () => {
    fixture.cache.beforeStat = (signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
    client.request("GET", "/s3/bucket/object");
    await eventually(() => expect(fixture.cache.stats).toHaveLength(1));
    client.socket.destroy();
  });

  it.each(["text/plain\r\nX-Injected: 1", "\u0100", ""])(
    "and a type that no header can contain (%j) is left out",
    async (type) => {
      fixture.cache.describesReads = true;
      fixture.cache.contentType = type;
      expect((await get()).headers).toMatchObject({ "content-type": "binary/octet-stream", "content-length": "1000" });
    },
  );
});

describe("a read whose object is overwritten before its first byte", () => {
  /** Overwrites the object before the first bytes of each of the first `times` reads. */
  function overwrite(times: number): void {
    const { cache } = fixture;
    cache.beforeSlice = () => {
      if (cache.requests.length > times) return;
      cache.version = `v${cache.requests.length + 1}`;
      fixture.put("s3://bucket/object", OBJECT.subarray(0, 1000 - 100 * cache.requests.length));
      throw new CacheError("FAILED_PRECONDITION", "s3://bucket/object: another version");
    };
  }

  it.each([
    ["the whole object", [], 200, 0],
    ["a range", ["Range: bytes=10-19"], 206, 10],
    ["the last bytes", ["Range: bytes=-800"], 206, 0],
    ["what differs from an old version", ['If-None-Match: "v1"', "Range: bytes=700-"], 206, 700],
  ] as const)("starts again with the new version: %s", async (_, headers, status, start) => {
    overwrite(2);
    if (headers[0]?.startsWith("If-None-Match") === true) fixture.cache.version = "v0";
    const answer = await get(...headers);
    const end = headers[0] === "Range: bytes=10-19" ? 20 : 800;
    expect([answer.status, answer.headers.etag]).toEqual([status, '"v3"']);
    expect(answer.body.equals(OBJECT.subarray(start, end))).toBe(true);
    expect(fixture.cache.requests).toHaveLength(3);
    expect([fixture.cache.openReads, fixture.cache.openSlices]).toEqual([0, 0]);
  });

  it("is answered with 304 if the client has the new version", async () => {
    overwrite(1);
    expect((await get('If-None-Match: "v2"')).status).toBe(304);
    expect(fixture.cache.openReads).toBe(0);
  });

  it("fails after three starts, and at once if the client named the version", async () => {
    overwrite(Number.POSITIVE_INFINITY);
    expect((await get()).status).toBe(503);
    expect(fixture.cache.requests).toHaveLength(3);
    expect((await get(`If-Match: "${fixture.cache.version}"`)).status).toBe(412);
    expect(fixture.cache.requests).toHaveLength(4);
    expect(fixture.cache.openReads).toBe(0);
  });
});

describe("a read that fails", () => {
  it("because the object has another version is answered with 412 only if the client named a version, else with 503", async () => {
    const { cache: memory } = fixture;
    const fail = (): never => {
      throw new CacheError("FAILED_PRECONDITION", "s3://bucket/object: another version");
    };
    for (const hook of [() => (memory.beforeAnswer = fail), () => (memory.beforeSlice = fail)]) {
      memory.beforeAnswer = memory.beforeSlice = undefined;
      hook();
      const answers = [await get(), await get('If-None-Match: "other"'), await get('If-Match: "v1"')];
      expect(answers.map(({ status }) => status)).toEqual([503, 503, 412]);
    }
  });

  it.each([
    ["INVALID_ARGUMENT", 400, "InvalidArgument"],
    ["UNAUTHENTICATED", 401, "AccessDenied"],
    ["PERMISSION_DENIED", 403, "AccessDenied"],
    ["NOT_FOUND", 404, "NoSuchKey"],
    ["OUT_OF_RANGE", 416, "InvalidRange"],
    ["RESOURCE_EXHAUSTED", 503, "SlowDown"],
    ["CANCELLED", 503, "ServiceUnavailable"],
    ["INTERNAL", 500, "InternalError"],
    ["UNAVAILABLE", 503, "ServiceUnavailable"],
    ["DEADLINE_EXCEEDED", 504, "RequestTimeout"],
  ] as const)("with %s is answered with %d %s, at once or later", async (code: ErrorCode, status, s3Code) => {
    const fail = (): never => {
      throw new CacheError(code, "s3://bucket/object: <what> to do", { cause: new Error("secret") });
    };
    const { cache: memory } = fixture;
    for (const hook of [
      () => (memory.beforeAnswer = fail),
      () => (memory.beforeAnswer = async () => fail()),
      () => (memory.beforeSlice = fail),
      () => (memory.beforeSlice = async () => fail()),
    ]) {
      memory.beforeAnswer = memory.beforeSlice = undefined;
      hook();
      const answer = await get();
      expect([answer.status, answer.headers["content-type"]]).toEqual([status, "application/xml"]);
      expect(answer.headers["frontcache-error"]).toBe(code);
      const xml = answer.body.toString();
      expect(xml).toContain(`<Code>${s3Code}</Code><Message>s3://bucket/object: &#60;what&#62; to do</Message>`);
      expect(xml).toContain(`<Resource>/bucket/object</Resource><RequestId>${answer.headers["x-amz-request-id"]}</RequestId>`);
      expect(xml).not.toContain("secret");
    }
  });

  it("in the middle ends the connection, because the head has been sent", async () => {
    fixture.cache.sliceBytes = 100;
    fixture.cache.beforeSlice = (offset) => {
      if (offset === 500) throw new CacheError("UNAVAILABLE", "s3://bucket/object: gone");
    };
    await expect(get()).rejects.toThrow("in the middle of a response");
    expect(fixture.logged).toMatchObject([
      {
        event: "call-failed",
        code: "UNAVAILABLE",
        url: "s3://bucket/object",
        client: "127.0.0.1",
        requestId: expect.any(String),
      },
    ]);
  });

  it("by a defect is logged with its cause, of which the client hears nothing", async () => {
    fixture.cache.beforeAnswer = () => {
      throw new TypeError("secret");
    };
    const { status, body } = await get();
    expect([status, body.toString().includes("secret")]).toEqual([500, false]);
    expect(fixture.logged).toMatchObject([{ code: "INTERNAL", cause: expect.stringContaining("secret") }]);
  });

  it("for a key that is no XML still says so in XML", async () => {
    const { body } = await client.get("/s3/bucket/%00%01%EF%BF%BF%3C");
    expect(body.toString()).toContain("<Resource>/bucket/\ufffd\ufffd\ufffd&#60;</Resource>");
  });
});
