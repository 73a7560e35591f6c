import { parsePrefixUrl } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import { bucketOf, type Listing, type ListPage, live, pageOf, statOf } from "@frontcache/server/testing";
import { describe, expect, it } from "vitest";
import { oddKeys } from "./odd-keys.js";
import { fails, type OriginUnderTest, type Refusal } from "./origin-under-test.js";

/** Listings of objects, and questions about buckets. */
export function listingsContract(under: OriginUnderTest, refusals: readonly Refusal[]): void {
  describe("a listing", () => {
    const list = (prefix: string, page: Partial<ListPage> = {}, bucket = "listed", signal = live): Promise<Listing> =>
      under.origin.ask(
        pageOf(parsePrefixUrl(`${under.scheme}://${bucket}/${prefix}`), { delimiter: "", maxKeys: 1000, ...page }, signal),
      );
    const keysOf = ({ objects }: Listing): string[] => objects.map(({ key }) => key);

    it("has the same information about every object as stat", async () => {
      const version = under.store.put("listed", "a/typed", "hello");
      under.store.put("listed", "b", "");
      const { lastModifiedMs } = await under.origin.ask(statOf(under.ref("a/typed", "listed")));
      const page = await list("a/");
      expect(page).toEqual({ objects: [expect.objectContaining({ key: "a/typed", objectSize: 5, version })], prefixes: [] });
      expect(Math.abs(page.objects[0]!.lastModifiedMs! - lastModifiedMs!)).toBeLessThan(1000);
      expect(keysOf(await list(""))).toEqual(["a/typed", "b"]);
    });

    it("has pages that contain each object once, in order, from the requested start", async () => {
      const keys = Array.from({ length: 23 }, (_, at) => `key-${String(at).padStart(2, "0")}`);
      for (const key of keys) under.store.put("paged", key, key);
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

    it("groups keys by the delimiter into common prefixes", async () => {
      for (const key of ["a/1", "a/b/2", "a/b/3", "a/c/4", "a/d", "a/", "x"]) under.store.put("folded", key, key);
      const folded = await list("a/", { delimiter: "/" }, "folded");
      expect(keysOf(folded)).toEqual(["a/", "a/1", "a/d"]);
      expect(folded.prefixes).toEqual(["a/b/", "a/c/"]);
      const first = await list("a/", { delimiter: "/", maxKeys: 3 }, "folded");
      const second = await list("a/", { delimiter: "/", token: first.nextToken! }, "folded");
      expect([...first.prefixes, ...second.prefixes]).toEqual(["a/b/", "a/c/"]);
      expect([...keysOf(first), ...keysOf(second)]).toEqual(["a/", "a/1", "a/d"]);
    });

    it("contains odd keys unchanged, and accepts them as prefixes", async () => {
      for (const key of oddKeys) under.store.put("odd", key, key);
      const inOrder = [...oddKeys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      expect(keysOf(await list("", {}, "odd"))).toEqual(inOrder);
      for (const key of oddKeys) expect(keysOf(await list(key, {}, "odd"))).toContain(key);
      expect((await list("", { delimiter: "&" }, "odd")).prefixes).toEqual(["quote'\"<&", "what?x=1&"]);
      expect(keysOf(await list("", { startAfter: "what?x=1&y=2" }, "odd"))).toEqual(["with space", "über/日本/🎈"]);
    });

    it("is empty if no object matches", async () => {
      expect(await list("nothing/under/this")).toEqual({ objects: [], prefixes: [] });
    });

    it("and a question about a missing bucket are NOT_FOUND", async () => {
      await fails("NOT_FOUND", () => list("", {}, "no-bucket"));
      await fails("NOT_FOUND", () => under.origin.ask(bucketOf(parsePrefixUrl(`${under.scheme}://no-bucket`))));
      await under.origin.ask(bucketOf(parsePrefixUrl(`${under.scheme}://bucket`)));
    });

    it.each(refusals)(
      "is $fetch if the store answers with status $status ($code)",
      async ({ status, code, fetch: expected, stat }) => {
        under.store.faults.place({ error: { status, code } });
        await fails(expected, () => list(""));
        const bucket = parsePrefixUrl(`${under.scheme}://bucket`);
        await fails(under.scheme === "s3" ? (stat ?? expected) : expected, () => under.origin.ask(bucketOf(bucket)));
      },
    );

    it("ends at once by an abort, and by the idle timeout", async () => {
      under.store.faults.place({ latencyMs: 60_000 });
      const abort = new AbortController();
      const listing = list("", {}, "bucket", abort.signal);
      const bucket = parsePrefixUrl(`${under.scheme}://bucket`);
      const look = under.origin.ask(bucketOf(bucket, abort.signal));
      await eventually(() => expect(under.store.traffic.open).toBe(2));
      abort.abort();
      await fails("CANCELLED", () => listing);
      await fails("CANCELLED", () => look);
      await fails("CANCELLED", () => list("", {}, "bucket", AbortSignal.abort()));
      await fails("UNAVAILABLE", () => under.shortTimeout.ask(pageOf(bucket, { delimiter: "", maxKeys: 1 })));
    });
  });
}
