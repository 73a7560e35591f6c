import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { MESSAGE_BYTES, ReadRangeRequest } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GrpcFixture, readRequest } from "../../testing/grpc-fixture.js";

const MiB = 1 << 20;

let member: GrpcFixture;

beforeEach(async () => {
  member = await GrpcFixture.open();
});

afterEach(async () => {
  await member.untilNothingIsLeft();
  await member[Symbol.asyncDispose]();
});

describe("a read", () => {
  it.each([1, 65_535, 65_536, 65_537, MiB, 3 * MiB + 1])("of %d bytes is exact with slices of any size", async (bytes) => {
    const object = member.put(bytes);
    for (const sliceBytes of [bytes, 65_537, 700_001]) {
      member.cache.sliceBytes = sliceBytes;
      expect(object.equals(await member.bytesOf())).toBe(true);
    }
  });

  it("sends the requested range, with version and size only in the first message", async () => {
    const size = 3 * MESSAGE_BYTES;
    const length = 2 * MESSAGE_BYTES + 5;
    const object = member.put(size);
    member.cache.version = "v7";
    member.cache.sliceBytes = size;
    const messages = await member.messagesOf({ offset: 10, length, version: "v7", forwarded: true, cachedOnly: true });
    expect(messages.map(({ data, version, objectSize }) => [data.length, version, objectSize])).toEqual([
      [MESSAGE_BYTES, "v7", size],
      [MESSAGE_BYTES, "", 0],
      [5, "", 0],
    ]);
    expect(object.subarray(10, 10 + length).equals(Buffer.concat(messages.map(({ data }) => data)))).toBe(true);
    expect(member.cache.requests[0]).toMatchObject({ offset: 10, length, version: "v7", forwarded: true, cachedOnly: true });
  });

  it("has one debug log line with its own request id, its client and its result", async () => {
    member.put(100);
    await member.bytesOf({ offset: 10, length: 20 });
    await member.bytesOf();
    await eventually(() => expect(member.debugLogged.length).toBe(2));
    expect(member.debugLogged[0]).toMatchObject({
      event: "request",
      method: "ReadRange",
      url: "s3://bucket/object",
      client: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      offset: 10,
      length: 20,
      result: "hit",
      code: "OK",
    });
    expect(new Set(member.debugLogged.map(({ requestId }) => requestId)).size).toBe(2);
  });

  it("of the current version has no version in its request", async () => {
    member.put(1);
    await member.bytesOf();
    expect(member.cache.requests[0]!.version).toBeUndefined();
  });

  it("of an empty object sends one message without bytes", async () => {
    member.put(0);
    expect(await member.messagesOf()).toEqual([{ data: Buffer.alloc(0), version: "v1", objectSize: 0 }]);
  });

  it("waits for slices that are not available yet", async () => {
    const object = member.put(3 * MiB);
    member.cache.beforeSlice = () => new Promise((resolve) => setImmediate(resolve));
    expect(object.equals(await member.bytesOf())).toBe(true);
  });

  it("is served concurrently with many others", async () => {
    const object = member.put(2 * MiB);
    member.cache.sliceBytes = 300_000;
    const ranges = Array.from({ length: 16 }, (_, at) => ({ offset: at * 1_000, length: MiB + at }));
    const all = await Promise.all(ranges.map((range) => member.bytesOf(range)));
    for (const [at, { offset, length }] of ranges.entries()) {
      expect(object.subarray(offset, offset + length).equals(all[at]!)).toBe(true);
    }
  });
});

describe("a slow client", () => {
  let session: ClientHttp2Session;

  beforeEach(() => {
    session = connect(`http://${member.address}`);
  });

  afterEach(() => {
    session.destroy();
  });

  /** A ReadRange by plain HTTP/2, whose window of 65,535 bytes stays shut until the stream is read. */
  function open(): ClientHttp2Stream {
    const message = Buffer.from(ReadRangeRequest.encode(readRequest()).finish());
    const frame = Buffer.alloc(5);
    frame.writeUInt32BE(message.length, 1);
    const headers = {
      ":method": "POST",
      ":path": "/cache.CacheService/ReadRange",
      "content-type": "application/grpc",
      te: "trailers",
    };
    const stream = session.request(headers);
    stream.end(Buffer.concat([frame, message]));
    return stream;
  }

  it("makes the member take no more slices than it reads, and release the current one", async () => {
    const object = member.put(4 * MiB);
    member.cache.scarce = true;
    const stream = open();
    // Until the connection's first bytes have arrived, it has a timer, too.
    await eventually(() => expect([member.clock.waits, member.cache.slicesGiven, member.cache.openSlices]).toEqual([1, 1, 1]));
    member.clock.advance(100);
    expect([member.cache.slicesGiven, member.cache.openSlices, member.clock.waits]).toEqual([1, 0, 0]);
    expect(member.clients.sendBuffer.bytes).toBe(member.cache.sliceBytes);

    const frames: Buffer[] = [];
    for await (const chunk of stream) frames.push(chunk);
    const wire = Buffer.concat(frames);
    // Each frame has 5 bytes of gRPC and 4 of protobuf; the first also has version (2 + 2) and size (1 + 4).
    expect(wire.length).toBe(object.length + (object.length / MESSAGE_BYTES) * 9 + 9);
    expect(object.subarray(0, MESSAGE_BYTES).equals(wire.subarray(9, 9 + MESSAGE_BYTES))).toBe(true);
    expect(object.subarray(-MESSAGE_BYTES).equals(wire.subarray(-MESSAGE_BYTES))).toBe(true);
    expect(member.cache.slicesGiven).toBe(4);
    expect(member.clients.sendBuffer.bytes).toBe(0);
  });

  it("causes no copy of a mapped block", async () => {
    member.put(4 * MiB);
    member.cache.sliceBytes = 4 * MiB;
    const stream = open();
    await eventually(() => expect(member.cache.openSlices).toBe(1));
    expect(member.clock.waits).toBe(0);
    stream.close();
  });

  it("leaves nothing open when its connection is lost", async () => {
    member.put(4 * MiB);
    member.cache.scarce = true;
    open().on("error", () => {});
    await eventually(() => expect(member.clock.waits).toBe(1));
    session.destroy();
    await member.untilNothingIsLeft();
  });
});
