import { bytesOf, rampBytes, rangeOf, statOf } from "@frontcache/server/testing";
import { describe, expect, it } from "vitest";
import { fails, MiB, type OriginUnderTest, type Refusal } from "./origin-under-test.js";

/** Errors of a store, and answers that must not be used. */
export function refusalsContract(under: OriginUnderTest, refusals: readonly Refusal[]): void {
  describe("an error of the store", () => {
    it("distinguishes a missing object from a missing bucket, by stat and fetch alike", async () => {
      for (const [ref, expected] of [
        [under.ref("nothing"), "no such object"],
        [under.ref("key", "no-bucket"), "no such bucket"],
      ] as const) {
        const message = `${ref.url}: ${expected}`;
        await expect(under.origin.ask(statOf(ref))).rejects.toMatchObject({ code: "NOT_FOUND", message });
        await expect(under.origin.fetch(rangeOf(ref, { offset: 0, length: 1 }))).rejects.toMatchObject({ message });
      }
    });

    it("is NOT_FOUND for a missing object or bucket", async () => {
      await fails("NOT_FOUND", () => under.fetch("nothing", 0, 10));
      await fails("NOT_FOUND", () => under.origin.ask(statOf(under.ref("nothing"))));
      await fails("NOT_FOUND", () => under.origin.fetch(rangeOf(under.ref("key", "no-bucket"), { offset: 0, length: 1 })));
    });

    it.each(refusals)(
      "with status $status ($code) is $fetch, without retries",
      async ({ status, code, fetch: expected, stat }) => {
        under.store.faults.place({ error: { status, code } });
        under.store.traffic.reset();
        await fails(expected, () => under.fetch("ramp", 0, 10));
        expect(under.store.traffic.requests).toEqual({ GET: 1 });
        await fails(stat ?? expected, () => under.origin.ask(statOf(under.ref("ramp"))));
      },
    );
  });

  describe("an unusable answer", () => {
    it.each(["wrong", "short", "long"] as const)("is UNAVAILABLE before its first byte if its range is %s", async (range) => {
      under.store.faults.place({ range });
      await fails("UNAVAILABLE", () => under.fetch("ramp", 1000, 1000));
    });

    it("is UNAVAILABLE if it is the whole object for a range of it", async () => {
      under.store.faults.place({ range: "ignored" });
      await fails("UNAVAILABLE", () => under.fetch("ramp", 0, 1000));
      await fails("UNAVAILABLE", () => under.fetch("ramp", 1000, 100 * MiB));
    });

    it("is not one that is the whole object if the range covers the object", async () => {
      under.store.faults.place({ range: "ignored" });
      const answer = await under.fetch("ramp", 0, 16 * MiB);
      expect(answer.length).toBe(10 * MiB + 7);
      expect((await bytesOf(answer)).equals(rampBytes(0, 10 * MiB + 7, 3))).toBe(true);
    });
  });
}
