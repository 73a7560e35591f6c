import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ramp } from "../../testing/ramp.js";
import type { AnswerHead, ReadRequest, ReadTarget } from "../ports.js";
import { AnswerWriter } from "./answer-writer.js";

class Target implements ReadTarget {
  readonly heads: AnswerHead[] = [];
  readonly buffer: Buffer;
  /** Bytes of room at a time. */
  readonly roomBytes: number;
  landedBytes = 0;

  constructor(bytes: number, roomBytes = bytes) {
    this.buffer = Buffer.alloc(bytes);
    this.roomBytes = roomBytes;
  }

  nextRequest(): ReadRequest {
    return { url: "file", offset: 0, length: this.buffer.length, version: "v1" };
  }

  sent(): void {}

  open(head: AnswerHead): void {
    this.heads.push(head);
  }

  room(): Buffer {
    return this.buffer.subarray(this.landedBytes, this.landedBytes + this.roomBytes);
  }

  landed(bytes: number): boolean {
    this.landedBytes += bytes;
    return true;
  }
}

const writerTo = (target: Target) => new AnswerWriter(target, target.nextRequest(), { resume: () => undefined });
const message = (data: Buffer, version = "", objectSize = 0) => ({ data, version, objectSize });

describe("a response writer", () => {
  it("writes messages of any lengths consecutively", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 1 }), fc.integer({ min: 1, max: 30 }), (lengths, roomBytes) => {
        const total = lengths.reduce((sum, length) => sum + length, 0);
        const target = new Target(total, roomBytes);
        const writer = writerTo(target);
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

  it("rejects surplus bytes before they are written", () => {
    const target = new Target(4);
    const writer = writerTo(target);
    writer.write(message(ramp(0, 4), "v1", 10));
    expect(() => writer.write(message(ramp(4, 1)))).toThrow("file at offset 0: the member sent more than the 4 bytes requested");
    expect(target.landedBytes).toBe(4);
  });

  it("rejects an end with missing bytes, or without any message", () => {
    const writer = writerTo(new Target(4));
    expect(() => writer.end()).toThrow("file at offset 0: the member sent nothing at all");
    writer.write(message(ramp(0, 3), "v1", 10));
    expect(() => writer.end()).toThrow("file at offset 0: the member sent 3 bytes instead of 4");
  });
});
