import { type ErrorCode, parseObjectUrl } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { bytesOf } from "../testing/answer-fixture.js";
import { MemoryHttpBody } from "../testing/memory-http-body.js";
import { rangeOf } from "../testing/origin/requests.js";
import { checkedAnswer, type RangeHead } from "./checked-answer.js";
import type { OriginAnswer } from "./origin.js";

type Range = Parameters<typeof rangeOf>[1];

const ref = parseObjectUrl("s3://bucket/key");
const range: Range = { offset: 100, length: 50 };
const good: RangeHead = {
  status: 206,
  contentRange: "bytes 100-149/1000",
  contentLength: 50,
  version: "v1",
  contentType: undefined,
  lastModifiedMs: undefined,
  headers: undefined,
  lacks: undefined,
};

function answer(head: Partial<RangeHead>, requested: Range = range, body: number[] = [50]) {
  const received = new MemoryHttpBody(body.map((bytes) => Buffer.alloc(bytes)));
  return { received, open: () => checkedAnswer(rangeOf(ref, requested), { ...good, ...head }, received) };
}

async function received(answer: OriginAnswer): Promise<{ bytes: number; code: string | undefined }> {
  let bytes = 0;
  try {
    await bytesOf(answer, (piece) => {
      bytes += piece.length;
    });
    return { bytes, code: undefined };
  } catch (error) {
    return { bytes, code: (error as { code: string }).code };
  }
}

describe("an origin's answer", () => {
  it("is accepted if head and body agree with the range", async () => {
    const opened = answer({}).open();
    const { info, length } = opened;
    expect({ info, length }).toEqual({ info: { version: "v1", objectSize: 1000 }, length: 50 });
    expect(await received(opened)).toEqual({ bytes: 50, code: undefined });
  });

  it("is accepted without a Content-Length if it has a Content-Range", async () => {
    expect(await received(answer({ contentLength: undefined }).open())).toEqual({ bytes: 50, code: undefined });
  });

  it.each<[string, Partial<RangeHead>, ErrorCode]>([
    ["starts elsewhere", { contentRange: "bytes 101-149/1000", contentLength: 49 }, "UNAVAILABLE"],
    ["starts one byte earlier", { contentRange: "bytes 99-148/1000" }, "UNAVAILABLE"],
    ["ends before the range and the object", { contentRange: "bytes 100-148/1000", contentLength: 49 }, "UNAVAILABLE"],
    ["extends beyond the range", { contentRange: "bytes 100-150/1000", contentLength: 51 }, "UNAVAILABLE"],
    ["names no size", { contentRange: "bytes 100-149/*" }, "UNAVAILABLE"],
    ["names a size inside the range", { contentRange: "bytes 100-149/149" }, "UNAVAILABLE"],
    ["has no Content-Range", { contentRange: undefined }, "UNAVAILABLE"],
    ["has fewer bytes than it names", { contentLength: 49 }, "UNAVAILABLE"],
    ["has more bytes than it names", { contentLength: 51 }, "UNAVAILABLE"],
    ["is the whole object", { status: 200, contentRange: undefined, contentLength: 1000 }, "UNAVAILABLE"],
    ["is another success", { status: 204 }, "UNAVAILABLE"],
    ["has no version", { version: undefined }, "UNAVAILABLE"],
    ["has a version that no header can contain", { version: "v\n1" }, "UNAVAILABLE"],
    ["has an empty version", { version: "" }, "UNAVAILABLE"],
  ])("is rejected, and its body destroyed, if it %s", (_, head, code) => {
    const { open, received: body } = answer(head);
    expect(open).toThrow(expect.objectContaining({ code }));
    expect(body.destroyed).toBeDefined();
  });

  it("is rejected if it has another version than the requested one", () => {
    expect(answer({}, { ...range, version: "v2" }).open).toThrow(expect.objectContaining({ code: "FAILED_PRECONDITION" }));
  });

  it("has the version and the type of its head, whatever characters they contain", () => {
    const named = { version: `${"v".repeat(40)}\u00e9\u20ac`, contentType: "text/plain; title=\u00e9\u20ac" };
    for (let answers = 0; answers < 2; answers++) expect(answer(named).open().info).toMatchObject(named);
  });

  it("is accepted as a whole object if the range covers all of it", () => {
    const whole = { status: 200, contentRange: undefined, contentLength: 50 };
    expect(answer(whole, { offset: 0, length: 50 }).open().info.objectSize).toBe(50);
    expect(answer(whole, { offset: 0, length: 51 }).open().length).toBe(50);
    expect(answer(whole, { offset: 0, length: 49 }).open).toThrow();
    expect(answer(whole, { offset: 1, length: 49 }).open).toThrow();
  });

  it("is OUT_OF_RANGE if it is the whole, empty object", () => {
    const empty = { status: 200, contentRange: undefined, contentLength: 0 };
    expect(answer(empty, { offset: 0, length: 50 }).open).toThrow(expect.objectContaining({ code: "OUT_OF_RANGE" }));
  });

  it("gives correct bytes, then UNAVAILABLE, if its body is short", async () => {
    expect(await received(answer({}, range, [20, 29]).open())).toEqual({ bytes: 49, code: "UNAVAILABLE" });
  });

  it("never gives a byte beyond its range if its body is long", async () => {
    const { bytes, code } = await received(answer({}, range, [20, 31]).open());
    expect(bytes).toBeLessThanOrEqual(50);
    expect(code).toBe("UNAVAILABLE");
  });
});
