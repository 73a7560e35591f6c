import { parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import type { PassQuestion } from "@frontcache/server";
import {
  passOf,
  type Retry,
  rampBytes,
  retrying,
  type S3Options,
  type S3Origin,
  systemClock,
  wholeBody,
} from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { S3Emulator } from "../emulators/s3.js";
import { openS3 } from "./open-s3.js";

const MiB = 1 << 20;
const object = parseObjectUrl("s3://bucket/key");
const bucket = parsePrefixUrl("s3://bucket");

describe("a request that is passed on", () => {
  let store: S3Emulator;
  const opened: S3Origin[] = [];

  const open = (options: Partial<S3Options> = {}): S3Origin => {
    const origin = openS3(store.endpoint, options);
    opened.push(origin);
    return origin;
  };
  const textOf = async (question: PassQuestion, origin = open()) => {
    const answer = await origin.ask(question);
    return { ...answer, text: (await wholeBody(answer, question, MiB)).toString() };
  };

  beforeEach(async () => {
    store = await S3Emulator.start();
    store.put("bucket", "key", "content", { contentType: "text/plain" });
  });

  afterEach(async () => {
    for (const origin of opened.splice(0)) origin.close();
    await eventually(() => expect(store.openSockets).toBe(0));
    await store.close();
  });

  it("is answered with the store's status, headers and body", async () => {
    const whole = await textOf(passOf(object));
    expect(whole).toMatchObject({ status: 200, text: "content", length: 7 });
    expect(Object.fromEntries(whole.headers)).toMatchObject({ "content-type": "text/plain", etag: expect.any(String) });
    expect(whole.headers.map(([name]) => name)).not.toContain("content-length");
    const range = await textOf(passOf(object, { headers: [["range", "bytes=2-3"]] }));
    expect(range).toMatchObject({ status: 206, text: "nt", length: 2 });
    expect((await textOf(passOf(bucket, { query: [["location", ""]] }))).text).toContain("LocationConstraint");
  });

  it("is answered with the store's error if the store rejects it", async () => {
    expect(await textOf(passOf(parseObjectUrl("s3://bucket/nothing")))).toMatchObject({
      status: 404,
      text: expect.stringContaining("NoSuchKey"),
    });
    expect(await textOf(passOf(bucket, { query: [["acl", ""]] }))).toMatchObject({
      status: 501,
      text: expect.stringContaining("NotImplemented"),
    });
    store.faults.place({ error: { status: 403, code: "AccessDenied" } });
    expect(await textOf(passOf(object))).toMatchObject({ status: 403, text: expect.stringContaining("AccessDenied") });
  });

  it("is answered with the head alone if it is a HEAD, or not modified", async () => {
    const head = await textOf(passOf(object, { method: "HEAD" }));
    expect(head).toMatchObject({ status: 200, text: "", length: 0 });
    expect(Object.fromEntries(head.headers)).toMatchObject({ "content-length": "7" });
    const etag = Object.fromEntries(head.headers).etag!;
    expect(await textOf(passOf(object, { headers: [["if-none-match", etag]] }))).toMatchObject({ status: 304, text: "" });
    const missing = passOf(parseObjectUrl("s3://bucket/nothing"), { method: "HEAD" });
    expect(await textOf(missing)).toMatchObject({ status: 404, text: "" });
    store.traffic.reset();
    store.faults.place({ error: { status: 403, code: "AccessDenied" } });
    expect(await textOf(passOf(object, { method: "HEAD" }))).toMatchObject({ status: 403, text: "" });
    expect(store.traffic.requests).toEqual({ HEAD: 1, GET: 1 });
  });

  it.each(["GET", "HEAD"] as const)(
    "by %s is sent where a redirect leads, and signed with renewed credentials",
    async (method) => {
      store.faults.place({
        when: ({ headers }) => !headers.authorization?.includes("/ap-south-1/"),
        error: { status: 301, code: "PermanentRedirect", headers: { "x-amz-bucket-region": "ap-south-1" } },
      });
      expect(await textOf(passOf(object, { method }))).toMatchObject({ status: 200 });
      store.faults.clear();
      store.faults.place({ error: { status: 400, code: "ExpiredToken" } });
      await expect(textOf(passOf(object, { method }))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    },
  );

  it("is repeated if the store throttles or fails, and then fails", async () => {
    const retries: Retry[] = [];
    const options = {
      attempts: 3,
      baseDelayMs: 1,
      maxDelayMs: 2,
      headTimeoutMs: 60_000,
      idleTimeoutMs: 60_000,
      withFallback: { attempts: 2, headTimeoutMs: 1_000 },
      onRetry: (retry: Retry) => retries.push(retry),
    };
    const origin = retrying(options, systemClock, Math.random)(open()) as S3Origin;
    store.faults.place({ error: { status: 503, code: "SlowDown" }, times: 2 });
    expect(await textOf(passOf(object), origin)).toMatchObject({ status: 200, text: "content" });
    expect(retries.map(({ error }) => error.code)).toEqual(["RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"]);
    store.faults.place({ error: { status: 500, code: "InternalError" } });
    await expect(textOf(passOf(object), origin)).rejects.toMatchObject({ code: "UNAVAILABLE", isOriginTried: true });
  });

  it("streams a body of any length, and ends it with UNAVAILABLE if it ends early", async () => {
    store.putRamp("bucket", "large", 20 * MiB, 5);
    const large = passOf(parseObjectUrl("s3://bucket/large"));
    const answer = await open().ask(large);
    let bytes = 0;
    for await (const chunk of answer.body) {
      expect(rampBytes(bytes, chunk.length, 5).equals(chunk)).toBe(true);
      bytes += chunk.length;
    }
    expect([bytes, answer.length]).toEqual([20 * MiB, 20 * MiB]);
    store.faults.place({ body: { afterBytes: 300_000, how: "reset" } });
    const broken = await open().ask(large);
    await expect(wholeBody(broken, large, 30 * MiB)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("frees its connection when it is aborted, dropped, or longer than its reader accepts", async () => {
    store.putRamp("bucket", "large", 20 * MiB, 5);
    const large = parseObjectUrl("s3://bucket/large");
    const origin = open();
    for (let round = 0; round < 10; round++) {
      const abort = new AbortController();
      const aborted = await origin.ask(passOf(large, {}, abort.signal));
      const reading = wholeBody(aborted, passOf(large), 30 * MiB);
      abort.abort();
      await expect(reading).rejects.toMatchObject({ code: "CANCELLED" });
      (await origin.ask(passOf(large))).body.destroy();
      await expect(wholeBody(await origin.ask(passOf(large)), passOf(large), 1_000)).rejects.toMatchObject({
        code: "UNAVAILABLE",
      });
    }
    await eventually(() => expect(store.traffic.open).toBe(0));
  });
});
