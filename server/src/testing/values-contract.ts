import type { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import type { ValueConflict, ValueEvent, Values } from "../values/values.js";
import { bytesOf, openWhenWritten, SentBody } from "./value-bodies.js";
import { patterned, requestOf } from "./value-samples.js";

/** An implementation under test. */
export interface ValuesUnderTest {
  readonly values: Values;
  /** Lets time pass. */
  advance(byMs: number): Promise<void>;
  close(): Promise<void>;
}

/** Without the comparison byte by byte that Vitest makes of buffers. */
function expectBytes(found: Buffer, expected: Buffer): void {
  expect({ length: found.length, isSame: found.equals(expected) }).toEqual({ length: expected.length, isSame: true });
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: CacheError) => (error as ValueConflict).reason ?? error.code,
  );
}

/** What every implementation of `Values` does. */
export function describeValues(name: string, open: () => Promise<ValuesUnderTest>): void {
  const withValues = (test: (tested: ValuesUnderTest) => Promise<void>) => async (): Promise<void> => {
    const tested = await open();
    try {
      await test(tested);
    } finally {
      await tested.close();
    }
  };
  const readAll = async (values: Values, key: string, range: { offset?: number; length?: number; follow?: boolean } = {}) =>
    bytesOf(await values.open({ ...requestOf(key), offset: 0, ...range }));

  describe(`values: ${name}`, () => {
    it.each([0, 1, 4_096, 3 * 1024 * 1024 + 7])("returns the bytes of a value of %i bytes", async (size) =>
      withValues(async ({ values }) => {
        const bytes = patterned(size);
        const info = await values.put({ ...requestOf("a"), contentType: "text/x", flags: 7, metadata: { who: "me" } }, bytes);
        expect(info).toMatchObject({ size, flags: 7, metadata: { who: "me" }, contentType: "text/x", expiresMs: undefined });
        expect(await values.head(requestOf("a"))).toEqual(info);
        expectBytes(await readAll(values, "a"), bytes);
      })(),
    );

    it(
      "returns ranges, cuts them at the end, and rejects those behind it",
      withValues(async ({ values }) => {
        const bytes = patterned(2_500_000);
        await values.put(requestOf("a"), bytes);
        expectBytes(await readAll(values, "a", { offset: 1_048_570, length: 20 }), bytes.subarray(1_048_570, 1_048_590));
        expectBytes(await readAll(values, "a", { offset: 2_499_999, length: 20 }), bytes.subarray(2_499_999));
        expect(await codeOf(readAll(values, "a", { offset: 2_500_000, length: 1 }))).toBe("OUT_OF_RANGE");
        expect(await codeOf(readAll(values, "b"))).toBe("NOT_FOUND");
      }),
    );

    it(
      "takes a body of unknown length in pieces of any size",
      withValues(async ({ values }) => {
        const bytes = patterned(2_200_000);
        const body = new SentBody();
        for (let at = 0, step = 1; at < bytes.length; at += step, step = (step * 7) % 300_000) {
          body.send(bytes.subarray(at, at + step));
        }
        body.end();
        expect((await values.put(requestOf("a"), body)).size).toBe(bytes.length);
        expectBytes(await readAll(values, "a"), bytes);
      }),
    );

    it(
      "rejects a body of another size than announced, and keeps nothing of it",
      withValues(async ({ values }) => {
        expect(await codeOf(values.put({ ...requestOf("a"), size: 5 }, patterned(4)))).toBe("INVALID_ARGUMENT");
        expect(await codeOf(values.put({ ...requestOf("a"), size: 3 }, patterned(4)))).toBe("INVALID_ARGUMENT");
        expect(await values.head(requestOf("a"))).toBeUndefined();
      }),
    );

    it(
      "replaces a value by a larger version, and lets reads of the old one finish",
      withValues(async ({ values }) => {
        const [old, fresh] = [patterned(2_000_000, 1), patterned(1_500_000, 2)];
        const first = await values.put(requestOf("a"), old);
        const read = await values.open({ ...requestOf("a"), offset: 0 });
        const second = await values.put(requestOf("a"), fresh);
        expect(second.version > first.version).toBe(true);
        expectBytes(await bytesOf(read), old);
        expectBytes(await readAll(values, "a"), fresh);
        expect(await codeOf(values.put({ ...requestOf("a"), ifNoneMatch: "*" }, old))).toBe("exists");
        const openOld = async () => values.open({ ...requestOf("a"), offset: 0, version: first.version });
        expect(await codeOf(openOld())).toBe("FAILED_PRECONDITION");
      }),
    );

    it(
      "deletes a value, and says whether there was one",
      withValues(async ({ values }) => {
        await values.put(requestOf("a"), patterned(10));
        expect(await values.delete(requestOf("a"))).toBe(true);
        expect(await values.delete(requestOf("a"))).toBe(false);
        expect(await values.head(requestOf("a"))).toBeUndefined();
        await values.put(requestOf("a"), patterned(11));
        expect((await readAll(values, "a")).length).toBe(11);
      }),
    );

    it(
      "ends a value exactly when its time to live has passed",
      withValues(async ({ values, advance }) => {
        const info = await values.put({ ...requestOf("a"), ttlSeconds: 10 }, patterned(10));
        await values.put({ ...requestOf("b"), ttlSeconds: 0 }, patterned(10));
        expect(info.expiresMs).toBe(info.createdMs + 10_000);
        await advance(9_999);
        expect(await values.head(requestOf("a"))).toEqual(info);
        await advance(1);
        expect(await values.head(requestOf("a"))).toBeUndefined();
        expect(await codeOf(readAll(values, "a"))).toBe("NOT_FOUND");
        expect(await values.head(requestOf("b"))).toBeDefined();
      }),
    );

    it(
      "rejects invalid times to live, flags, metadata and keys",
      withValues(async ({ values }) => {
        const put = (changes: object, key = "a") => codeOf(values.put({ ...requestOf(key), ...changes }, patterned(1)));
        for (const ttlSeconds of [-1, 1.5, Number.NaN, 1e15]) expect(await put({ ttlSeconds })).toBe("INVALID_ARGUMENT");
        for (const flags of [-1, 2 ** 32, 0.5]) expect(await put({ flags })).toBe("INVALID_ARGUMENT");
        expect(await put({ metadata: { a: "x".repeat(3_000) } })).toBe("INVALID_ARGUMENT");
        expect(await put({}, "k".repeat(8_193))).toBe("INVALID_ARGUMENT");
        expect(await put({}, "k".repeat(8_192))).toBe("none");
        for (const key of ["..", "a/../b", "/x", "a//b", ".", "ü ?&#\n"]) {
          expect(await put({}, key)).toBe("none");
          expect((await readAll(values, key)).length).toBe(1);
        }
      }),
    );

    it(
      "lists values by prefix, in byte order, in pages",
      withValues(async ({ values, advance }) => {
        for (const key of ["b/2", "b/1", "a", "b/é", "b/z", "c"]) await values.put(requestOf(key), patterned(3));
        await values.put({ ...requestOf("b/0"), ttlSeconds: 1 }, patterned(3));
        await values.delete(requestOf("b/2"));
        await advance(1_000);
        const { principal, signal } = requestOf("");
        const list = async (after: string, limit: number) => {
          const page = await values.list({ bucket: "bucket", prefix: "b/", after, limit, principal, signal });
          return [page.values.map(({ url }) => url.slice("cache://bucket/".length)), page.isTruncated];
        };
        expect(await list("", 10)).toEqual([["b/1", "b/z", "b/é"], false]);
        expect(await list("", 2)).toEqual([["b/1", "b/z"], true]);
        expect(await list("b/z", 1)).toEqual([["b/é"], false]);
      }),
    );

    it(
      "lets a reader follow a value while it is written",
      withValues(async ({ values }) => {
        const bytes = patterned(3_000_000);
        const body = new SentBody();
        const put = values.put(requestOf("a"), body);
        body.send(bytes.subarray(0, 100));
        const read = await openWhenWritten(values, "a");
        expect(read.length).toBeUndefined();
        const first = await read.next();
        expect(first!.bytes.length).toBeGreaterThan(0);
        const head = Buffer.from(first!.bytes);
        first!.release();
        const rest = bytesOf(read);
        body.send(bytes.subarray(100, 2_000_000));
        body.send(bytes.subarray(2_000_000));
        body.end();
        await put;
        expectBytes(Buffer.concat([head, await rest]), bytes);
        expect(await codeOf(readAll(values, "unknown", { follow: true }))).toBe("NOT_FOUND");
      }),
    );

    it(
      "ends the readers of a writer that dies with an error, and frees the key",
      withValues(async ({ values }) => {
        const body = new SentBody();
        const put = values.put(requestOf("a"), body);
        put.catch(() => {});
        body.send(patterned(100));
        const read = await openWhenWritten(values, "a");
        const following = codeOf(bytesOf(read));
        body.end(new Error("the client has gone"));
        expect(await codeOf(put)).not.toBe("none");
        expect(await following).toBe("UNAVAILABLE");
        expect(await values.head(requestOf("a"))).toBeUndefined();
        await values.put({ ...requestOf("a"), whileWritten: "refuse" }, patterned(5));
        expect((await readAll(values, "a")).length).toBe(5);
      }),
    );

    it(
      "refuses a second writer of a key, or lets it wait",
      withValues(async ({ values }) => {
        const body = new SentBody();
        const put = values.put(requestOf("a"), body);
        body.send(patterned(10));
        (await openWhenWritten(values, "a")).close();
        expect(await codeOf(values.put({ ...requestOf("a"), whileWritten: "refuse" }, patterned(5)))).toBe("already_started");
        const waiting = values.put({ ...requestOf("a"), whileWritten: "wait" }, patterned(20));
        body.end();
        await put;
        await waiting;
        expect((await readAll(values, "a")).length).toBe(20);
      }),
    );

    it(
      "takes ranges of an upload in any order, and finalizes it once it is complete",
      withValues(async ({ values }) => {
        const bytes = patterned(3_000_000);
        const at = (offset: number, end: number) => values.writeRange(requestOf("a"), offset, bytes.subarray(offset, end));
        expect(await codeOf(at(0, 1))).toBe("NOT_FOUND");
        await values.begin({ ...requestOf("a"), size: bytes.length, exclusive: true, ttlSeconds: 100 });
        const again = values.begin({ ...requestOf("a"), size: 5, exclusive: false });
        expect(await codeOf(again)).toBe("already_started");
        await at(2_000_000, 3_000_000);
        await values.writeRange(requestOf("a"), 500_000, patterned(1_200_000, 9));
        await at(0, 1_000_000);
        expect(await values.head(requestOf("a"))).toBeUndefined();
        expect(await values.completion(requestOf("a"))).toEqual({
          size: 3_000_000,
          presentBytes: 2_700_000,
          present: [
            { start: 0, end: 1_700_000 },
            { start: 2_000_000, end: 3_000_000 },
          ],
          missing: [{ start: 1_700_000, end: 2_000_000 }],
        });
        expect(await codeOf(values.finalize(requestOf("a")))).toBe("incomplete");
        expect(await codeOf(values.writeRange(requestOf("a"), 2_999_999, Buffer.alloc(2)))).toBe("OUT_OF_RANGE");
        await at(1_000_000, 2_500_000);
        const info = await values.finalize(requestOf("a"));
        expect(info.expiresMs).toBe(info.createdMs + 100_000);
        expectBytes(await readAll(values, "a"), bytes);
        expect(await codeOf(values.finalize(requestOf("a")))).toBe("NOT_FOUND");
        expect(await values.completion(requestOf("a"))).toBeUndefined();
        expect(await codeOf(values.begin({ ...requestOf("a"), size: 5, exclusive: true }))).toBe("exists");
        await values.begin({ ...requestOf("a"), size: 5, exclusive: false });
        await values.abort(requestOf("a"));
        await values.abort(requestOf("a"));
        expect(await values.completion(requestOf("a"))).toBeUndefined();
        expectBytes(await readAll(values, "a"), bytes);
      }),
    );

    it(
      "refuses to delete or overwrite a locked value until the locks end",
      withValues(async ({ values, advance }) => {
        const lock = (holder: string, seconds: number) => values.lock({ ...requestOf("a"), holder, seconds });
        expect(await codeOf(lock("one", 10))).toBe("NOT_FOUND");
        await values.put(requestOf("a"), patterned(5));
        expect(await codeOf(lock("one", 0))).toBe("INVALID_ARGUMENT");
        await lock("one", 10);
        await lock("two", 20);
        expect(await codeOf(values.delete(requestOf("a")))).toBe("locked");
        expect(await codeOf(values.put(requestOf("a"), patterned(6)))).toBe("locked");
        expect((await readAll(values, "a")).length).toBe(5);
        await values.unlock({ ...requestOf("a"), holder: "two" });
        await advance(9_000);
        await lock("one", 2);
        await advance(1_500);
        expect(await codeOf(values.delete(requestOf("a")))).toBe("locked");
        await advance(500);
        expect(await values.delete(requestOf("a"))).toBe(true);
      }),
    );

    it(
      "reports inserts, finished values and deletions to monitors of their keys",
      withValues(async ({ values }) => {
        const abort = new AbortController();
        const events: ValueEvent[] = [];
        const watch = values.monitor({
          bucket: "bucket",
          prefix: "m/",
          principal: requestOf("").principal,
          signal: abort.signal,
        });
        const iterator = watch[Symbol.asyncIterator]();
        const next = iterator.next();
        await values.put(requestOf("other"), patterned(1));
        const info = await values.put(requestOf("m/1"), patterned(1));
        await values.delete(requestOf("m/1"));
        events.push((await next).value, (await iterator.next()).value, (await iterator.next()).value);
        abort.abort();
        expect((await iterator.next()).done).toBe(true);
        const { url } = requestOf("m/1");
        expect(events).toEqual([
          { event: "insert", url },
          { event: "ready", url, info },
          { event: "delete", url },
        ]);
      }),
    );

    it(
      "counts what it did",
      withValues(async ({ values }) => {
        await values.put(requestOf("a"), patterned(1_000));
        await readAll(values, "a");
        await codeOf(readAll(values, "b"));
        await values.delete(requestOf("a"));
        const { hits, misses, inserts, deletes, bytesRead, bytesWritten, entries } = values.stats();
        expect({ hits, misses, inserts, deletes, bytesRead, bytesWritten, entries }).toEqual({
          hits: 1,
          misses: 1,
          inserts: 1,
          deletes: 1,
          bytesRead: 1_000,
          bytesWritten: 1_000,
          entries: 0,
        });
      }),
    );
  });
}
