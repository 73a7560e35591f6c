import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ramp } from "../testing/ramp.js";
import { BufferLanding, PinnedObject } from "./block-landing.js";

const url = "s3://bucket/file";
const head = { version: "v1", objectSize: 100 };
const source = { resume: () => undefined };

function landingOf(offset: number, length: number): BufferLanding {
  return new BufferLanding(
    { blockOffset: 0, offset, length },
    { pinned: new PinnedObject(url, ""), place: (bytes) => Buffer.alloc(bytes) },
  );
}

/** Answers the landing's next request with `bytes` of what it asks for. */
function answer(landing: BufferLanding, bytes: number): void {
  const request = { ...landing.nextRequest() };
  landing.sent();
  landing.open(head, source);
  for (let left = Math.min(bytes, landing.rest.length); left > 0; ) {
    const copied = ramp(request.offset, left).copy(landing.room());
    request.offset += copied;
    left -= copied;
    landing.landed(copied);
  }
}

describe("a block's landing", () => {
  it("is complete and correct after any number of interrupted responses", () => {
    fc.assert(
      fc.property(fc.nat(99), fc.integer({ min: 1, max: 120 }), fc.array(fc.nat(30)), (offset, length, breaks) => {
        const landing = landingOf(offset, length);
        const expected = ramp(offset, Math.min(length, 100 - offset));
        for (const bytes of breaks) if (!landing.complete) answer(landing, bytes);
        if (!landing.complete) answer(landing, Number.POSITIVE_INFINITY);
        expect(landing.complete).toBe(true);
        expect(landing.take()?.equals(expected)).toBe(true);
      }),
    );
  });

  it("requests the rest with the version of the first response", () => {
    const landing = landingOf(10, 20);
    expect(landing.nextRequest()).toEqual({ url, offset: 10, length: 20, version: "" });
    // It was not sent: the member could not be reached.
    expect(landing.nextRequest()).toEqual({ url, offset: 10, length: 20, version: "" });
    answer(landing, 5);
    expect(landing.nextRequest()).toEqual({ url, offset: 15, length: 15, version: "v1", repeated: true });
  });

  it("delivers each byte to a waiting consumer once", () => {
    const landing = landingOf(0, 10);
    expect(landing.take()).toBeUndefined();
    answer(landing, 4);
    expect(landing.take()?.equals(ramp(0, 4))).toBe(true);
    expect(landing.take()).toBeUndefined();
    answer(landing, 6);
    expect(landing.take()?.equals(ramp(4, 6))).toBe(true);
  });

  it("discards the bytes of an invalid response and keeps those of the previous one", () => {
    const landing = landingOf(0, 10);
    answer(landing, 4);
    answer(landing, 3);
    expect(landing.takeBack()).toBe(true);
    expect(landing.landedBytes).toBe(4);
    landing.nextRequest();
    expect(() => landing.open({ ...head, version: "v2" }, source)).toThrow();
    expect(landing.takeBack()).toBe(true);
    expect(landing.landedBytes).toBe(4);
  });

  it("reports that bytes of an invalid response were already consumed", () => {
    const landing = landingOf(0, 10);
    answer(landing, 4);
    landing.take();
    expect(landing.takeBack()).toBe(false);
  });
});
