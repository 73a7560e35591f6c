import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { CacheError, type ErrorCode, errorTable, type ReadRangeRequest } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import { type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ObjectRead } from "../../cache/object-read.js";
import { GrpcFixture, readRequest, URL } from "../../testing/grpc-fixture.js";

const MiB = 1 << 20;

let member: GrpcFixture;

beforeEach(async () => {
  member = await GrpcFixture.open();
});

afterEach(async () => {
  await member.untilNothingIsLeft();
  await member[Symbol.asyncDispose]();
});

async function failureOf(fields: Partial<ReadRangeRequest> = {}): Promise<ServiceError> {
  return member.messagesOf(fields).then(
    () => expect.fail("the read did not fail"),
    (error) => error,
  );
}

describe("a read that fails", () => {
  const codes = Object.keys(errorTable) as ErrorCode[];

  it.each(codes)("with %s has the status of the error table, at the start, later or in the middle", async (code) => {
    member.put(2 * MiB);
    const fail = (): never => {
      throw new CacheError(code, `${URL}: what to do`, { cause: new Error("secret") });
    };
    const hooks = [
      () => (member.cache.beforeAnswer = fail),
      () => (member.cache.beforeAnswer = async () => fail()),
      () => (member.cache.beforeSlice = (offset) => (offset > 0 ? fail() : undefined)),
      () => (member.cache.beforeSlice = async (offset) => (offset > 0 ? fail() : undefined)),
    ];
    for (const hook of hooks) {
      member.cache.beforeAnswer = member.cache.beforeSlice = undefined;
      hook();
      const error = await failureOf({ version: "v1" });
      expect([error.code, error.details]).toEqual([errorTable[code].grpc, `${URL}: what to do`]);
      await member.untilNothingIsLeft();
    }
  });

  it("because the object has another version is UNAVAILABLE without a version, unless bytes were sent", async () => {
    member.put(2 * MiB);
    const fail = (): never => {
      throw new CacheError("FAILED_PRECONDITION", `${URL}: another version`);
    };
    member.cache.beforeAnswer = fail;
    expect((await failureOf()).code).toBe(status.UNAVAILABLE);
    member.cache.beforeAnswer = undefined;
    member.cache.beforeSlice = (offset) => (offset === 0 ? fail() : undefined);
    expect((await failureOf()).code).toBe(status.UNAVAILABLE);
    member.cache.beforeSlice = (offset) => (offset > 0 ? fail() : undefined);
    expect((await failureOf()).code).toBe(status.FAILED_PRECONDITION);
  });

  it("because the object was overwritten before its first byte starts again, three times at most, and not of a member's", async () => {
    member.put(2 * MiB);
    const { requests } = member.cache;
    let overwrites = 2;
    member.cache.beforeSlice = (offset) => {
      if (offset > 0 || overwrites-- === 0) return;
      member.cache.version = `v${requests.length + 1}`;
      throw new CacheError("FAILED_PRECONDITION", `${URL}: another version`);
    };
    const versions: string[] = [];
    for await (const { version } of member.client.readRange(readRequest())) if (version !== "") versions.push(version);
    expect([versions, requests.length]).toEqual([["v3"], 3]);

    for (const [fields, starts, code] of [
      [{}, 3, status.UNAVAILABLE],
      // The member that asks starts its client's read again.
      [{ forwarded: true }, 1, status.FAILED_PRECONDITION],
      [{ version: "v1" }, 1, status.FAILED_PRECONDITION],
    ] as const) {
      [requests.length, overwrites, member.cache.version] = [0, 3, "v1"];
      expect((await failureOf(fields)).code).toBe(code);
      expect(requests).toHaveLength(starts);
    }
    await member.untilNothingIsLeft();
  });

  it("with a defect hides the cause from the client and logs it", async () => {
    member.cache.beforeAnswer = () => {
      throw new TypeError("secret", { cause: new Error("deeper") });
    };
    const error = await failureOf();
    expect([error.code, error.details]).toEqual([status.INTERNAL, "unexpected failure, see the member's log"]);
    expect(member.logged).toEqual([
      expect.objectContaining({
        event: "call-failed",
        method: "ReadRange",
        code: "INTERNAL",
        cause: expect.stringMatching(/secret.*deeper/s),
      }),
    ]);
    const { requestId } = member.logged[0]!;
    await eventually(() =>
      expect(member.debugLogged).toContainEqual(expect.objectContaining({ event: "request", requestId, code: "INTERNAL" })),
    );
  });

  it("with a message of invalid Unicode still returns it", async () => {
    member.cache.beforeAnswer = () => {
      throw new CacheError("NOT_FOUND", "s3://b/\ud800: no such object");
    };
    expect((await failureOf()).details).toBe("s3://b/\ufffd: no such object");
  });

  it.each([
    [{ key: "" }, /^"" is not an object's URL: write s3:\/\/bucket\/key/],
    [{ key: "http://bucket/key" }, /is not an object's URL/],
    [{ key: "s3://bucket" }, /names no object/],
    [{ offset: Number.MAX_SAFE_INTEGER, length: 1 }, /does not end between 0 and 2\^53 - 1/],
  ])("with %j is INVALID_ARGUMENT", async (fields, message) => {
    const error = await failureOf(fields);
    expect([error.code, error.details]).toEqual([status.INVALID_ARGUMENT, expect.stringMatching(message)]);
  });

  it.each([
    [2, 2n ** 60n, /^s3:\/\/bucket\/object: offset 1152921504606847000 is not a whole number from 0 to 2\^53 - 1$/],
    [2, 2n ** 64n - 1n, /offset -1 is not a whole number/],
    [3, 2n ** 53n, /length 9007199254740992 at offset 0 does not end/],
  ])("with field %d set to %d is INVALID_ARGUMENT", async (field, value, message) => {
    const wire = new BinaryWriter()
      .uint32((1 << 3) | 2)
      .string(URL)
      .uint32(field << 3)
      .uint64(value)
      .finish();
    const call = member.client.makeServerStreamRequest(
      "/cache.CacheService/ReadRange",
      () => Buffer.from(wire),
      (bytes) => bytes,
      {},
    );
    const error = await new Promise<ServiceError>((resolve) => call.on("error", resolve).resume());
    expect([error.code, error.details]).toEqual([status.INVALID_ARGUMENT, expect.stringMatching(message)]);
  });
});

describe("an error message that is longer than trailers allow", () => {
  it("arrives truncated", async () => {
    member.cache.beforeAnswer = async () => {
      throw new CacheError("UNAVAILABLE", `${URL}: ${"\u2603".repeat(100_000)}`);
    };
    const call = member.client.readRange(readRequest());
    const error = new Promise<ServiceError>((resolve) => call.once("error", resolve));
    call.resume();
    const { code, details } = await error;
    expect([code, details.length]).toEqual([status.UNAVAILABLE, 4_000]);
  });
});

describe("a read that yields fewer bytes than announced", () => {
  it("does not end as a complete response", async () => {
    member.put(1_000);
    const whole = member.cache.open.bind(member.cache);
    member.cache.open = (request) => {
      const read = whole(request) as ObjectRead;
      return { ...read, length: read.length + 1 };
    };
    const call = member.client.readRange(readRequest());
    const error = new Promise<ServiceError>((resolve) => call.once("error", resolve));
    call.resume();
    expect(await error).toMatchObject({ code: status.INTERNAL, details: "the read ended 1 bytes too soon" });
  });
});

describe("a client that disconnects", () => {
  /** A hook that never answers, until the signal says so. */
  const hang = (signal: AbortSignal | undefined): Promise<void> =>
    new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason), { once: true }));

  it.each(["while the read is opened", "while it waits for bytes"])("%s aborts the read", async (when) => {
    member.put(2 * MiB);
    if (when.endsWith("opened")) member.cache.beforeAnswer = hang;
    else member.cache.beforeSlice = (offset, signal) => (offset > 0 ? hang(signal) : undefined);
    const call = member.client.readRange(readRequest());
    const error = new Promise<ServiceError>((resolve) => call.once("error", resolve));
    call.resume();
    await eventually(() => expect(member.cache.requests).toHaveLength(1));
    call.cancel();
    expect((await error).code).toBe(status.CANCELLED);
    await member.untilNothingIsLeft();
    expect(member.cache.requests[0]!.signal.aborted).toBe(true);
    expect(member.logged).toEqual([]);
  });

  it("before its read is open has the read closed when it opens", async () => {
    member.put(2 * MiB);
    let answer!: () => void;
    member.cache.beforeAnswer = () => new Promise((resolve) => (answer = resolve));
    const call = member.client.readRange(readRequest()).on("error", () => {});
    await eventually(() => expect(member.cache.requests).toHaveLength(1));
    call.cancel();
    await eventually(() => expect(member.listener.runningCalls).toBe(0));
    answer();
    await member.untilNothingIsLeft();
  });

  it("while it waits for bytes has them released when they arrive", async () => {
    member.put(2 * MiB);
    let arrive!: () => void;
    member.cache.beforeSlice = (offset) => (offset > 0 ? new Promise((resolve) => (arrive = resolve)) : undefined);
    const call = member.client.readRange(readRequest()).on("error", () => {});
    call.resume();
    await eventually(() => expect(arrive).toBeDefined());
    call.cancel();
    await eventually(() => expect(member.listener.runningCalls).toBe(0));
    arrive();
    await eventually(() => expect(member.cache.slicesGiven).toBe(2));
    await member.untilNothingIsLeft();
  });

  it("at its deadline gets DEADLINE_EXCEEDED, and the read is aborted", async () => {
    member.put(2 * MiB);
    member.cache.beforeAnswer = hang;
    const call = member.client.readRange(readRequest(), { deadline: Date.now() + 50 });
    const error = await new Promise<ServiceError>((resolve) => call.once("error", resolve));
    expect(error.code).toBe(status.DEADLINE_EXCEEDED);
    await member.untilNothingIsLeft();
  });

  it("after the end aborts nothing", async () => {
    member.put(10);
    await member.bytesOf();
    await member.untilNothingIsLeft();
    expect(member.cache.requests[0]!.signal.aborted).toBe(false);
  });
});
