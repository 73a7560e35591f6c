import { createRequire } from "node:module";
import { COMPLETION_TRAILER, CONFLICT_TRAILER, decodeCompletion } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import {
  type ClientReadableStream,
  type ClientWritableStream,
  credentials,
  type Client as GrpcClient,
  loadPackageDefinition,
  type Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GrpcFixture } from "../../testing/grpc-fixture.js";
import { patterned } from "../../testing/value-samples.js";

const URL = "cache://bucket/a/b c";

type Fields = Record<string, unknown>;
type Done = (error: ServiceError | null, answer: Fields) => void;

/** A client that knows the contract by its .proto file alone, as those in other languages do. */
interface PlainClient extends GrpcClient {
  put(done: Done): ClientWritableStream<Fields>;
  writeRange(done: Done): ClientWritableStream<Fields>;
  get(request: Fields): ClientReadableStream<Fields>;
  monitor(request: Fields): ClientReadableStream<Fields>;
}

let member: GrpcFixture;
let client: PlainClient;

beforeEach(async () => {
  member = await GrpcFixture.open();
  const file = createRequire(import.meta.url).resolve("@frontcache/proto/cache.proto");
  const definition = loadPackageDefinition(loadSync(file, { longs: Number, defaults: true }));
  const { ValueService } = definition.cache as unknown as Record<string, new (address: string, creds: unknown) => PlainClient>;
  client = new ValueService!(member.address, credentials.createInsecure());
});
afterEach(async () => {
  client.close();
  await member[Symbol.asyncDispose]();
});

/** A unary call by name. */
function call(method: string, request: Fields): Promise<Fields> {
  const send = (client as unknown as Record<string, (request: Fields, done: Done) => void>)[method]!;
  return new Promise((resolve, reject) =>
    send.call(client, request, (error, answer) => (error === null ? resolve(answer) : reject(error))),
  );
}

/** A call that sends these messages. */
function upload(method: "put" | "writeRange", messages: readonly Fields[]): Promise<Fields> {
  return new Promise((resolve, reject) => {
    const stream = client[method]((error, answer) => (error === null ? resolve(answer) : reject(error)));
    for (const message of messages) stream.write(message);
    stream.end();
  });
}

/** Messages with the bytes of a body. */
function messagesOf(data: Buffer): Fields[] {
  const pieces: Fields[] = [];
  for (let at = 0; at < data.length; at += 200_000) pieces.push({ data: data.subarray(at, at + 200_000) });
  return pieces;
}

/** The first message of a read, and all its bytes. */
async function read(request: Fields): Promise<{ value: Fields; bytes: Buffer }> {
  const pieces: Buffer[] = [];
  let value: Fields | undefined;
  for await (const message of client.get(request) as AsyncIterable<{ value: Fields | null; data: Buffer }>) {
    value ??= message.value ?? undefined;
    pieces.push(message.data);
  }
  return { value: value!, bytes: Buffer.concat(pieces) };
}

async function failureOf(work: Promise<unknown>): Promise<ServiceError> {
  return work.then(
    () => {
      throw new Error("the call succeeded");
    },
    (error: unknown) => error as ServiceError,
  );
}

describe("a plain gRPC client of values", () => {
  it("stores a value in one message, and reads it whole, in ranges, and without its bytes", async () => {
    const data = patterned(700_000);
    const description = { ttlSeconds: 60, flags: 7, metadata: { made: "by é" }, contentType: "image/png" };
    const stored = await upload("put", [{ url: URL, description, size: data.length }, ...messagesOf(data)]);
    expect(stored).toMatchObject({ url: URL, size: data.length, flags: 7, metadata: { made: "by é" }, contentType: "image/png" });
    expect(stored.expiresMs).toBe((stored.createdMs as number) + 60_000);
    const { value, bytes } = await read({ url: URL });
    expect([value, bytes.equals(data)]).toEqual([stored, true]);
    expect((await read({ url: URL, offset: 300_000, length: 5 })).bytes.equals(data.subarray(300_000, 300_005))).toBe(true);
    expect((await read({ url: URL, offset: 699_998, length: 100 })).bytes.equals(data.subarray(699_998))).toBe(true);
    expect(await call("head", { url: URL })).toEqual(stored);
  });

  it("stores a stream whose length it does not say, and an empty value", async () => {
    const data = patterned(10);
    await upload("put", [{ url: URL }, { data: data.subarray(0, 4) }, { data: data.subarray(4), last: true }]);
    expect((await read({ url: URL })).bytes.equals(data)).toBe(true);
    await upload("put", [{ url: `${URL}/empty`, size: 0 }]);
    expect(await read({ url: `${URL}/empty` })).toMatchObject({ value: { size: 0 }, bytes: Buffer.alloc(0) });
  });

  it("follows a value that another client is sending", async () => {
    const stored = new Promise<Fields>((resolve, reject) => {
      const stream = client.put((error, answer) => (error === null ? resolve(answer) : reject(error)));
      stream.write({ url: URL, data: Buffer.from("first ") });
      void (async () => {
        const { first, others } = await eventually(async () => {
          const others = client.get({ url: URL, follow: true })[Symbol.asyncIterator]() as AsyncIterator<{ data: Buffer }>;
          return { first: await others.next(), others };
        });
        stream.end({ data: Buffer.from("second"), last: true });
        const pieces: Buffer[] = [];
        for (let next = first; next.done !== true; next = await others.next()) pieces.push(next.value.data);
        expect(Buffer.concat(pieces).toString()).toBe("first second");
      })().catch(reject);
    });
    expect(await stored).toMatchObject({ size: 12 });
  });

  it("stores nothing if it cancels", async () => {
    const stream = client.put(() => {});
    stream.write({ url: URL, data: Buffer.from("begun") });
    await eventually(() => expect(member.values.stats().writers).toBe(1));
    stream.cancel();
    await eventually(() => expect(member.values.stats().writers).toBe(0));
    expect(await failureOf(call("head", { url: URL }))).toMatchObject({ code: status.NOT_FOUND });
  });

  it("is cut off with DEADLINE_EXCEEDED if it sends nothing for 20 s", async () => {
    const failed = new Promise<ServiceError>((resolve) => {
      const stream = client.put((error) => resolve(error!));
      stream.write({ url: URL, data: Buffer.from("begun") });
    });
    await eventually(() => expect(member.values.stats()).toMatchObject({ writers: 1, bytesWritten: 5 }));
    await eventually(() => expect(member.clock.waits).toBe(1));
    member.clock.advance(20_000);
    expect(await failed).toMatchObject({ code: status.DEADLINE_EXCEEDED });
    expect(member.values.stats().writers).toBe(0);
  });

  it("lists, deletes and locks", async () => {
    for (const key of ["a", "b/1", "b/2", "c"])
      await upload("put", [{ url: `cache://bucket/${key}`, size: key.length, data: Buffer.from(key) }]);
    const urlsOf = ({ values }: Fields) => (values as { url: string }[]).map(({ url }) => url);
    const page = await call("list", { bucket: "bucket", prefix: "b/", limit: 1 });
    expect([urlsOf(page), page.truncated]).toEqual([["cache://bucket/b/1"], true]);
    expect(urlsOf(await call("list", { bucket: "bucket", prefix: "", after: "b/1" }))).toEqual([
      "cache://bucket/b/2",
      "cache://bucket/c",
    ]);
    expect(await failureOf(call("list", { bucket: "bucket", limit: 1_001 }))).toMatchObject({ code: status.INVALID_ARGUMENT });
    const about = { url: "cache://bucket/c", holder: "me" };
    expect(await call("lock", { ...about, seconds: 10 })).toEqual({ endsMs: member.clock.nowMs() + 10_000 });
    const locked = await failureOf(call("delete", { url: "cache://bucket/c" }));
    expect([locked.code, locked.metadata.get(CONFLICT_TRAILER)]).toEqual([status.FAILED_PRECONDITION, ["locked"]]);
    await call("unlock", about);
    expect(await call("delete", { url: "cache://bucket/c" })).toEqual({ existed: true });
    expect(await call("delete", { url: "cache://bucket/c" })).toEqual({ existed: false });
  });

  it("uploads ranges in any order, and learns which are missing before it finalizes", async () => {
    const range = (offset: number, text: string) => upload("writeRange", [{ url: URL, offset, data: Buffer.from(text) }]);
    await call("beginUpload", { url: URL, size: 10, description: { flags: 3 } });
    expect(await failureOf(call("beginUpload", { url: URL, size: 10 }))).toMatchObject({ code: status.FAILED_PRECONDITION });
    expect(await range(6, "6789")).toMatchObject({ size: 10, presentBytes: 4, missing: [{ start: 0, end: 6 }] });
    expect(await call("describeUpload", { url: URL })).toMatchObject({ present: [{ start: 6, end: 10 }] });
    const { code, metadata } = await failureOf(call("finalizeUpload", { url: URL }));
    expect([code, metadata.get(CONFLICT_TRAILER)]).toEqual([status.FAILED_PRECONDITION, ["incomplete"]]);
    expect(decodeCompletion(metadata.get(COMPLETION_TRAILER)[0] as Buffer)).toMatchObject({ missing: [{ start: 0, end: 6 }] });
    await upload("writeRange", [{ url: URL, data: Buffer.from("012") }, { data: Buffer.from("345") }]);
    expect(await call("finalizeUpload", { url: URL, ttlSeconds: 5 })).toMatchObject({ size: 10, flags: 3 });
    expect((await read({ url: URL })).bytes.toString()).toBe("0123456789");
    expect(await failureOf(call("finalizeUpload", { url: URL }))).toMatchObject({ code: status.NOT_FOUND });
    await call("beginUpload", { url: URL, size: 1 });
    await call("abortUpload", { url: URL });
    expect(await failureOf(call("describeUpload", { url: URL }))).toMatchObject({ code: status.NOT_FOUND });
  });

  it("gets the events of keys, until it cancels", async () => {
    const monitor = client.monitor({ bucket: "bucket", prefix: "a" });
    const events: Fields[] = [];
    monitor.on("data", (event: Fields) => events.push(event)).on("error", () => {});
    await eventually(() => expect(member.values.monitors).toBe(1));
    await upload("put", [{ url: "cache://bucket/b", data: Buffer.from("b"), last: true }]);
    const value = await upload("put", [{ url: URL, data: Buffer.from("a"), last: true }]);
    await call("delete", { url: URL });
    await eventually(() => expect(events).toHaveLength(3));
    expect(events).toEqual([
      { event: "insert", url: URL, value: null },
      { event: "ready", url: URL, value },
      { event: "delete", url: URL, value: null },
    ]);
    monitor.cancel();
    await eventually(() => expect(member.values.monitors).toBe(0));
  });

  const put = (fields: Fields) => () => upload("put", [{ url: URL, data: Buffer.from("x"), last: true, ...fields }]);
  it.each<[string, status, () => Promise<unknown>]>([
    ["a call without a message", status.INVALID_ARGUMENT, () => upload("put", [])],
    ["a URL of a store", status.INVALID_ARGUMENT, put({ url: "s3://bucket/key" })],
    ["a URL without a key", status.INVALID_ARGUMENT, put({ url: "cache://bucket/" })],
    ["a key of more than 8 KiB", status.INVALID_ARGUMENT, put({ url: `cache://bucket/${"k".repeat(8_193)}` })],
    ["a size that is not the body's", status.INVALID_ARGUMENT, put({ size: 2 })],
    ["a size over the limit", status.INVALID_ARGUMENT, put({ size: 2 ** 40 + 1 })],
    ["a size that is no exact number", status.INVALID_ARGUMENT, put({ size: "18446744073709551615" })],
    ["a time to live of more than 100 years", status.INVALID_ARGUMENT, put({ description: { ttlSeconds: 3_153_600_001 } })],
    ["a stream that ends without a size and a last message", status.INVALID_ARGUMENT, put({ last: false })],
    ["a huge time to live", status.INVALID_ARGUMENT, put({ description: { ttlSeconds: "9223372036854775807" } })],
    ["a content type with a line break", status.INVALID_ARGUMENT, put({ description: { contentType: "a\r\nb: c" } })],
    ["metadata whose name is no header's", status.INVALID_ARGUMENT, put({ description: { metadata: { "a b": "" } } })],
    ["metadata of more than 2 KiB", status.INVALID_ARGUMENT, put({ description: { metadata: { a: "b".repeat(2_048) } } })],
    ["another word for while_written", status.INVALID_ARGUMENT, put({ whileWritten: "maybe" })],
    ["an upload of 0 bytes", status.INVALID_ARGUMENT, () => call("beginUpload", { url: URL, size: 0 })],
    ["a range of no upload", status.NOT_FOUND, () => upload("writeRange", [{ url: URL, data: Buffer.from("x") }])],
    ["a lock of no value", status.NOT_FOUND, () => call("lock", { url: URL, holder: "me", seconds: 1 })],
    ["a read behind the end", status.NOT_FOUND, () => read({ url: URL, offset: "18446744073709551615" })],
  ])("is told what is wrong with %s", async (_, code, work) => {
    const { code: answered, details } = await failureOf(work());
    expect([answered, details]).toEqual([code, expect.stringMatching(/.{10}/)]);
    expect(member.values.stats()).toMatchObject({ entries: 0, writers: 0 });
  });

  it("gets NOT_FOUND from a member that keeps no values, with the setting that is missing", async () => {
    member.serveWithoutValues();
    const { code, details, metadata } = await failureOf(call("head", { url: URL }));
    expect([code, details]).toEqual([status.NOT_FOUND, expect.stringContaining("--cache-bucket")]);
    expect((metadata as Metadata).get("frontcache-s3-code")).toEqual(["NoSuchBucket"]);
  });
});
