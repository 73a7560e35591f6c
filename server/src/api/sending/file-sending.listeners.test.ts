import { once } from "node:events";
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually, settled } from "@frontcache/proto/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { FileBytes } from "../../runtime/slice.js";
import { loadLibc } from "../../storage/mapping/libc.js";
import { HttpFixture, NOTHING_LEFT } from "../../testing/http-fixture.js";
import { rampBytes } from "../../testing/origin/ramp.js";
import type { RawClient } from "../../testing/raw-client.js";

const KiB = 1 << 10;
const MiB = 1 << 20;
const OBJECT = rampBytes(0, 24 * MiB, 5);
/** Makes a request leave the plain lane, so that Node's HTTP server answers it. */
const NODE_HEADER = "Accept-Language: en";

const libc = await loadLibc();

describe.runIf(libc !== undefined)("bytes of a file", () => {
  let directory: string;
  let descriptor: number;
  let fixture: HttpFixture;
  let client: RawClient;
  /** Calls of sendfile(2), and bytes that they sent; bytes that send(2) sent. */
  const sent = { calls: 0, bytes: 0, copiedBytes: 0 };

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "sendfile-"));
    writeFileSync(join(directory, "file"), OBJECT);
    descriptor = openSync(join(directory, "file"), "r+");
  });
  afterAll(() => {
    closeSync(descriptor);
    rmSync(directory, { recursive: true });
  });

  beforeEach(async () => {
    Object.assign(sent, { calls: 0, bytes: 0, copiedBytes: 0 });
    const socketCalls = {
      ...libc!,
      sendfile: (...call: Parameters<NonNullable<typeof libc>["sendfile"]>) => {
        const bytes = libc!.sendfile(...call);
        sent.calls++;
        sent.bytes += Math.max(0, Number(bytes));
        return bytes;
      },
      send: (...call: Parameters<NonNullable<typeof libc>["send"]>) => {
        const bytes = libc!.send(...call);
        sent.copiedBytes += Math.max(0, Number(bytes));
        return bytes;
      },
    };
    fixture = await HttpFixture.open({ socketCalls });
    fixture.cache.objects.set("s3://bucket/object", OBJECT);
    fixture.cache.fileOf = (_, offset) => fileAt(offset);
    client = await fixture.connect();
  });

  afterEach(async () => {
    client.socket.destroy();
    await eventually(() => expect(fixture.left()).toEqual(NOTHING_LEFT));
    await fixture[Symbol.asyncDispose]();
  });

  const fileAt = (position: number, more: Partial<FileBytes> = {}): FileBytes => ({
    descriptor,
    position,
    isInMemory: () => true,
    readAgain: async () => undefined,
    ...more,
  });

  const get = (length: number, headers: readonly string[], by = client) =>
    by.get("/s3/bucket/object", `Range: bytes=1000-${1000 + length - 1}`, ...headers);

  describe.each([
    ["the plain lane", []],
    ["Node's HTTP server", [NODE_HEADER]],
  ])("in answers of %s", (_, headers) => {
    it.each([
      [16 * KiB, MiB],
      [64 * KiB, MiB],
      [100_000, MiB],
      [MiB, MiB],
      [20 * MiB, 16 * MiB],
      [20 * MiB, MiB],
      [3 * MiB, 20 * KiB],
    ])("arrive unchanged: %d bytes in slices of %d", async (length, sliceBytes) => {
      fixture.cache.sliceBytes = sliceBytes;
      for (let repeated = 0; repeated < 3; repeated++) {
        const { status, body } = await get(length, headers);
        expect([status, body.equals(OBJECT.subarray(1000, 1000 + length))]).toEqual([206, true]);
      }
      expect(sent.calls).toBeGreaterThan(0);
    });

    it("are sent by the kernel, except those that are written to wait for a full socket", async () => {
      await get(16 * MiB, headers);
      expect(sent.bytes).toBeGreaterThan(8 * MiB);
      expect(sent.bytes).toBeLessThanOrEqual(16 * MiB);
    });

    it("are copied by the kernel alone while they are on their way into the file", async () => {
      fixture.cache.fileOf = undefined;
      fixture.cache.scarce = true;
      const { body } = await get(16 * MiB, headers);
      expect(body.equals(OBJECT.subarray(1000, 1000 + 16 * MiB))).toBe(true);
      expect(sent.copiedBytes).toBeGreaterThan(8 * MiB);
    });

    it("wait for a client that stops reading, and go on when it reads", async () => {
      fixture.cache.sliceBytes = OBJECT.length;
      client.socket.pause();
      client.request("GET", "/s3/bucket/object", "Range: bytes=0-25165823", ...headers);
      await settled(() => sent.bytes);
      expect(sent.bytes).toBeLessThan(OBJECT.length);
      expect([fixture.left().running, fixture.clients.sendBuffer.bytes]).toEqual([1, 0]);
      client.socket.resume();
      expect((await client.answer()).body.equals(OBJECT)).toBe(true);
    });

    it.each(["destroy", "resetAndDestroy"] as const)("are released when the client disconnects by %s", async (how) => {
      client.socket.pause();
      client.request("GET", "/s3/bucket/object", "Range: bytes=0-25165823", ...headers);
      await settled(() => sent.bytes);
      client.socket[how]();
      await eventually(() => expect(fixture.left()).toEqual(NOTHING_LEFT));
      expect(fixture.logged).toEqual([]);
    });

    it("are cut at their right end, and released, when the client half-closes the connection in the middle of them", async () => {
      client.socket.pause();
      client.request("GET", "/s3/bucket/object", "Range: bytes=0-25165823", ...headers);
      await settled(() => sent.bytes);
      client.socket.end();
      client.socket.resume();
      const received = Buffer.from(await client.rest(), "latin1");
      const body = received.subarray(received.indexOf("\r\n\r\n") + 4);
      expect(body.length).toBeLessThanOrEqual(OBJECT.length);
      expect(body.equals(OBJECT.subarray(0, body.length))).toBe(true);
      await eventually(() => expect(fixture.left()).toEqual(NOTHING_LEFT));
      expect(fixture.logged).toEqual([]);
    });

    it("arrive through the smallest receive window", async () => {
      const { fd } = (client.socket as Socket & { _handle: { fd: number } })._handle;
      const [SOL_SOCKET, SO_RCVBUF, one] = [1, 8, new Int32Array([1])];
      libc!.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, one, 4);
      const { body } = await get(20 * KiB, headers);
      expect(body.equals(OBJECT.subarray(1000, 1000 + 20 * KiB))).toBe(true);
    });

    it("cut the response if another program has truncated the file", async () => {
      ftruncateSync(descriptor, 2 * MiB);
      try {
        await expect(get(4 * MiB, headers)).rejects.toThrow("in the middle of a response");
      } finally {
        writeSync(descriptor, OBJECT, 2 * MiB, OBJECT.length - 2 * MiB, 2 * MiB);
      }
      expect(fixture.logged).toMatchObject([{ code: "INTERNAL" }]);
    });

    it("are read again if they have left the memory", async () => {
      fixture.cache.sliceBytes = 8 * MiB;
      const again = (at: number, from: number, end: number) => ({
        bytes: OBJECT.subarray(at + from, Math.min(at + from + MiB, end)),
        release: () => {},
      });
      fixture.cache.fileOf = (_, at) => {
        const end = Math.min(at + 8 * MiB, 1000 + 20 * MiB);
        const isInMemory = (from: number, to: number): boolean => from === 0 || to < 3 * MiB;
        return fileAt(at, { isInMemory, readAgain: async (from) => again(at, from, end) });
      };
      const { body } = await get(20 * MiB, headers);
      expect(body.equals(OBJECT.subarray(1000, 1000 + 20 * MiB))).toBe(true);
      expect(sent.bytes).toBeLessThan(10 * MiB);
    });

    it("cut the response if they have left the memory and are not cached any more", async () => {
      fixture.cache.sliceBytes = 8 * MiB;
      fixture.cache.fileOf = (_, at) => fileAt(at, { isInMemory: (from) => from === 0 });
      await expect(get(4 * MiB, headers)).rejects.toThrow("in the middle of a response");
      await eventually(() => expect(fixture.left()).toEqual(NOTHING_LEFT));
    });
  });

  it("arrive in order if the requests are pipelined", async () => {
    fixture.cache.sliceBytes = 50 * KiB;
    const lengths = Array.from({ length: 90 }, (_, index) => 1 + index * 3_000);
    client.send(
      lengths
        .map((length) => `GET /s3/bucket/object HTTP/1.1\r\nHost: m\r\nRange: bytes=${length}-${2 * length - 1}\r\n\r\n`)
        .join(""),
    );
    for (const length of lengths) {
      expect((await client.answer()).body.equals(OBJECT.subarray(length, 2 * length))).toBe(true);
    }
  });

  it("arrive in order if 1,000 requests are pipelined, until the connection is closed because of too many", async () => {
    const starts = Array.from({ length: 1000 }, (_, index) => index * 20 * KiB);
    const requestOf = (start: number): string =>
      `GET /s3/bucket/object HTTP/1.1\r\nHost: m\r\nRange: bytes=${start}-${start + 20 * KiB - 1}\r\n`;
    // The last request ends a connection that had not too many requests at any moment.
    client.send(`${starts.map(requestOf).join("\r\n")}Connection: close\r\n\r\n`);
    let received = Buffer.from(await client.rest(), "latin1");
    for (const start of starts) {
      const headEnd = received.indexOf("\r\n\r\n");
      if (headEnd < 0) break;
      const body = received.subarray(headEnd + 4, headEnd + 4 + 20 * KiB);
      expect(body.equals(OBJECT.subarray(start, start + body.length))).toBe(true);
      received = received.subarray(headEnd + 4 + 20 * KiB);
    }
  });

  it("are not mixed with the answer to bytes that the client sends meanwhile", async () => {
    client.socket.pause();
    client.request("GET", "/s3/bucket/object", "Range: bytes=0-16777215");
    await settled(() => sent.bytes);
    client.request("GET", "/s3/bucket/object", "Range: bytes=5-100004", NODE_HEADER);
    client.socket.resume();
    expect((await client.answer()).body.equals(OBJECT.subarray(0, 16 * MiB))).toBe(true);
    expect((await client.answer()).body.equals(OBJECT.subarray(5, 100_005))).toBe(true);
  });

  it("never reach another connection, also if connections end at any moment and their descriptors are reused", async () => {
    const DIFFERENCE = 251;
    let random = 7;
    const next = (below: number): number => {
      random = (random * 48_271) % 2_147_483_647;
      return random % below;
    };
    const run = async (number: number): Promise<void> => {
      for (let attempt = 0; attempt < 8; attempt++) {
        const other = await fixture.connect();
        const start = DIFFERENCE * number + attempt;
        const end = start + 2 * MiB;
        let received = -1;
        const cutAt = next(3 * MiB);
        let head = Buffer.alloc(0);
        other.socket.removeAllListeners("data");
        const ended = once(other.socket, "close");
        other.socket.on("data", (chunk: Buffer) => {
          let body = chunk;
          if (received < 0) {
            head = Buffer.concat([head, chunk]);
            const headEnd = head.indexOf("\r\n\r\n");
            if (headEnd < 0) return;
            body = head.subarray(headEnd + 4);
            received = 0;
          }
          const at = start + received;
          wrong ||= !body.equals(OBJECT.subarray(at, at + body.length));
          received += body.length;
          if (received >= cutAt || received === end - start) other.socket.destroy();
        });
        const headers = next(2) === 0 ? [] : [NODE_HEADER];
        other.request("GET", "/s3/bucket/object", `Range: bytes=${start}-${end - 1}`, ...headers);
        if (next(4) === 0) setImmediate(() => other.socket.destroy());
        await ended;
      }
    };
    let wrong = false;
    await Promise.all(Array.from({ length: 8 }, (_, number) => run(number)));
    expect(wrong).toBe(false);
    await eventually(() => expect(fixture.left()).toEqual(NOTHING_LEFT));
  });
});
