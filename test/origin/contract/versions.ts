import { bytesOf, rampBytes, statOf } from "@frontcache/server/testing";
import { describe, expect, it } from "vitest";
import { fails, MiB, type OriginUnderTest } from "./origin-under-test.js";

/** Reads of one version, and of versions that do not exist. */
export function versionsContract(under: OriginUnderTest): void {
  describe("a version", () => {
    it("is a condition of the request if it is requested", async () => {
      const first = under.store.putRamp("bucket", "changing", MiB, 1);
      expect((await under.fetch("changing", 0, 10, first).then(bytesOf)).equals(rampBytes(0, 10, 1))).toBe(true);
      const second = under.store.putRamp("bucket", "changing", MiB, 2);
      expect(second).not.toBe(first);
      await fails("FAILED_PRECONDITION", () => under.fetch("changing", 0, 10, first));
      const answer = await under.fetch("changing", 0, 10, second);
      expect(answer.info.version).toBe(second);
      expect((await bytesOf(answer)).equals(rampBytes(0, 10, 2))).toBe(true);
    });

    it("that no object can have is FAILED_PRECONDITION, and is never sent", async () => {
      for (const version of ['a"b', "a\r\nX-Evil: 1", "日本", "a b", "-1", "x&y=1"]) {
        await fails("FAILED_PRECONDITION", () => under.fetch("ramp", 0, 10, version));
      }
    });

    it("other than the requested one is rejected even if the store ignores the condition", async () => {
      const version = under.store.putRamp("bucket", "changing", MiB, 2);
      under.store.faults.place({ version: "foreign" });
      await fails("FAILED_PRECONDITION", () => under.fetch("changing", 0, 10, version));
    });

    it("must be in an answer, which is UNAVAILABLE otherwise", async () => {
      under.store.faults.place({ version: "missing" });
      await fails("UNAVAILABLE", () => under.fetch("ramp", 0, 10));
      await fails("UNAVAILABLE", () => under.origin.ask(statOf(under.ref("ramp"))));
    });
  });
}
