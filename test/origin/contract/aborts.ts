import { eventually } from "@frontcache/proto/testing";
import { bytesOf, rampBytes, statOf } from "@frontcache/server/testing";
import { describe, expect, it } from "vitest";
import { fails, MiB, type OriginUnderTest } from "./origin-under-test.js";

/** Aborted requests and answers. */
export function abortsContract(under: OriginUnderTest): void {
  describe("an abort", () => {
    it("prevents a request that has not been sent", async () => {
      under.store.traffic.reset();
      await fails("CANCELLED", () => under.fetch("ramp", 0, 10, undefined, AbortSignal.abort()));
      await fails("CANCELLED", () => under.origin.ask(statOf(under.ref("ramp"), AbortSignal.abort())));
      expect(under.store.traffic.requests).toEqual({});
    });

    it("ends a request without an answer at once and frees its connection", async () => {
      under.store.faults.place({ latencyMs: 60_000 });
      const abort = new AbortController();
      const answer = under.fetch("ramp", 0, 10, undefined, abort.signal);
      const stat = under.origin.ask(statOf(under.ref("ramp"), abort.signal));
      await eventually(() => expect(under.store.traffic.open).toBe(2));
      abort.abort();
      await fails("CANCELLED", () => answer);
      await fails("CANCELLED", () => stat);
    });

    it("ends a body at once and does not affect other answers", async () => {
      under.store.faults.place({ body: { afterBytes: 100_000, how: "stall" }, times: 1 });
      const abort = new AbortController();
      const stalled = await under.fetch("ramp", 0, MiB, undefined, abort.signal);
      const others = await Promise.all([under.fetch("ramp", 0, 8 * MiB), under.fetch("ramp", 1, 8 * MiB)]);
      const reading = bytesOf(stalled);
      abort.abort();
      await fails("CANCELLED", () => reading);
      for (const [at, other] of others.entries()) {
        expect((await bytesOf(other)).equals(rampBytes(at, 8 * MiB, 3))).toBe(true);
      }
    });

    it("does nothing after the end", async () => {
      const abort = new AbortController();
      const answer = await under.fetch("ramp", 0, 1000, undefined, abort.signal);
      await bytesOf(answer);
      abort.abort();
      answer.body.destroy();
      expect((await under.fetch("ramp", 0, 5).then(bytesOf)).length).toBe(5);
    });
  });
}
