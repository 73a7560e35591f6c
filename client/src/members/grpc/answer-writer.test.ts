import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ramp } from "../../testing/ramp.js";
import type { AnswerHead, ReadTarget } from "../transport.js";
import { AnswerWriter } from "./answer-writer.js";

class Target implements ReadTarget {
  readonly heads: AnswerHead[] = [];
  readonly buffer: Buffer;
  landedBytes = 0;

  constructor(bytes: number) {
    this.buffer = Buffer.alloc(bytes);
  }

  open(head: AnswerHead): Buffer {
    this.heads.push(head);
    return this.buffer;
  }

  landed(bytes: number): void {
    this.landedBytes = bytes;
  }
}

const message = (data: Buffer, version = "", objectSize = 0) => ({ data, version, objectSize });

describe("an answer's writer", () => {
  it("lands messages of any lengths one behind the other", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 1 }), (lengths) => {
        const total = lengths.reduce((sum, length) => sum + length, 0);
        const target = new Target(total);
        const writer = new AnswerWriter(target, "file");
        let at = 0;
        for (const [index, length] of lengths.entries()) {
          writer.write(index === 0 ? message(ramp(at, length), "v1", total) : message(ramp(at, length)));
          at += length;
          expect(target.landedBytes).toBe(at);
        }
        writer.end();
        expect(target.buffer.equals(ramp(0, total))).toBe(true);
        expect(target.heads).toEqual([{ version: "v1", objectSize: total }]);
      }),
    );
  });

  it("refuses a byte too much before it is written", () => {
    const target = new Target(4);
    const writer = new AnswerWriter(target, "file");
    writer.write(message(ramp(0, 4), "v1", 10));
    expect(() => writer.write(message(ramp(4, 1)))).toThrow("file: the member sent more than the 4 bytes asked for");
    expect(target.landedBytes).toBe(4);
  });

  it("refuses an end with bytes missing, and one without any message", () => {
    const writer = new AnswerWriter(new Target(4), "file");
    expect(() => writer.end()).toThrow("file: the member sent nothing at all");
    writer.write(message(ramp(0, 3), "v1", 10));
    expect(() => writer.end()).toThrow("file: the member sent 3 bytes instead of 4");
  });
});
