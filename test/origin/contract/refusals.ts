import { describe, expect, it } from "vitest";
import { bytesOf } from "../../../server/src/testing/answer-fixture.js";
import { rampBytes } from "../../../server/src/testing/origin/ramp.js";
import { rangeOf, statOf } from "../../../server/src/testing/origin/requests.js";
import { fails, MiB, type OriginUnderTest, type Refusal } from "./origin-under-test.js";

/** What a store refuses, and answers of it that nobody should believe. */
export function refusalsContract(under: OriginUnderTest, refusals: readonly Refusal[]): void {
  describe("refusals", () => {
    it("of a missing object and of a missing bucket are told apart, by stat and by fetch alike", async () => {
      for (const [ref, expected] of [
        [under.ref("nothing"), "no such object"],
        [under.ref("key", "no-bucket"), "no such bucket"],
      ] as const) {
        const message = `${ref.url}: ${expected}`;
        await expect(under.origin.ask(statOf(ref))).rejects.toMatchObject({ code: "NOT_FOUND", message });
        await expect(under.origin.fetch(rangeOf(ref, { offset: 0, length: 1 }))).rejects.toMatchObject({ message });
      }
    });

    it("of a missing object or bucket are NOT_FOUND", async () => {
      await fails("NOT_FOUND", () => under.fetch("nothing", 0, 10));
      await fails("NOT_FOUND", () => under.origin.ask(statOf(under.ref("nothing"))));
      await fails("NOT_FOUND", () => under.origin.fetch(rangeOf(under.ref("key", "no-bucket"), { offset: 0, length: 1 })));
    });

    it.each(refusals)(
      "by status $status ($code) are $fetch, without retries",
      async ({ status, code, fetch: expected, stat }) => {
        under.store.faults.place({ error: { status, code } });
        under.store.traffic.reset();
        await fails(expected, () => under.fetch("ramp", 0, 10));
        expect(under.store.traffic.requests).toEqual({ GET: 1 });
        await fails(stat ?? expected, () => under.origin.ask(statOf(under.ref("ramp"))));
      },
    );
  });

  describe("answers that can't be trusted", () => {
    it.each(["wrong", "short", "long"] as const)(
      "by a range that is %s are UNAVAILABLE before a byte is given out",
      async (range) => {
        under.store.faults.place({ range });
        await fails("UNAVAILABLE", () => under.fetch("ramp", 1000, 1000));
      },
    );

    it("because the whole object came for a range of it are UNAVAILABLE", async () => {
      under.store.faults.place({ range: "ignored" });
      await fails("UNAVAILABLE", () => under.fetch("ramp", 0, 1000));
      await fails("UNAVAILABLE", () => under.fetch("ramp", 1000, 100 * MiB));
    });

    it("are not those where the whole object is the range", async () => {
      under.store.faults.place({ range: "ignored" });
      const answer = await under.fetch("ramp", 0, 16 * MiB);
      expect(answer.length).toBe(10 * MiB + 7);
      expect((await bytesOf(answer)).equals(rampBytes(0, 10 * MiB + 7, 3))).toBe(true);
    });
  });
}
