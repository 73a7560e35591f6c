import { setMaxListeners } from "node:events";
import { type ErrorCode, type ObjectRef, parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { Listing, ListPage, Origin, OriginAnswer } from "../../server/src/origin/origin.js";
import { rampBytes } from "../../server/src/origin/ramp.js";
import type { Faults } from "../emulators/faults.js";
import type { Traffic } from "../emulators/traffic.js";

const MiB = 1 << 20;

/** What the contract needs of an emulator; both of them have it. */
export interface ContractStore {
  /** Both return the version as an origin names it. */
  put(bucket: string, key: string, body: string, options?: { contentType?: string }): string;
  putRamp(bucket: string, key: string, size: number, seed?: number): string;
  delete(bucket: string, key: string): void;
  readonly faults: Faults;
  readonly traffic: Traffic;
  readonly openSockets: number;
  close(): Promise<void>;
}

/** A store with the origin under test in front of it. */
export interface ContractSubject {
  readonly scheme: "s3" | "gs";
  readonly store: ContractStore;
  /** Waits long for bytes: what ends early in the tests ends for another reason. */
  readonly origin: Origin;
  /** The same with an idle time-out of a tenth of a second or so. */
  readonly impatient: Origin;
  /** Bound of the connections of each. */
  readonly maxConnections: number;
}

/** An error of the store's own with what it means. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly fetch: ErrorCode;
  /** Default: as for fetch. */
  readonly stat?: ErrorCode;
}

const live = new AbortController().signal;
setMaxListeners(0, live); // shared by all calls of a test

export async function bytesOf(answer: OriginAnswer): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of answer.body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Keys that are easily mangled on their way: by escaping twice or never, or by normalising a path. */
const oddKeys = [
  "with space",
  "100%",
  "%2F%41",
  "a+b",
  "a//b",
  "//",
  "/leading",
  "trailing/",
  "a/../b",
  "..",
  "./x/.",
  "über/日本/🎈",
  "what?x=1&y=2",
  "a#fragment",
  "quote'\"<&>",
  "brackets[1](2)*!~",
  "semi;colon:at@=,$",
  "back\\slash",
  "tab\tand\u0001",
  "line\nbreak\r\nand\u0085",
];

/** The tests that every origin passes against its emulator. */
export function originContract(name: string, refusals: readonly Refusal[], start: () => Promise<ContractSubject>): void {
  describe(name, () => {
    let subject: ContractSubject;
    const ref = (key: string, bucket = "bucket"): ObjectRef => parseObjectUrl(`${subject.scheme}://${bucket}/${key}`);
    const fetch = (key: string, offset: number, length: number, version?: string, signal = live): Promise<OriginAnswer> =>
      subject.origin.fetch(ref(key), { offset, length, ...(version !== undefined && { version }) }, signal);
    const fails = async (code: ErrorCode, act: () => Promise<unknown>): Promise<void> => {
      const error = await act().then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(error).toMatchObject({
        name: "CacheError",
        code,
        message: expect.not.stringMatching(/\n|AWSAccessKeyId|Signature=/),
      });
    };

    beforeAll(async () => {
      subject = await start();
      subject.store.putRamp("bucket", "ramp", 10 * MiB + 7, 3);
    });

    afterEach(async () => {
      subject.store.faults.clear();
      await vi.waitFor(() => expect(subject.store.traffic.open).toBe(0), { interval: 5 });
      expect(subject.store.openSockets).toBeLessThanOrEqual(2 * subject.maxConnections);
    });

    afterAll(async () => {
      subject.origin.close();
      subject.impatient.close();
      await vi.waitFor(() => expect(subject.store.openSockets).toBe(0), { interval: 5 });
      await subject.store.close();
    });

    describe("ranges", () => {
      it.each([
        [0, 1],
        [0, 4096],
        [1, 4 * MiB],
        [5 * MiB - 1, 2],
        [10 * MiB + 6, 1],
        [0, 10 * MiB + 7],
      ])("answers %i + %i with exactly those bytes", async (offset, length) => {
        const answer = await fetch("ramp", offset, length);
        expect(answer.length).toBe(length);
        expect(answer.info.objectSize).toBe(10 * MiB + 7);
        expect((await bytesOf(answer)).equals(rampBytes(offset, length, 3))).toBe(true);
      });

      it("answers less where the object ends", async () => {
        const answer = await fetch("ramp", 10 * MiB, MiB);
        expect(answer.length).toBe(7);
        expect((await bytesOf(answer)).equals(rampBytes(10 * MiB, 7, 3))).toBe(true);
      });

      it("asks for no byte more than wanted, in one request", async () => {
        subject.store.traffic.reset();
        await bytesOf(await fetch("ramp", 100, 50));
        expect(subject.store.traffic.gets).toMatchObject([{ key: "ramp", start: 100, end: 150, status: 206 }]);
      });

      it("says OUT_OF_RANGE at and past the end, naming the size", async () => {
        for (const offset of [10 * MiB + 7, 11 * MiB]) {
          await fails("OUT_OF_RANGE", () => fetch("ramp", offset, 1));
          await expect(fetch("ramp", offset, 1)).rejects.toThrow(String(10 * MiB + 7));
        }
      });

      it("says OUT_OF_RANGE for any range of an empty object, which can be stat'ed", async () => {
        const version = subject.store.put("bucket", "empty", "");
        await fails("OUT_OF_RANGE", () => fetch("empty", 0, 1));
        expect(await subject.origin.stat(ref("empty"), live)).toMatchObject({ objectSize: 0, version });
      });
    });

    describe("what is known of an object", () => {
      it("is version, size, content type and time of change, by stat and by fetch alike", async () => {
        const version = subject.store.put("bucket", "typed", "hello", { contentType: "text/plain" });
        const info = await subject.origin.stat(ref("typed"), live);
        expect(info).toMatchObject({ version, objectSize: 5, contentType: "text/plain" });
        expect(Math.abs(info.lastModifiedMs! - Date.now())).toBeLessThan(60_000);
        const answer = await fetch("typed", 1, 3);
        expect((await bytesOf(answer)).toString()).toBe("ell");
        expect(answer.info).toEqual(info);
      });

      it.each(oddKeys)("is right for the key %j, and so are its bytes", async (key) => {
        const body = `content of ${key}`;
        const version = subject.store.put("bucket", key, body);
        expect(await subject.origin.stat(ref(key), live)).toMatchObject({ version, objectSize: Buffer.byteLength(body) });
        expect((await bytesOf(await fetch(key, 0, 1000))).toString()).toBe(body);
      });
    });

    describe("versions", () => {
      it("are a condition of the request where one is asked for", async () => {
        const first = subject.store.putRamp("bucket", "changing", MiB, 1);
        expect((await fetch("changing", 0, 10, first).then(bytesOf)).equals(rampBytes(0, 10, 1))).toBe(true);
        const second = subject.store.putRamp("bucket", "changing", MiB, 2);
        expect(second).not.toBe(first);
        await fails("FAILED_PRECONDITION", () => fetch("changing", 0, 10, first));
        const answer = await fetch("changing", 0, 10, second);
        expect(answer.info.version).toBe(second);
        expect((await bytesOf(answer)).equals(rampBytes(0, 10, 2))).toBe(true);
      });

      it("that no object can have are FAILED_PRECONDITION, never sent as they are", async () => {
        for (const version of ['a"b', "a\r\nX-Evil: 1", "日本", "a b", "-1", "x&y=1"]) {
          await fails("FAILED_PRECONDITION", () => fetch("ramp", 0, 10, version));
        }
      });

      it("other than the one asked for are refused even where the store ignores the condition", async () => {
        const version = subject.store.putRamp("bucket", "changing", MiB, 2);
        subject.store.faults.place({ version: "foreign" });
        await fails("FAILED_PRECONDITION", () => fetch("changing", 0, 10, version));
      });

      it("missing from an answer make it useless", async () => {
        subject.store.faults.place({ version: "missing" });
        await fails("UNAVAILABLE", () => fetch("ramp", 0, 10));
        await fails("UNAVAILABLE", () => subject.origin.stat(ref("ramp"), live));
      });
    });

    describe("refusals", () => {
      it("of a missing object or bucket are NOT_FOUND", async () => {
        await fails("NOT_FOUND", () => fetch("nothing", 0, 10));
        await fails("NOT_FOUND", () => subject.origin.stat(ref("nothing"), live));
        await fails("NOT_FOUND", () => subject.origin.fetch(ref("key", "no-bucket"), { offset: 0, length: 1 }, live));
      });

      it.each(refusals)(
        "by status $status ($code) are $fetch, without retries",
        async ({ status, code, fetch: expected, stat }) => {
          subject.store.faults.place({ error: { status, code } });
          subject.store.traffic.reset();
          await fails(expected, () => fetch("ramp", 0, 10));
          expect(subject.store.traffic.requests).toEqual({ GET: 1 });
          await fails(stat ?? expected, () => subject.origin.stat(ref("ramp"), live));
        },
      );
    });

    describe("listings", () => {
      const list = (prefix: string, page: Partial<ListPage> = {}, bucket = "listed", signal = live): Promise<Listing> =>
        subject.origin.list(
          parsePrefixUrl(`${subject.scheme}://${bucket}/${prefix}`),
          { delimiter: "", maxKeys: 1000, ...page },
          signal,
        );
      const keysOf = ({ objects }: Listing): string[] => objects.map(({ key }) => key);

      it("name what is known of every object, as stat does", async () => {
        const version = subject.store.put("listed", "a/typed", "hello");
        subject.store.put("listed", "b", "");
        const { lastModifiedMs } = await subject.origin.stat(ref("a/typed", "listed"), live);
        const page = await list("a/");
        expect(page).toEqual({ objects: [expect.objectContaining({ key: "a/typed", objectSize: 5, version })], prefixes: [] });
        expect(Math.abs(page.objects[0]!.lastModifiedMs! - lastModifiedMs!)).toBeLessThan(1000);
        expect(keysOf(await list(""))).toEqual(["a/typed", "b"]);
      });

      it("come by the page, each once and in order, from where they are asked to begin", async () => {
        const keys = Array.from({ length: 23 }, (_, at) => `key-${String(at).padStart(2, "0")}`);
        for (const key of keys) subject.store.put("paged", key, key);
        const listed: string[] = [];
        let token: string | undefined;
        for (let pages = 1; ; pages++) {
          const page = await list("key", { maxKeys: 5, ...(token !== undefined && { token }) }, "paged");
          listed.push(...keysOf(page));
          token = page.nextToken;
          if (token === undefined) {
            expect(pages).toBe(5);
            break;
          }
        }
        expect(listed).toEqual(keys);
        expect(keysOf(await list("", { startAfter: "key-20" }, "paged"))).toEqual(["key-21", "key-22"]);
        expect(keysOf(await list("", { startAfter: "key-205" }, "paged"))).toEqual(["key-21", "key-22"]);
      });

      it("fold what a delimiter joins", async () => {
        for (const key of ["a/1", "a/b/2", "a/b/3", "a/c/4", "a/d", "a/", "x"]) subject.store.put("folded", key, key);
        const folded = await list("a/", { delimiter: "/" }, "folded");
        expect(keysOf(folded)).toEqual(["a/", "a/1", "a/d"]);
        expect(folded.prefixes).toEqual(["a/b/", "a/c/"]);
        const first = await list("a/", { delimiter: "/", maxKeys: 3 }, "folded");
        const second = await list("a/", { delimiter: "/", token: first.nextToken! }, "folded");
        expect([...first.prefixes, ...second.prefixes]).toEqual(["a/b/", "a/c/"]);
        expect([...keysOf(first), ...keysOf(second)]).toEqual(["a/", "a/1", "a/d"]);
      });

      it("have odd keys as they are, and take them as prefixes", async () => {
        for (const key of oddKeys) subject.store.put("odd", key, key);
        const inOrder = [...oddKeys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
        expect(keysOf(await list("", {}, "odd"))).toEqual(inOrder);
        for (const key of oddKeys) expect(keysOf(await list(key, {}, "odd"))).toContain(key);
        expect((await list("", { delimiter: "&" }, "odd")).prefixes).toEqual(["quote'\"<&", "what?x=1&"]);
        expect(keysOf(await list("", { startAfter: "what?x=1&y=2" }, "odd"))).toEqual(["with space", "über/日本/🎈"]);
      });

      it("of nothing are empty", async () => {
        expect(await list("nothing/under/this")).toEqual({ objects: [], prefixes: [] });
      });

      it("and looks at a missing bucket are NOT_FOUND", async () => {
        await fails("NOT_FOUND", () => list("", {}, "no-bucket"));
        await fails("NOT_FOUND", () => subject.origin.statBucket(parsePrefixUrl(`${subject.scheme}://no-bucket`), live));
        await subject.origin.statBucket(parsePrefixUrl(`${subject.scheme}://bucket`), live);
      });

      it.each(refusals)("are refused by status $status ($code) as $fetch", async ({ status, code, fetch: expected, stat }) => {
        subject.store.faults.place({ error: { status, code } });
        await fails(expected, () => list(""));
        const bucket = parsePrefixUrl(`${subject.scheme}://bucket`);
        await fails(subject.scheme === "s3" ? (stat ?? expected) : expected, () => subject.origin.statBucket(bucket, live));
      });

      it("end at once by an abort, and by the idle time-out", async () => {
        subject.store.faults.place({ latencyMs: 60_000 });
        const abort = new AbortController();
        const listing = list("", {}, "bucket", abort.signal);
        const bucket = parsePrefixUrl(`${subject.scheme}://bucket`);
        const look = subject.origin.statBucket(bucket, abort.signal);
        await vi.waitFor(() => expect(subject.store.traffic.open).toBe(2), { interval: 2 });
        abort.abort();
        await fails("CANCELLED", () => listing);
        await fails("CANCELLED", () => look);
        await fails("CANCELLED", () => list("", {}, "bucket", AbortSignal.abort()));
        await fails("UNAVAILABLE", () => subject.impatient.list(bucket, { delimiter: "", maxKeys: 1 }, live));
      });
    });

    describe("answers that can't be trusted", () => {
      it.each(["wrong", "short", "long"] as const)(
        "by a range that is %s are UNAVAILABLE before a byte is given out",
        async (range) => {
          subject.store.faults.place({ range });
          await fails("UNAVAILABLE", () => fetch("ramp", 1000, 1000));
        },
      );

      it("because the whole object came for a range of it are UNAVAILABLE", async () => {
        subject.store.faults.place({ range: "ignored" });
        await fails("UNAVAILABLE", () => fetch("ramp", 0, 1000));
        await fails("UNAVAILABLE", () => fetch("ramp", 1000, 100 * MiB));
      });

      it("are not those where the whole object is the range", async () => {
        subject.store.faults.place({ range: "ignored" });
        const answer = await fetch("ramp", 0, 16 * MiB);
        expect(answer.length).toBe(10 * MiB + 7);
        expect((await bytesOf(answer)).equals(rampBytes(0, 10 * MiB + 7, 3))).toBe(true);
      });
    });

    describe("connections", () => {
      it("reset before the answer are UNAVAILABLE", async () => {
        subject.store.faults.place({ reset: true });
        await fails("UNAVAILABLE", () => fetch("ramp", 0, 10));
        await fails("UNAVAILABLE", () => subject.origin.stat(ref("ramp"), live));
      });

      it.each(["reset", "close"] as const)("that break off by a %s fail the body after true bytes only", async (how) => {
        subject.store.faults.place({ body: { afterBytes: 300_000, how } });
        const answer = await fetch("ramp", 50, MiB);
        let received = 0;
        await fails("UNAVAILABLE", async () => {
          for await (const chunk of answer.body) {
            expect(rampBytes(50 + received, chunk.length, 3).equals(chunk)).toBe(true);
            received += chunk.length;
          }
        });
        expect(received).toBeLessThanOrEqual(300_000);
      });

      it.each([0, 300_000])("that stall after %i bytes are cut by the idle time-out", async (afterBytes) => {
        subject.store.faults.place({ body: { afterBytes, how: "stall" } });
        const stalled = () => subject.impatient.fetch(ref("ramp"), { offset: 0, length: MiB }, live);
        await fails("UNAVAILABLE", async () => bytesOf(await stalled()));
      });

      it("without an answer are cut by the idle time-out", async () => {
        subject.store.faults.place({ latencyMs: 60_000 });
        await fails("UNAVAILABLE", () => subject.impatient.fetch(ref("ramp"), { offset: 0, length: MiB }, live));
        await fails("UNAVAILABLE", () => subject.impatient.stat(ref("ramp"), live));
      });

      it("are used again, one after the other", async () => {
        await bytesOf(await fetch("ramp", 0, MiB));
        const before = subject.store.openSockets;
        for (let round = 0; round < 10; round++) await bytesOf(await fetch("ramp", round, 1000));
        expect(subject.store.openSockets).toBe(before);
      });

      it("never outnumber their bound", async () => {
        subject.store.traffic.reset();
        subject.store.faults.place({ latencyMs: 5 });
        await Promise.all(Array.from({ length: 40 }, (_, at) => fetch("ramp", at, 1000).then(bytesOf)));
        expect(subject.store.traffic.peakOpen).toBeLessThanOrEqual(subject.maxConnections);
      });

      it("are freed by destroying answers unread, half read, at the end, and twice", async () => {
        for (let round = 0; round < 2 * subject.maxConnections; round++) {
          const unread = await fetch("ramp", 0, 10 * MiB);
          unread.destroy();
          const half = await fetch("ramp", 0, 10 * MiB);
          await half.body[Symbol.asyncIterator]().next();
          half.destroy();
          half.destroy();
          const read = await fetch("ramp", 0, 10);
          await bytesOf(read);
          read.destroy();
        }
      });

      it("are freed by a reader that breaks out of its loop", async () => {
        for (let round = 0; round < 2 * subject.maxConnections; round++) {
          for await (const chunk of (await fetch("ramp", 0, 10 * MiB)).body) if (chunk.length > 0) break;
        }
      });

      it("hold back what nobody reads", async () => {
        subject.store.putRamp("bucket", "huge", 8 * 1024 * MiB);
        subject.store.traffic.reset();
        const answer = await fetch("huge", 0, 8 * 1024 * MiB);
        await answer.body[Symbol.asyncIterator]().next();
        await fetch("ramp", 0, MiB).then(bytesOf); // time enough to send far more than the kernel's buffers hold
        expect(subject.store.traffic.bytesSent).toBeLessThan(64 * MiB);
        answer.destroy();
      });
    });

    describe("an abort", () => {
      it("before the request sends nothing", async () => {
        subject.store.traffic.reset();
        await fails("CANCELLED", () => fetch("ramp", 0, 10, undefined, AbortSignal.abort()));
        await fails("CANCELLED", () => subject.origin.stat(ref("ramp"), AbortSignal.abort()));
        expect(subject.store.traffic.requests).toEqual({});
      });

      it("before the answer ends it at once and frees the connection", async () => {
        subject.store.faults.place({ latencyMs: 60_000 });
        const abort = new AbortController();
        const answer = fetch("ramp", 0, 10, undefined, abort.signal);
        const stat = subject.origin.stat(ref("ramp"), abort.signal);
        await vi.waitFor(() => expect(subject.store.traffic.open).toBe(2), { interval: 2 });
        abort.abort();
        await fails("CANCELLED", () => answer);
        await fails("CANCELLED", () => stat);
      });

      it("in the body ends it at once and leaves the other answers alone", async () => {
        subject.store.faults.place({ body: { afterBytes: 100_000, how: "stall" }, times: 1 });
        const abort = new AbortController();
        const stalled = await fetch("ramp", 0, MiB, undefined, abort.signal);
        const others = await Promise.all([fetch("ramp", 0, 8 * MiB), fetch("ramp", 1, 8 * MiB)]);
        const reading = bytesOf(stalled);
        abort.abort();
        await fails("CANCELLED", () => reading);
        for (const [at, other] of others.entries()) {
          expect((await bytesOf(other)).equals(rampBytes(at, 8 * MiB, 3))).toBe(true);
        }
      });

      it("after the end does nothing", async () => {
        const abort = new AbortController();
        const answer = await fetch("ramp", 0, 1000, undefined, abort.signal);
        await bytesOf(answer);
        abort.abort();
        answer.destroy();
        expect((await fetch("ramp", 0, 5).then(bytesOf)).length).toBe(5);
      });
    });
  });
}
