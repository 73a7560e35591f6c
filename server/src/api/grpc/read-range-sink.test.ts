import { Writable } from "node:stream";
import type { ReadRangeResponse } from "@frontcache/proto";
import { expect, test } from "vitest";
import { ReadRangeSink } from "./read-range-sink.js";

const info = { version: "v1", objectSize: 6 };

/** A call that keeps the callback of its first write until the test calls it. */
class Call extends Writable {
  readonly sent: string[] = [];
  written: (() => void) | undefined;

  constructor() {
    super({ objectMode: true });
  }

  override _write({ data, version }: ReadRangeResponse, _encoding: BufferEncoding, done: () => void): void {
    this.sent.push(`${version}:${data.toString()}`);
    if (this.sent.length === 1) this.written = done;
    else done();
  }

  override _final(done: () => void): void {
    this.sent.push("status");
    done();
  }
}

test("the status is sent together with the last message", () => {
  const call = new Call();
  new ReadRangeSink(call, info, () => {}).end(Buffer.from("whole!"));
  expect(call.sent).toEqual(["v1:whole!", "status"]);
});

test("an empty object's only message has its version, and the status follows", () => {
  const call = new Call();
  new ReadRangeSink(call, { ...info, objectSize: 0 }, () => {}).end();
  expect(call.sent).toEqual(["v1:", "status"]);
});

test("the last message and the status wait for a message that was not taken yet", async () => {
  const call = new Call();
  const finished = new Promise((resolve) => call.once("finish", resolve));
  const sink = new ReadRangeSink(call, info, () => {});
  sink.write(Buffer.from("one"), () => {});
  sink.end(Buffer.from("two"));
  expect(call.sent).toEqual(["v1:one"]);
  call.written!();
  await finished;
  expect(call.sent).toEqual(["v1:one", ":two", "status"]);
});
