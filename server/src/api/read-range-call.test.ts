import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import {
  CacheError,
  CacheServiceClient,
  type ErrorCode,
  errorTable,
  MESSAGE_BYTES,
  ReadRangeRequest,
  type ReadRangeResponse,
} from "@frontcache/proto";
import { credentials, type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ObjectRead } from "../cache/object-read.js";
import { formatHostPort } from "../config/addresses.js";
import { openDoor } from "../doors/doors.js";
import { rampBytes } from "../origin/ramp.js";
import { systemClock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import { ManualClock } from "../runtime/manual-clock.js";
import { GrpcListener } from "./grpc-listener.js";
import { Clients, noLimits } from "./limits/clients.js";
import { MemoryReader } from "./memory-reader.js";

const URL = "s3://bucket/object";
const MiB = 1 << 20;

let clock: ManualClock;
let reader: MemoryReader;
let clients: Clients;
let listener: GrpcListener;
let client: CacheServiceClient;
let logged: Record<string, unknown>[];

beforeEach(async () => {
  clock = new ManualClock();
  reader = new MemoryReader();
  logged = [];
  clients = new Clients(noLimits, systemClock);
  const take = (fields: unknown): void => void logged.push(fields as Record<string, unknown>);
  const log = { debug: take, info: take, warn: take, error: take } as unknown as Log;
  listener = await GrpcListener.open({
    listen: { host: "127.0.0.1", port: 0 },
    drainMs: 1_000,
    door: openDoor,
    clients,
    clock,
    log,
  });
  listener.serve(reader);
  client = new CacheServiceClient(formatHostPort(listener.address), credentials.createInsecure());
});

afterEach(async () => {
  client.close();
  await untilNothingIsLeft();
  const closed = listener.close();
  clock.advance(1_000);
  await closed;
});

/** Every call ended, and everything that it borrowed is back. */
async function untilNothingIsLeft(): Promise<void> {
  const nothing = { calls: 0, reads: 0, slices: 0, timers: 0 };
  const left = () => ({ calls: listener.runningCalls, reads: reader.openReads, slices: reader.openSlices, timers: clock.waits });
  await vi.waitFor(() => expect(left()).toEqual(nothing));
}

function put(bytes: number): Buffer {
  const object = rampBytes(0, bytes, 7);
  reader.objects.set(URL, object);
  return object;
}

function request(fields: Partial<ReadRangeRequest> = {}): ReadRangeRequest {
  return { key: URL, offset: 0, length: 0, version: "", forwarded: false, cachedOnly: false, ...fields };
}

async function messagesOf(fields: Partial<ReadRangeRequest> = {}): Promise<ReadRangeResponse[]> {
  const messages: ReadRangeResponse[] = [];
  for await (const message of client.readRange(request(fields))) messages.push(message);
  return messages;
}

async function bytesOf(fields: Partial<ReadRangeRequest> = {}): Promise<Buffer> {
  return Buffer.concat((await messagesOf(fields)).map((message) => message.data));
}

async function failureOf(fields: Partial<ReadRangeRequest> = {}): Promise<ServiceError> {
  return messagesOf(fields).then(
    () => expect.fail("the read did not fail"),
    (error) => error,
  );
}

describe("a read", () => {
  it.each([1, 65_535, 65_536, 65_537, MiB, 3 * MiB + 1])("of %d bytes is exact, whatever its slices are", async (bytes) => {
    const object = put(bytes);
    for (const sliceBytes of [bytes, 65_537, 700_001]) {
      reader.sliceBytes = sliceBytes;
      expect(object.equals(await bytesOf())).toBe(true);
    }
  });

  it("sends what the request says, and version and size in its first message only", async () => {
    const size = 3 * MESSAGE_BYTES;
    const length = 2 * MESSAGE_BYTES + 5;
    const object = put(size);
    reader.sliceBytes = size;
    const messages = await messagesOf({ offset: 10, length, version: "v7", forwarded: true, cachedOnly: true });
    expect(messages.map(({ data, version, objectSize }) => [data.length, version, objectSize])).toEqual([
      [MESSAGE_BYTES, "v7", size],
      [MESSAGE_BYTES, "", 0],
      [5, "", 0],
    ]);
    expect(object.subarray(10, 10 + length).equals(Buffer.concat(messages.map(({ data }) => data)))).toBe(true);
    expect(reader.requests[0]).toMatchObject({ offset: 10, length, version: "v7", forwarded: true, cachedOnly: true });
  });

  it("of the current version has no version in its request", async () => {
    put(1);
    await bytesOf();
    expect(reader.requests[0]!.version).toBeUndefined();
  });

  it("of an empty object sends one message without bytes", async () => {
    put(0);
    expect(await messagesOf()).toEqual([{ data: Buffer.alloc(0), version: "v1", objectSize: 0 }]);
  });

  it("waits for slices that are not there yet", async () => {
    const object = put(3 * MiB);
    reader.beforeSlice = () => new Promise((resolve) => setImmediate(resolve));
    expect(object.equals(await bytesOf())).toBe(true);
  });

  it("serves many readers at a time", async () => {
    const object = put(2 * MiB);
    reader.sliceBytes = 300_000;
    const ranges = Array.from({ length: 16 }, (_, at) => ({ offset: at * 1_000, length: MiB + at }));
    const all = await Promise.all(ranges.map(bytesOf));
    for (const [at, { offset, length }] of ranges.entries()) {
      expect(object.subarray(offset, offset + length).equals(all[at]!)).toBe(true);
    }
  });
});

describe("a reader that reads slowly", () => {
  let session: ClientHttp2Session;

  beforeEach(() => {
    session = connect(`http://${formatHostPort(listener.address)}`);
  });

  afterEach(() => {
    session.destroy();
  });

  /** A ReadRange by plain HTTP/2, whose window of 65,535 bytes stays shut until the stream is read. */
  function open(): ClientHttp2Stream {
    const message = Buffer.from(ReadRangeRequest.encode(request()).finish());
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

  it("makes the member take no more slices than it reads, and give back the one in hand", async () => {
    const object = put(4 * MiB);
    const stream = open();
    await vi.waitFor(() => expect(clock.waits).toBe(1));
    expect([reader.slicesGiven, reader.openSlices]).toEqual([1, 1]);
    clock.advance(100);
    expect([reader.slicesGiven, reader.openSlices, clock.waits]).toEqual([1, 0, 0]);
    expect(clients.waiting.bytes).toBe(reader.sliceBytes);

    const frames: Buffer[] = [];
    for await (const chunk of stream) frames.push(chunk);
    const wire = Buffer.concat(frames);
    // Each frame has 5 bytes of gRPC and 4 of protobuf; the first also has version (2 + 2) and size (1 + 4).
    expect(wire.length).toBe(object.length + (object.length / MESSAGE_BYTES) * 9 + 9);
    expect(object.subarray(0, MESSAGE_BYTES).equals(wire.subarray(9, 9 + MESSAGE_BYTES))).toBe(true);
    expect(object.subarray(-MESSAGE_BYTES).equals(wire.subarray(-MESSAGE_BYTES))).toBe(true);
    expect(reader.slicesGiven).toBe(4);
    expect(clients.waiting.bytes).toBe(0);
  });

  it("does not cost a copy of a mapped block", async () => {
    put(4 * MiB);
    reader.sliceBytes = 4 * MiB;
    const stream = open();
    await vi.waitFor(() => expect(reader.openSlices).toBe(1));
    expect(clock.waits).toBe(0);
    stream.close();
  });

  it("leaves nothing behind when its connection is cut", async () => {
    put(4 * MiB);
    open().on("error", () => {});
    await vi.waitFor(() => expect(clock.waits).toBe(1));
    session.destroy();
    await untilNothingIsLeft();
  });
});

describe("an error with more words than trailers hold", () => {
  it("arrives, without the last of them", async () => {
    reader.beforeAnswer = async () => {
      throw new CacheError("UNAVAILABLE", `${URL}: ${"\u2603".repeat(100_000)}`);
    };
    const call = client.readRange(request());
    const error = new Promise<ServiceError>((resolve) => call.once("error", resolve));
    call.resume();
    const { code, details } = await error;
    expect([code, details.length]).toEqual([status.UNAVAILABLE, 4_000]);
  });
});

describe("a read that brings less than it has promised", () => {
  it("is no answer that seems whole", async () => {
    put(1_000);
    const whole = reader.read.bind(reader);
    reader.read = (wanted) => {
      const read = whole(wanted) as ObjectRead;
      return { ...read, length: read.length + 1 };
    };
    const call = client.readRange(request());
    const error = new Promise<ServiceError>((resolve) => call.once("error", resolve));
    call.resume();
    expect(await error).toMatchObject({ code: status.INTERNAL, details: "the read ended 1 bytes too soon" });
  });
});

describe("a reader that leaves", () => {
  /** A hook that never answers, until the signal says so. */
  const hang = (signal: AbortSignal | undefined): Promise<void> =>
    new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason), { once: true }));

  it.each(["while the read is opened", "while it waits for bytes"])("%s stops the read", async (when) => {
    put(2 * MiB);
    if (when.endsWith("opened")) reader.beforeAnswer = hang;
    else reader.beforeSlice = (offset, signal) => (offset > 0 ? hang(signal) : undefined);
    const call = client.readRange(request());
    const error = new Promise<ServiceError>((resolve) => call.once("error", resolve));
    call.resume();
    await vi.waitFor(() => expect(reader.requests).toHaveLength(1));
    call.cancel();
    expect((await error).code).toBe(status.CANCELLED);
    await untilNothingIsLeft();
    expect(reader.requests[0]!.signal.aborted).toBe(true);
    expect(logged).toEqual([]);
  });

  it("too early has its read closed when it is opened", async () => {
    put(2 * MiB);
    let answer!: () => void;
    reader.beforeAnswer = () => new Promise((resolve) => (answer = resolve));
    const call = client.readRange(request()).on("error", () => {});
    await vi.waitFor(() => expect(reader.requests).toHaveLength(1));
    call.cancel();
    await vi.waitFor(() => expect(listener.runningCalls).toBe(0));
    answer();
    await untilNothingIsLeft();
  });

  it("while its bytes are on their way has them given back when they come", async () => {
    put(2 * MiB);
    let arrive!: () => void;
    reader.beforeSlice = (offset) => (offset > 0 ? new Promise((resolve) => (arrive = resolve)) : undefined);
    const call = client.readRange(request()).on("error", () => {});
    call.resume();
    await vi.waitFor(() => expect(arrive).toBeDefined());
    call.cancel();
    await vi.waitFor(() => expect(listener.runningCalls).toBe(0));
    arrive();
    await vi.waitFor(() => expect(reader.slicesGiven).toBe(2));
    await untilNothingIsLeft();
  });

  it("at its deadline is told so, and the read stops", async () => {
    put(2 * MiB);
    reader.beforeAnswer = hang;
    const call = client.readRange(request(), { deadline: Date.now() + 50 });
    const error = await new Promise<ServiceError>((resolve) => call.once("error", resolve));
    expect(error.code).toBe(status.DEADLINE_EXCEEDED);
    await untilNothingIsLeft();
  });

  it("after the end finds nothing aborted", async () => {
    put(10);
    await bytesOf();
    await untilNothingIsLeft();
    expect(reader.requests[0]!.signal.aborted).toBe(false);
  });
});

describe("a read that fails", () => {
  const codes = Object.keys(errorTable) as ErrorCode[];

  it.each(codes)("with %s says so by the error table, at once, later or in the middle", async (code) => {
    put(2 * MiB);
    const fail = (): never => {
      throw new CacheError(code, `${URL}: what to do`, { cause: new Error("secret") });
    };
    const hooks = [
      () => (reader.beforeAnswer = fail),
      () => (reader.beforeAnswer = async () => fail()),
      () => (reader.beforeSlice = (offset) => (offset > 0 ? fail() : undefined)),
      () => (reader.beforeSlice = async (offset) => (offset > 0 ? fail() : undefined)),
    ];
    for (const hook of hooks) {
      reader.beforeAnswer = reader.beforeSlice = undefined;
      hook();
      const error = await failureOf();
      expect([error.code, error.details]).toEqual([errorTable[code].grpc, `${URL}: what to do`]);
      await untilNothingIsLeft();
    }
  });

  it("by a defect says nothing of it to the reader, and all to the log", async () => {
    reader.beforeAnswer = () => {
      throw new TypeError("secret", { cause: new Error("deeper") });
    };
    const error = await failureOf();
    expect([error.code, error.details]).toEqual([status.INTERNAL, "unexpected failure, see the member's log"]);
    expect(logged).toEqual([
      expect.objectContaining({
        event: "call-failed",
        method: "ReadRange",
        code: "INTERNAL",
        cause: expect.stringMatching(/secret.*deeper/s),
      }),
    ]);
  });

  it("with a message that is no Unicode still says it", async () => {
    reader.beforeAnswer = () => {
      throw new CacheError("NOT_FOUND", "s3://b/\ud800: no such object");
    };
    expect((await failureOf()).details).toBe("s3://b/\ufffd: no such object");
  });

  it.each([
    [{ key: "" }, /^"" is not an object's URL: write s3:\/\/bucket\/key/],
    [{ key: "http://bucket/key" }, /is not an object's URL/],
    [{ key: "s3://bucket" }, /names no object/],
    [{ offset: Number.MAX_SAFE_INTEGER, length: 1 }, /does not end between 0 and 2\^53 - 1/],
  ])("%j is the reader's mistake", async (fields, message) => {
    const error = await failureOf(fields);
    expect([error.code, error.details]).toEqual([status.INVALID_ARGUMENT, expect.stringMatching(message)]);
  });

  it.each([
    [2, 2n ** 60n, /^s3:\/\/bucket\/object: offset 1152921504606847000 is not a whole number from 0 to 2\^53 - 1$/],
    [2, 2n ** 64n - 1n, /offset -1 is not a whole number/],
    [3, 2n ** 53n, /length 9007199254740992 at offset 0 does not end/],
  ])("field %d of %d is the reader's mistake, too", async (field, value, message) => {
    const wire = new BinaryWriter()
      .uint32((1 << 3) | 2)
      .string(URL)
      .uint32(field << 3)
      .uint64(value)
      .finish();
    const call = client.makeServerStreamRequest(
      "/cache.CacheService/ReadRange",
      () => Buffer.from(wire),
      (bytes) => bytes,
      {},
    );
    const error = await new Promise<ServiceError>((resolve) => call.on("error", resolve).resume());
    expect([error.code, error.details]).toEqual([status.INVALID_ARGUMENT, expect.stringMatching(message)]);
  });
});
