import { eventually } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { bytesOf } from "../../../server/src/testing/answer-fixture.js";
import { rampBytes } from "../../../server/src/testing/origin/ramp.js";
import { statOf } from "../../../server/src/testing/origin/requests.js";
import { fails, MiB, type OriginUnderTest } from "./origin-under-test.js";

/** Requests and answers that are given up. */
export function abortsContract(under: OriginUnderTest): void {
  describe("an abort", () => {
    it("before the request sends nothing", async () => {
      under.store.traffic.reset();
      await fails("CANCELLED", () => under.fetch("ramp", 0, 10, undefined, AbortSignal.abort()));
      await fails("CANCELLED", () => under.origin.ask(statOf(under.ref("ramp"), AbortSignal.abort())));
      expect(under.store.traffic.requests).toEqual({});
    });

    it("before the answer ends it at once and frees the connection", async () => {
      under.store.faults.place({ latencyMs: 60_000 });
      const abort = new AbortController();
      const answer = under.fetch("ramp", 0, 10, undefined, abort.signal);
      const stat = under.origin.ask(statOf(under.ref("ramp"), abort.signal));
      await eventually(() => expect(under.store.traffic.open).toBe(2));
      abort.abort();
      await fails("CANCELLED", () => answer);
      await fails("CANCELLED", () => stat);
    });

    it("in the body ends it at once and leaves the other answers alone", async () => {
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

    it("after the end does nothing", async () => {
      const abort = new AbortController();
      const answer = await under.fetch("ramp", 0, 1000, undefined, abort.signal);
      await bytesOf(answer);
      abort.abort();
      answer.body.destroy();
      expect((await under.fetch("ramp", 0, 5).then(bytesOf)).length).toBe(5);
    });
  });
}
