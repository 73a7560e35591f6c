import { CacheError } from "@frontcache/proto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ramp } from "../../testing/ramp.js";
import { errorAnswer, type RampAnswer, rampAnswer, rampHead } from "../../testing/scripted-listener.js";
import { BufferLanding, PinnedObject } from "../block-landing.js";
import { HttpAnswer } from "./answer.js";
import { Unintelligible } from "./answer-head.js";

const url = "s3://bucket/file";
const objectSize = 300;
const asked = { offset: 100, length: 150 };
const answer: RampAnswer = { first: 100, end: 250, objectSize };

function setUp({ offset, length } = asked, version = "v1") {
  const part = new BufferLanding(
    { blockOffset: 0, offset, length },
    { pinned: new PinnedObject(url, version), place: (bytes) => Buffer.alloc(bytes, 0xee) },
  );
  const landing = new HttpAnswer({ request: part.nextRequest(), target: part, member: "m:1" });
  return { part, landing };
}

/** Hands bytes over as a connection does, in pieces of the given lengths and then the rest; returns how many were taken. */
function receive(landing: HttpAnswer, bytes: Buffer, lengths: readonly number[] = []): number {
  let at = 0;
  for (const length of [...lengths, bytes.length]) {
    for (const end = Math.min(bytes.length, at + length); at < end && !landing.complete; ) {
      const room = landing.room();
      const count = Math.min(end - at, room?.length ?? Number.POSITIVE_INFINITY);
      const piece = bytes.subarray(at, at + count);
      if (room === undefined) landing.take(piece);
      else landing.landed(piece.copy(room));
      at += count;
    }
  }
  return at;
}

function refusal(bytes: string | Buffer, using = setUp()): CacheError {
  try {
    receive(using.landing, Buffer.from(bytes as string, "latin1"));
  } catch (error) {
    expect(error).toBeInstanceOf(CacheError);
    return error as CacheError;
  }
  throw new Error("the answer was taken");
}

describe("a received response", () => {
  it("has the object's bytes for any fragmentation", () => {
    const bytes = rampAnswer(answer);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 30 }), (lengths) => {
        const { landing, part } = setUp();
        expect(receive(landing, bytes, lengths)).toBe(bytes.length);
        expect([landing.complete, landing.keepAlive, landing.failure]).toEqual([true, true, undefined]);
        expect(part.take()!.equals(ramp(100, 150))).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it("is the same if it arrives byte by byte, or cut once anywhere", () => {
    const bytes = rampAnswer(answer);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const { landing, part } = setUp();
      receive(landing, bytes, cut === 0 ? Array<number>(bytes.length).fill(1) : [cut]);
      expect(part.take()!.equals(ramp(100, 150))).toBe(true);
    }
  });

  it("is received in place: nothing is copied after the piece with the header", () => {
    const { landing, part } = setUp();
    landing.take(Buffer.from(rampHead(answer), "latin1"));
    const room = landing.room()!;
    ramp(100, 60).copy(room);
    landing.landed(60);
    expect(part.take()!.buffer).toBe(room.buffer);
    expect(landing.room()!.byteOffset).toBe(room.byteOffset + 60);
  });

  it("may be shorter at the object's end, and may be a 200 if the whole object was requested", () => {
    const short = setUp({ offset: 200, length: 500 });
    receive(short.landing, rampAnswer({ first: 200, end: 300, objectSize }));
    expect(short.part.take()!.equals(ramp(200, 100))).toBe(true);
    const whole = setUp({ offset: 0, length: 300 });
    receive(
      whole.landing,
      rampAnswer({ first: 0, end: 300, objectSize, status: "200 OK", with: { "Content-Range": undefined } }),
    );
    expect(whole.part.take()!.equals(ramp(0, 300))).toBe(true);
  });

  it.each<[string, Partial<RampAnswer>]>([
    ["no ETag", { with: { ETag: undefined } }],
    ["an ETag without quotes", { with: { ETag: "v1" } }],
    ["no range", { with: { "Content-Range": undefined } }],
    ["a range in other units", { with: { "Content-Range": "lines 100-249/300" } }],
    ["a range of unknown size", { with: { "Content-Range": "bytes 100-249/*" } }],
    ["a range past the object's end", { with: { "Content-Range": "bytes 100-249/200" } }],
    ["a range the wrong way round", { with: { "Content-Range": "bytes 249-100/300" } }],
    ["the whole object", { status: "200 OK", first: 0, end: 300 }],
    ["the rest of the object as a whole", { status: "200 OK" }],
    ["no content", { status: "204 No Content" }],
    ["a redirection", { status: "302 Found", with: { Location: "http://elsewhere/" } }],
    ["304", { status: "304 Not Modified" }],
    ["chunks", { with: { "Content-Length": undefined, "Transfer-Encoding": "chunked" } }],
    ["chunks and a length", { with: { "Transfer-Encoding": "chunked" } }],
    ["a head without end", { with: { "X-Long": "x".repeat(17_000) } }],
  ])("is not accepted as a member's answer with %s", (_, change) => {
    expect(refusal(rampAnswer({ ...answer, ...change }))).toBeInstanceOf(Unintelligible);
  });

  it.each<[string, Partial<RampAnswer>]>([
    ["another range", { first: 99, end: 249 }],
    ["a shorter range", { end: 249 }],
    ["a longer range", { end: 251 }],
    ["a length that is not its range's", { with: { "Content-Length": "151" } }],
    ["another version", { version: "v2" }],
  ])("is wrong with %s: INTERNAL, and nothing landed", (_, change) => {
    const using = setUp();
    const error = refusal(rampAnswer({ ...answer, ...change }), using);
    expect(error).not.toBeInstanceOf(Unintelligible);
    expect(error.code).toBe("INTERNAL");
    expect(using.part.landedBytes).toBe(0);
  });

  it("is rejected after an interim response, and with more bytes than announced", () => {
    expect(refusal(`HTTP/1.1 100 Continue\r\n\r\n${rampHead(answer)}`)).toBeInstanceOf(Unintelligible);
    const using = setUp();
    expect(refusal(Buffer.concat([rampAnswer(answer), Buffer.from("x")]), using)).toBeInstanceOf(Unintelligible);
    expect(using.part.landedBytes).toBe(0);
  });

  it("may be the member's error, which is read to its end", () => {
    const { landing } = setUp();
    const bytes = Buffer.from(errorAnswer("412 Precondition Failed", "PreconditionFailed", `${url} is of another version`));
    expect(receive(landing, bytes, [90, 1, 1])).toBe(bytes.length);
    expect([landing.complete, landing.keepAlive]).toEqual([true, true]);
    expect(landing.failure).toMatchObject({ code: "FAILED_PRECONDITION", message: `${url} is of another version` });
  });

  it("is not a member's error without an error document or with a huge one", () => {
    expect(refusal("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")).toBeInstanceOf(Unintelligible);
    expect(refusal("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nsorry")).toBeInstanceOf(Unintelligible);
    expect(refusal("HTTP/1.1 500 Oh\r\nContent-Length: 100000\r\n\r\n")).toBeInstanceOf(Unintelligible);
  });
});

describe("hostile responses", () => {
  /** Something done to a head: bytes cut out at a place, others put there. */
  const change = fc.record({
    at: fc.nat(260),
    cut: fc.nat(12),
    put: fc.oneof(
      fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
      fc.constantFrom(
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        "\0",
        " ",
        "9",
        ",",
        ":",
        '"',
        "Content-Length: 3\r\n",
        "\r\nTransfer-Encoding: chunked",
      ),
    ),
  });
  const lengths = fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 8 });

  it("end in an error, or deliver exactly the requested bytes after their header", () => {
    let taken = 0;
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), lengths, (changes, cuts) => {
        let head = rampHead(answer);
        for (const { at, cut, put } of changes) head = head.slice(0, at) + put + head.slice(at + cut);
        const bytes = Buffer.concat([Buffer.from(head, "latin1"), ramp(100, 150)]);
        const { landing, part } = setUp();
        try {
          receive(landing, bytes, cuts);
        } catch (error) {
          expect(error).toBeInstanceOf(CacheError);
          expect((error as CacheError).code).toBe("INTERNAL");
          return;
        }
        if (!landing.complete || landing.failure !== undefined) return;
        taken++;
        const body = bytes.indexOf("\r\n\r\n") + 4;
        expect(part.take()!.equals(bytes.subarray(body, body + 150))).toBe(true);
      }),
      { numRuns: 2_000 },
    );
    // Some changes do no harm: the property is not about errors alone.
    expect(taken).toBeGreaterThan(50);
  });

  it("end in an error, or wait for more, if they are noise", () => {
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.string({ maxLength: 300 }).map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(
        fc.constantFrom("", "HTTP/1.1 206 ", "HTTP/1.1 206 OK\r\n", "HTTP/1.1 500 E\r\nContent-Length: 9\r\n\r\n"),
        noise,
        lengths,
        (begin, bytes, cuts) => {
          const { landing, part } = setUp();
          try {
            receive(landing, Buffer.concat([Buffer.from(begin), bytes]), cuts);
          } catch (error) {
            expect(error).toBeInstanceOf(CacheError);
          }
          expect(part.landedBytes).toBe(0);
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
