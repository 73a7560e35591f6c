import { parseObjectUrl } from "@frontcache/proto";
import { eventually, ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { bytesOf } from "../answer-fixture.js";
import { MemoryObjects } from "./memory-objects.js";
import { MemoryOrigin } from "./memory-origin.js";
import { rampBytes } from "./ramp.js";
import { live, rangeOf, statOf } from "./requests.js";

const ref = parseObjectUrl("gs://bucket/key");

function setup() {
  const objects = new MemoryObjects();
  const clock = new ManualClock();
  return { objects, clock, origin: new MemoryOrigin(objects, clock, 1000) };
}

describe("the in-memory origin", () => {
  it("serves ranges of the current version, up to the object's end", async () => {
    const { objects, origin } = setup();
    const version = objects.putRamp(ref.url, 5000, 9);
    const answer = await origin.fetch(rangeOf(ref, { offset: 1500, length: 10_000, version }));
    expect(answer).toMatchObject({ length: 3500, info: { version, objectSize: 5000 } });
    expect((await bytesOf(answer)).equals(rampBytes(1500, 3500, 9))).toBe(true);
    expect(origin).toMatchObject({ open: 0, bytesServed: 3500 });
  });

  it("fails with the codes of the port", async () => {
    const { objects, origin } = setup();
    await expect(origin.ask(statOf(ref))).rejects.toMatchObject({ code: "NOT_FOUND" });
    const first = objects.put(ref.url, "hello", "text/plain");
    expect(await origin.ask(statOf(ref))).toMatchObject({ version: first, objectSize: 5, contentType: "text/plain" });
    expect(objects.put(ref.url, "hello")).not.toBe(first);
    const fetch = (offset: number, version?: string, signal = live) =>
      origin.fetch(rangeOf(ref, { offset, length: 1, ...(version !== undefined && { version }) }, signal));
    await expect(fetch(0, first)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    await expect(fetch(5)).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    await expect(fetch(0, undefined, AbortSignal.abort())).rejects.toMatchObject({ code: "CANCELLED" });
    objects.delete(ref.url);
    await expect(fetch(0)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(origin.open).toBe(0);
  });

  it("records the bytes that concurrent fetches request twice", async () => {
    const { objects, origin } = setup();
    objects.putRamp(ref.url, 5000, 0);
    origin.faults.place({ body: { afterBytes: 1000, how: "stall" }, times: 1 });
    const first = await origin.fetch(rangeOf(ref, { offset: 0, length: 3000 }));
    const beside = await origin.fetch(rangeOf(ref, { offset: 3000, length: 1000 }));
    expect(origin.doubled).toEqual([]);
    const cut = expect(bytesOf(first)).rejects.toMatchObject({ code: "CANCELLED" });
    await eventually(() => expect(origin.bytesServed).toBe(1000));
    (await origin.fetch(rangeOf(ref, { offset: 0, length: 1000 }))).body.destroy();
    expect(origin.doubled).toEqual([]);
    (await origin.fetch(rangeOf(ref, { offset: 999, length: 2 }))).body.destroy();
    expect(origin.doubled).toMatchObject([{ offset: 999 }]);
    first.body.destroy();
    await cut;
    beside.body.destroy();
    expect(origin.open).toBe(0);
  });

  it("delays responses until they are released, and rejects aborted ones", async () => {
    const { objects, origin } = setup();
    objects.putRamp(ref.url, 5000, 0);
    const hold = origin.faults.hold(({ kind }) => kind === "fetch");
    const abort = new AbortController();
    const left = expect(origin.fetch(rangeOf(ref, { offset: 0, length: 10 }, abort.signal))).rejects.toMatchObject({
      code: "CANCELLED",
    });
    const answer = origin.fetch(rangeOf(ref, { offset: 0, length: 10 }));
    await hold.reached(2);
    await origin.ask(statOf(ref));
    abort.abort();
    await left;
    expect(hold.held).toBe(1);
    hold.release();
    expect((await bytesOf(await answer)).length).toBe(10);
    expect(hold.held).toBe(0);
  });
});
