import { eventually, settled } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HttpFixture, NOTHING_LEFT } from "../../testing/http-fixture.js";
import { rampBytes } from "../../testing/origin/ramp.js";
import type { RawClient } from "../../testing/raw-client.js";

const MiB = 1 << 20;
const OBJECT = rampBytes(0, 24 * MiB, 5);

let fixture: HttpFixture;
let client: RawClient;

beforeEach(async () => {
  fixture = await HttpFixture.open();
  fixture.cache.objects.set("s3://bucket/object", OBJECT);
  client = await fixture.connect();
});

afterEach(async () => {
  client.socket.destroy();
  await eventually(() => expect(fixture.left()).toEqual(NOTHING_LEFT));
  await fixture[Symbol.asyncDispose]();
});

const memory = () => fixture.cache;

/** Asks for all of it and takes nothing, until the socket is full. */
async function stall(): Promise<void> {
  client.socket.pause();
  client.request("GET", "/s3/bucket/object");
  await settled(() => memory().slicesGiven);
}

describe("the bytes of a response", () => {
  it.each([
    [16 * MiB, false],
    [MiB, false],
    [100_000, false],
    [MiB, true],
    [300_000, true],
    [1000, true],
  ])("in slices of %d (scarce: %s) arrive unchanged", async (sliceBytes, scarce) => {
    memory().sliceBytes = sliceBytes;
    fixture.cache.scarce = scarce;
    const bytes = OBJECT.subarray(0, Math.min(OBJECT.length, sliceBytes * 300));
    const { status, body } = await client.get("/s3/bucket/object", `Range: bytes=0-${bytes.length - 1}`);
    expect([status, body.equals(bytes)]).toEqual([206, true]);
  });

  it("are sent in one packet with the head if they are few", async () => {
    const packets: Buffer[] = [];
    client.socket.on("data", (chunk: Buffer) => packets.push(chunk));
    for (let count = 1; count <= 20; count++) {
      await client.get("/s3/bucket/object", "Range: bytes=0-999");
      expect(packets).toHaveLength(count);
    }
  });

  it("are sent one slice at a time to a slow client", async () => {
    memory().sliceBytes = MiB;
    await stall();
    expect(memory().openSlices).toBe(1);
    expect(fixture.left().timers).toBe(0);
    client.socket.resume();
    expect((await client.answer()).body.equals(OBJECT)).toBe(true);
  });

  it("are sent as they arrive", async () => {
    memory().sliceBytes = MiB;
    memory().beforeSlice = () => new Promise((resolve) => setImmediate(resolve));
    expect((await client.get("/s3/bucket/object")).body.equals(OBJECT)).toBe(true);
  });

  it("end the connection if the read yields more or fewer than announced", async () => {
    memory().sliceBytes = MiB;
    for (const lie of [-10, 10]) {
      const opened = memory().open.bind(memory());
      memory().open = (request) => {
        const read = opened(request);
        return read instanceof Promise ? read : { ...read, length: read.length + lie };
      };
      await using other = await fixture.connect();
      await expect(other.get("/s3/bucket/object")).rejects.toThrow("in the middle of a response");
      memory().open = opened;
    }
    expect(fixture.logged).toMatchObject([{ code: "INTERNAL" }, { code: "INTERNAL" }]);
  });
});

describe("scarce memory", () => {
  beforeEach(() => {
    fixture.cache.scarce = true;
    memory().sliceBytes = MiB;
  });

  it("is copied and released 100 ms after its client stopped reading", async () => {
    memory().sliceBytes = OBJECT.length;
    await stall();
    expect(memory().openSlices).toBe(1);
    fixture.clock.advance(100);
    expect(memory().openSlices).toBe(0);
    expect(fixture.clients.sendBuffer.bytes).toBeGreaterThan(OBJECT.length / 2);
    client.socket.resume();
    expect((await client.answer()).body.equals(OBJECT)).toBe(true);
    await eventually(() => expect(fixture.clients.sendBuffer.bytes).toBe(0));
  });
});

describe("a client that disconnects", () => {
  it.each([false, true])("in the middle of the bytes (scarce: %s) has everything released", async (scarce) => {
    fixture.cache.scarce = scarce;
    await stall();
    client.socket.destroy();
    fixture.clock.advance(100);
    await eventually(() => expect(fixture.left()).toEqual(NOTHING_LEFT));
    expect(fixture.clients.sendBuffer.bytes).toBe(0);
    expect(memory().requests[0]!.signal.aborted).toBe(true);
    expect(fixture.logged).toEqual([]);
  });

  it.each(["opened", "filled"])("while the read is %s aborts it", async (when) => {
    const hang = (signal: AbortSignal | undefined): Promise<void> =>
      new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason), { once: true }));
    if (when === "opened") memory().beforeAnswer = hang;
    else memory().beforeSlice = (offset, signal) => (offset > 0 ? hang(signal) : undefined);
    client.request("GET", "/s3/bucket/object");
    await eventually(() => expect(memory().requests).toHaveLength(1));
    client.socket.destroy();
    await eventually(() => expect(memory().requests[0]!.signal.aborted).toBe(true));
    await eventually(() => expect(fixture.left()).toEqual(NOTHING_LEFT));
    expect(fixture.logged).toEqual([]);
  });

  it("before its read is open has the read and its bytes released when they arrive", async () => {
    let go!: () => void;
    memory().beforeAnswer = () => new Promise((resolve) => (go = resolve));
    client.request("GET", "/s3/bucket/object");
    await eventually(() => expect(go).toBeDefined());
    client.socket.destroy();
    await eventually(() => expect(fixture.listener.openConnections).toBe(0));
    go();

    await using other = await fixture.connect();
    memory().beforeAnswer = undefined;
    let arrive!: () => void;
    memory().beforeSlice = () => new Promise((resolve) => (arrive = resolve));
    other.request("GET", "/s3/bucket/object");
    await eventually(() => expect(arrive).toBeDefined());
    other.socket.destroy();
    await eventually(() => expect(fixture.listener.openConnections).toBe(0));
    arrive();
    await eventually(() => expect(memory().slicesGiven).toBe(1));
  });
});
